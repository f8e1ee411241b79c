"""Nodes and zones whose units fail together: they are to blame instead of what runs there.

Node: its own check fails (serfHealth); or at least ``group_share`` and ``group_min`` of the units known on it
fail, across two services or more, and of those services that also run elsewhere more are well there than fail
there too (and at least one is well).

Zone: at least ``group_share`` and ``group_min`` of its nodes are sick, while every other zone of the datacenter
has less than half of its nodes sick, and there is one. A node is sick when its own check fails or ``group_share``
of its units fail. Unless nodes fail by their own checks, two services or more must fail there and be well
elsewhere, as for nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from consulguard.correlate.graph import Graph
from consulguard.correlate.survey import Survey
from consulguard.model import Target
from consulguard.policy import CorrelatePolicy

_MOSTLY = 0.5  # from here a service counts as failing elsewhere too, and another zone as sick too


@dataclass(slots=True)
class Place:
    """A node or zone to blame."""

    kind: str
    key: str
    target: Target
    name: str
    nodes: tuple[str, ...]  # sick node keys
    of: int  # nodes of the zone, or units of the node
    failing: int  # sick nodes, or failing units
    dead: int  # nodes that fail by their own check
    onset: datetime


def find_places(graph: Graph, seen: Survey, policy: CorrelatePolicy) -> list[Place]:
    """The places to blame, zones before nodes; no node is named twice."""
    sick = [node for node in sorted({*seen.dead, *seen.at_node}) if node and _is_sick(graph, seen, node, policy)]
    zones = _zones(graph, seen, sick, policy)
    taken = {node for zone in zones for node in zone.nodes}
    nodes = [
        place_of_node(graph, seen, node)
        for node in sick
        if node not in taken and (node in seen.dead or stand_out(graph, seen, [node], policy.group_min))
    ]
    return zones + nodes


def _failing(seen: Survey, node: str) -> int:
    return sum(seen.at_node.get(node, {}).values())


def _of(graph: Graph, seen: Survey, node: str) -> int:
    """Units known on the node, failing ones included even if the catalog does not know them."""
    here = seen.at_node.get(node, {})
    known = graph.units(node)
    return sum(max(known.get(key, 0), here.get(key, 0)) for key in {*known, *here})


def _is_sick(graph: Graph, seen: Survey, node: str, policy: CorrelatePolicy) -> bool:
    if node in seen.dead:
        return True
    failing = _failing(seen, node)
    listed = sum(graph.units(node).values())  # at most what ``_of`` counts, and cheaper
    return failing >= policy.group_share * listed and 0 < failing >= policy.group_share * _of(graph, seen, node)


def stand_out(graph: Graph, seen: Survey, nodes: Iterable[str], least: int) -> bool:
    """Two services or more fail on these nodes, and those that run elsewhere too are mostly well there."""
    here: dict[str, int] = {}
    for node in nodes:
        for key, units in seen.at_node.get(node, {}).items():
            here[key] = here.get(key, 0) + units
    well = ill = 0
    for key, units in here.items():
        service = seen.services[key]
        elsewhere, failing = service.size - units, service.units - units
        if elsewhere > 0:
            ill += failing >= _MOSTLY * elsewhere
            well += failing < _MOSTLY * elsewhere
    return len(here) >= 2 and sum(here.values()) >= least and well > ill


def _zones(graph: Graph, seen: Survey, sick: list[str], policy: CorrelatePolicy) -> list[Place]:
    by_zone: dict[str, list[str]] = {}
    for node in sick:
        if zone := graph.zone_of(node):
            by_zone.setdefault(zone, []).append(node)
    found = []
    for zone, nodes in sorted(by_zone.items()):
        every = graph.zones()[zone]
        if len(nodes) < max(policy.group_min, policy.group_share * len(every)):
            continue
        dead = sum(node in seen.dead for node in nodes)
        by_checks = dead >= max(policy.group_min, policy.group_share * len(every))
        alone = _others_well(graph, zone, by_zone)
        if alone and (by_checks or stand_out(graph, seen, nodes, policy.group_min)):
            found.append(place_of_zone(graph, seen, zone, nodes))
    return found


def _others_well(graph: Graph, zone: str, by_zone: dict[str, list[str]]) -> bool:
    mine = graph.zone_target(zone)
    others = [z for z in graph.zones() if z != zone and graph.zone_target(z) == mine]
    return bool(others) and all(len(by_zone.get(z, ())) < _MOSTLY * len(graph.zones()[z]) for z in others)


def _onset(seen: Survey, nodes: Iterable[str]) -> datetime:
    """The first sign of the place's failure: its own check's, else its first unit's."""
    moments = []
    for node in nodes:
        if node in seen.dead:
            moments.append(seen.dead[node].not_passing_since)
        for key in seen.at_node.get(node, {}):
            moments += [t.not_passing_since for t in seen.services[key].at.get(node, ())]
    return min(moments)


def place_of_node(graph: Graph, seen: Survey, node: str) -> Place:
    """The node as one to blame."""
    target = graph.node_target(node) or _some_target(seen, node)
    return Place(
        kind="node",
        key=f"node:{node}",
        target=target,
        name=target.node,
        nodes=(node,),
        of=_of(graph, seen, node),
        failing=_failing(seen, node),
        dead=int(node in seen.dead),
        onset=_onset(seen, [node]),
    )


def _some_target(seen: Survey, node: str) -> Target:
    if node in seen.dead:
        return seen.dead[node].target.of_node()
    key = next(iter(seen.at_node[node]))
    return seen.services[key].at[node][0].target.of_node()


def place_of_zone(graph: Graph, seen: Survey, zone: str, nodes: list[str]) -> Place:
    """The zone as one to blame, ``nodes`` of it being sick."""
    return Place(
        kind="zone",
        key=f"zone:{zone}",
        target=graph.zone_target(zone),
        name=graph.zone(nodes[0]),
        nodes=tuple(nodes),
        of=len(graph.zones()[zone]),
        failing=len(nodes),
        dead=sum(node in seen.dead for node in nodes),
        onset=_onset(seen, nodes),
    )
