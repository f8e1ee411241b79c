"""An adapter for evaluators of root-cause rankings: a topology and flips of checks in, ranked causes out.

It asks the very ranking that ``correlate.blame`` asks in the daemon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from consulguard.correlate import Graph, Suspect, Trail, suspects
from consulguard.correlate.cause.memory import PLANNED
from consulguard.model import EdgeFact, EdgesFact, Fact, InstanceFact, NodeFact, ServiceFact, Status, Target
from consulguard.watch.decode import NODE_MAINTENANCE, SERVICE_MAINTENANCE

_EPOCH = datetime.fromtimestamp(0, UTC)
_LEVEL = {"passing": 0, "warning": 1, "critical": 2}
_MAINTENANCE = (NODE_MAINTENANCE, SERVICE_MAINTENANCE)
_TRUST = 0.9  # of an edge of the topology: as declared by a person
_MOST = 20  # causes told
_KEPT = 64  # topologies
_graphs: dict[int, tuple[object, Graph]] = {}


def rank(topology: Mapping[str, Any], events: Sequence[Mapping[str, Any]], now: float) -> list[tuple[str, float]]:
    """(entity, chance), the likeliest first; empty when nobody, or nobody we know of, is to blame.

    Args:
        topology: services, edges [[caller, callee]], instances {instance: service}, nodes {instance: node},
            zones {node: zone}, unchecked [services without a check].
        events: {t, service, instance, check, status[, node]} in order of time; a node's own check has no service.
        now: the moment of the judgement, in the events' seconds.
    """
    verdict = suspects(graph_of(topology), trails_of(topology, events, now), now)
    return [(name_of(s), s.chance) for s in verdict.suspects[:_MOST]] if verdict.known else []


def name_of(suspect: Suspect) -> str:
    """``<service>``, ``node:<node>`` or ``zone:<zone>``."""
    parts = suspect.key.split("/")
    return parts[4] if suspect.kind == "service" else f"{suspect.kind}:{parts[5].removeprefix('zone:')}"


def graph_of(topology: Mapping[str, Any]) -> Graph:
    """The mesh as a graph; made once for each topology, as in a daemon."""
    known = _graphs.get(id(topology))
    if known is None or known[0] is not topology:
        graph = Graph()
        graph.learn(facts_of(topology))
        if len(_graphs) >= _KEPT:
            _graphs.pop(next(iter(_graphs)))
        known = _graphs[id(topology)] = (topology, graph)
    return known[1]


def facts_of(topology: Mapping[str, Any]) -> list[Fact]:
    """What the watcher would have learned of this mesh."""
    nodes, unchecked = topology["nodes"], set(topology["unchecked"])
    of: dict[str, list[Target]] = {service: [] for service in topology["services"]}
    on: dict[str, list[Target]] = {node: [] for node in topology["zones"]}
    for instance, service in topology["instances"].items():
        target = _target(service, nodes.get(instance, ""), instance)
        of.setdefault(service, []).append(target)
        if target.node:
            on.setdefault(target.node, []).append(target)
    edges = tuple(
        EdgeFact(source=_target(a), destination=_target(b), provenance="declared", trust=_TRUST)
        for a, b in topology["edges"]
    )
    return [
        *(_service(name, targets, name not in unchecked) for name, targets in of.items()),
        *(
            NodeFact(
                target=Target(dc="dc1", node=node),
                zone=topology["zones"].get(node, ""),
                instances=tuple(here),
                at=_EPOCH,
            )
            for node, here in sorted(on.items())
        ),
        EdgesFact(source="declared", edges=edges, at=_EPOCH),
    ]


def trails_of(topology: Mapping[str, Any], events: Iterable[Mapping[str, Any]], now: float) -> list[Trail]:
    """What the daemon would remember of these flips."""
    nodes = topology["nodes"]
    found: dict[tuple[str, str, str], Trail] = {}
    for event in events:
        if (at := event["t"]) > now:
            continue
        instance, check = event["instance"] or "", event["check"]
        node, level = event.get("node") or nodes.get(instance, ""), _level(check, event["status"])
        key = (node, instance, check)
        if (trail := found.get(key)) is not None:
            trail.see(at, level)
        elif level:
            found[key] = Trail(target=_target(event["service"], node, instance), check=check, flips=[(at, level)])
    return list(found.values())


@lru_cache(maxsize=4_096)
def _level(check: str, status: str) -> int:
    """Of the status; a maintenance check is planned work, as the watcher has it."""
    level = _LEVEL[status]
    return PLANNED if level and check.startswith(_MAINTENANCE) else level


def _target(service: str, node: str = "", instance: str = "") -> Target:
    return Target(dc="dc1", service=service, node=node, instance=instance)


def _service(name: str, targets: list[Target], checked: bool) -> ServiceFact:
    return ServiceFact(
        target=_target(name),
        count=len(targets),
        nodes=tuple(sorted({t.node for t in targets if t.node})),
        instances=tuple(InstanceFact(target=t, status=Status.PASSING, checks=int(checked)) for t in targets),
        at=_EPOCH,
    )
