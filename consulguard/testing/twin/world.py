"""All that the twin's agents share: one Consul's state."""

from __future__ import annotations

from dataclasses import dataclass

from consulguard.testing.twin.answers import Answers
from consulguard.testing.twin.catalog import Catalog
from consulguard.testing.twin.config import Entries, Intentions
from consulguard.testing.twin.faults import Faults
from consulguard.testing.twin.hub import Hub
from consulguard.testing.twin.kv import Keys


@dataclass(frozen=True)
class World:
    datacenter: str
    version: str
    hub: Hub
    catalog: Catalog
    keys: Keys
    entries: Entries
    intentions: Intentions
    faults: Faults
    answers: Answers


def new_world(datacenter: str, version: str, node: str) -> World:
    hub, faults = Hub(), Faults()
    minor = int(version.split(".")[1])
    return World(
        datacenter=datacenter,
        version=version,
        hub=hub,
        catalog=Catalog(hub),
        keys=Keys(hub, node),
        entries=Entries(hub, minor),
        intentions=Intentions(hub),
        faults=faults,
        answers=Answers(hub, faults, datacenter),
    )
