"""A message ranks the causes, and says plainly where we do not know."""

from __future__ import annotations

import msgspec
from consulguard.model import Alternative, Incident, Root
from consulguard.notify import text

from tests.support.messages import incident, message


def test_a_message_ranks_the_causes() -> None:
    others = tuple(
        Alternative(root=Root(kind=kind, name=name, datacenter="dc1"), confidence=chance, why="it stands")
        for kind, name, chance in (("service", "mail", 0.31), ("node", "n1", 0.05))
    )
    sure = incident("ledger")
    unsure = msgspec.structs.replace(sure, alternatives=others, unknown=True, confidence=0.42)

    def fields(given: Incident) -> dict[str, str]:
        return dict(text.fields(msgspec.structs.replace(message(), incident=given)))

    told = fields(unsure)
    assert told["Root cause"] == "not known, most likely service ledger (42% sure)"
    assert told["Also considered"] == "service mail (31%), node n1 (5%)"
    assert text.incident_title(unsure) == "ledger: root cause not known (3 affected)"
    assert fields(sure)["Root cause"] == "service ledger (92% sure)"
    assert "Also considered" not in fields(sure)
