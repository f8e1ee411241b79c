"""From troubles to failing units: how much of each service fails, and where.

A *unit* is an instance of a service on a node. A sidecar's trouble counts for the service it fronts, unless an
instance of that service on the same node already speaks for itself. On a dead node every service has failing
units, even if their checks have frozen and say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from consulguard.correlate.graph import Graph
from consulguard.correlate.keys import is_consul, node_key, service_key
from consulguard.model import State, Target, Trouble
from consulguard.policy import CorrelatePolicy

FAILING = frozenset({State.CRITICAL, State.VANISHED})
_SEVERITY = (State.CRITICAL, State.VANISHED, State.WARNING)
_NEVER = datetime.max.replace(tzinfo=UTC)


def failing_states(policy: CorrelatePolicy) -> frozenset[State]:
    """What counts as failing: critical and vanished, and warning where the operator says so."""
    return FAILING | {State.WARNING} if policy.warning_opens else FAILING


@dataclass(slots=True)
class Sick:
    """A service with at least one failing unit."""

    key: str
    target: Target
    troubles: list[Trouble] = field(default_factory=list)  # failing, by node and instance
    at: dict[str, list[Trouble]] = field(default_factory=dict)  # the same by node key
    at_node: dict[str, int] = field(default_factory=dict)  # node key -> failing units there, silent ones included
    silent: list[Trouble] = field(default_factory=list)  # dead nodes' own troubles, for units that say nothing
    onset: datetime = _NEVER  # when it began to be not passing, as a service
    since: datetime = _NEVER  # when it came into its state, as a service
    size: int = 0  # registered and vanished units; 0: not known
    lost: bool = False  # another unit's, which has not been heard of: nobody knows how it is now

    @property
    def units(self) -> int:
        return sum(self.at_node.values())

    @property
    def state(self) -> State:
        """The worst of its failing units'."""
        if self.lost:
            return State.UNKNOWN
        return min((t.state for t in (*self.troubles, *self.silent)), key=_SEVERITY.index)

    def settle(self, size: int, share: float) -> None:
        """Set its size; it failed as a service when the unit failed that made ``share`` of them full."""
        self.size = size
        told = (*self.troubles, *self.silent)
        nth = min(max(math.ceil(share * size), 1), len(told)) - 1
        self.onset = sorted(t.not_passing_since for t in told)[nth]
        self.since = sorted(t.since for t in told)[nth]


@dataclass(slots=True)
class Survey:
    services: dict[str, Sick] = field(default_factory=dict)  # by service key, sorted
    dead: dict[str, Trouble] = field(default_factory=dict)  # node key -> its own failing trouble
    at_node: dict[str, dict[str, int]] = field(default_factory=dict)  # node key -> service key -> failing units


def survey(graph: Graph, troubles: Mapping[str, Trouble], policy: CorrelatePolicy) -> Survey:
    """Sort the troubles out. Costs what fails, not what there is."""
    states = failing_states(policy)
    ordered = _of_the_mesh(graph, [troubles[key] for key in sorted(troubles)])
    planned = {_place(graph, t) for t in ordered if t.state is State.MAINTENANCE}
    seen = Survey()
    for trouble in ordered:
        owner, node = _place(graph, trouble)
        sidecar = bool(owner) and owner != service_key(trouble.target)
        if trouble.state not in states or ("", node) in planned or (sidecar and (owner, node) in planned):
            continue
        if owner:
            _sick(graph, seen, owner, trouble).troubles.append(trouble)
        else:
            seen.dead[node] = trouble
    for sick in seen.services.values():
        _count(sick)
    for node in sorted(seen.dead):
        _silent(graph, seen, node, planned)
    for sick in seen.services.values():
        sick.settle(_size(graph, sick), policy.service_share)
    seen.services = {key: seen.services[key] for key in sorted(seen.services)}
    for key, sick in seen.services.items():
        for node, units in sick.at_node.items() if key not in graph.abroad else ():
            seen.at_node.setdefault(node, {})[key] = units
    return seen


def _of_the_mesh(graph: Graph, ordered: list[Trouble]) -> list[Trouble]:
    """Without Consul's own servers, nor the nodes where nothing else runs: the mesh has lost nothing with them,
    and what they mean for the view is the watcher's concern.
    """
    nodes = {node_key(t.target) for t in ordered if not t.target.service}
    others = {node for node in nodes for key in graph.units(node) if not is_consul(graph.target(key))}
    others |= {node_key(t.target) for t in ordered if t.target.service and not is_consul(t.target)}
    alone = {node for node in nodes - others if graph.is_server(node)}
    return [
        t for t in ordered if not is_consul(t.target) and (t.target.service or node_key(t.target) not in alone)
    ]


def _place(graph: Graph, trouble: Trouble) -> tuple[str, str]:
    """(service key or empty, node key)."""
    target = trouble.target
    return graph.owner(service_key(target)) if target.service else "", node_key(target) if target.node else ""


def _sick(graph: Graph, seen: Survey, key: str, trouble: Trouble | None = None) -> Sick:
    if (found := seen.services.get(key)) is None:
        target = graph.target(key) or (trouble.target.of_service() if trouble else Target(dc=""))
        found = seen.services[key] = Sick(key=key, target=target, lost=graph.abroad.get(key, False))
    return found


def _count(sick: Sick) -> None:
    """Units by node; where an instance speaks for itself its sidecar adds nothing."""
    own = {node_key(t.target) for t in sick.troubles if service_key(t.target) == sick.key}
    sick.troubles = [
        t for t in sick.troubles if service_key(t.target) == sick.key or node_key(t.target) not in own
    ]
    for trouble in sick.troubles:
        sick.at.setdefault(node_key(trouble.target), []).append(trouble)
    sick.at_node = {node: len(troubles) for node, troubles in sick.at.items()}


def _silent(graph: Graph, seen: Survey, node: str, planned: set[tuple[str, str]]) -> None:
    """All units of a dead node fail, whatever their last checks said."""
    for key, units in graph.units(node).items():
        if (key, node) in planned or is_consul(graph.target(key)):
            continue
        sick = _sick(graph, seen, key)
        mute = units - sick.at_node.get(node, 0)
        if mute > 0:
            sick.at_node[node] = units
            sick.silent.extend([seen.dead[node]] * mute)


def _size(graph: Graph, sick: Sick) -> int:
    """Registered units and those that have left since; 0 when the catalog has told nothing of the service.

    A service that has left the catalog as a whole still has the size it had in the last day.
    """
    fact = graph.fact(sick.key)
    if sick.key in graph.abroad:
        return sick.units
    if fact is None:
        expected = graph.expected(sick.key)
        return max(expected, sick.units) if expected else 0
    gone = sum(
        1
        for t in sick.troubles
        if t.state is State.VANISHED and t.since <= fact.at and service_key(t.target) == sick.key
    )
    known = max(fact.count, len(fact.nodes), len(fact.instances or ())) + gone
    return max(known, sick.units) if known else 0
