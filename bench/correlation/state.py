"""What simple rules look at: what fails now and since when, and who needs whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

OLD_S = 900.0  # what has failed for longer is an old story
PLANNED = ("_node_maintenance", "_service_maintenance:")

Topology = Mapping[str, Any]
Events = Sequence[Mapping[str, Any]]
Ranking = list[tuple[str, float]]  # (entity, score), best first


class Links:
    """Of one topology: entities are services, ``node:<n>`` and ``zone:<z>``."""

    def __init__(self, topology: Topology) -> None:
        self.needs: dict[str, list[str]] = {}
        self.needed_by: dict[str, list[str]] = {}
        self.unchecked = frozenset(topology["unchecked"])
        for caller, callee in topology["edges"]:
            self._link(caller, callee)
        on = {(s, topology["nodes"][i]) for i, s in topology["instances"].items() if i in topology["nodes"]}
        for service, node in sorted(on):
            self._link(service, f"node:{node}")
        for node, zone in topology["zones"].items():
            self._link(f"node:{node}", f"zone:{zone}")

    def _link(self, who: str, what: str) -> None:
        self.needs.setdefault(who, []).append(what)
        self.needed_by.setdefault(what, []).append(who)

    def watched(self, entity: str) -> bool:
        """A service whose fault its own check may show."""
        return ":" not in entity and entity not in self.unchecked


_links: dict[int, tuple[Topology, Links]] = {}


def links(topology: Topology) -> Links:
    """Made once for each topology."""
    known = _links.get(id(topology))
    if known is None or known[0] is not topology:
        known = _links[id(topology)] = (topology, Links(topology))
    return known[1]


def failing(events: Events, now: float) -> dict[str, float]:
    """Entity -> since when it fails; warnings count only where nothing is critical. Planned work is left out."""
    last: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    planned: set[tuple[str, str]] = set()
    for event in events:
        if event["t"] > now:
            continue
        node, bad = event.get("node") or "", event["status"] != "passing"
        if event["check"].startswith(PLANNED):
            (planned.add if bad else planned.discard)((event["instance"], node))
        else:
            last[event["instance"] or "", node, event["check"]] = event
    found: dict[str, dict[str, float]] = {"critical": {}, "warning": {}}
    for (instance, node, _), event in last.items():
        at, status = event["t"], event["status"]
        if status in found and at >= now - OLD_S and (instance, node) not in planned:
            entity = event["service"] or f"node:{node}"
            found[status][entity] = min(at, found[status].get(entity, at))
    return found["critical"] or found["warning"]


def reach(start: str, step: Callable[[str], Iterable[str]], steps: int) -> dict[str, int]:
    """Entities within so many steps, with their distance."""
    found, ring = {start: 0}, [start]
    for distance in range(1, steps + 1):
        ring = [there for here in ring for there in step(here) if there not in found]
        ring = list(dict.fromkeys(ring))
        found.update(dict.fromkeys(ring, distance))
    return found
