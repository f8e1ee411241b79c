"""Plain inhibition: nobody is blamed whose dependency, node or zone fails.

A service is *down* when at least ``service_share`` of its units outside the blamed places fail; if fewer fail, its
failing instances are *loose* and stand for themselves. The root of an open incident stays down to half of that: it
does not turn from a service into one of its instances and back with every flip. A service is *stranded* when it is
down only because of a blamed place. A down service is a root unless something it depends on is down or stranded.
Within a cycle everybody depends on everybody, so it is judged as a whole, and of a guilty cycle the one that
failed first is blamed (then the one its peers trust to depend on most, then by name).

Hidden root: a service whose own checks are green is blamed when all of its known callers are down, two or more of
them would be roots, and no other such service has the same callers.

Each victim goes to the root that is fewest calls away, then over the most trusted path, then to the earlier one.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from consulguard.correlate.cycles import components
from consulguard.correlate.graph import Graph
from consulguard.correlate.index import Edge
from consulguard.correlate.keys import node_key
from consulguard.correlate.places import Place
from consulguard.correlate.survey import Sick, Survey
from consulguard.model import Target, Trouble
from consulguard.policy import CorrelatePolicy

_STAYS = 0.5  # of the share from which a service is down: what a standing root must still have failing


@dataclass(slots=True)
class Cause:
    """Something to blame."""

    key: str  # kind:key, unique
    kind: str
    target: Target
    name: str
    onset: datetime
    services: tuple[str, ...] = ()  # services it takes down by itself: the sources of what it explains
    place: Place | None = None
    trouble: Trouble | None = None  # of an instance
    cycle: int = 1  # services in the cycle it was picked from
    hidden: tuple[str, ...] = ()  # the callers that give a hidden root away
    accused: bool = False  # hidden, and inferred rather than found by the rule


class Reach(NamedTuple):
    """How a victim hangs on its cause; smaller is nearer."""

    hops: int
    doubt: float  # minus the product of the trusts on the way
    onset: datetime
    cause: str
    via: Edge | None  # None: the cause itself


@dataclass(slots=True)
class Findings:
    causes: dict[str, Cause] = field(default_factory=dict)
    victims: dict[str, Reach] = field(default_factory=dict)  # down services that are not to blame
    loose: dict[str, list[tuple[Trouble, Edge]]] = field(default_factory=dict)  # cause -> instances it affects
    stranded: dict[str, str] = field(default_factory=dict)  # service -> the place's cause
    down: dict[str, Sick] = field(default_factory=dict)


def judge(
    graph: Graph,
    seen: Survey,
    places: list[Place],
    policy: CorrelatePolicy,
    accused: Iterable[str] = (),
    standing: Container[str] = (),
) -> Findings:
    """Who is to blame, and who hangs on whom.

    ``accused``: services to blame though they look well. ``standing``: services that are roots of open incidents.
    """
    found = Findings()
    blamed = {node: place.key for place in places for node in place.nodes}
    shares = {k: policy.service_share * (_STAYS if k in standing else 1.0) for k in seen.services}
    loose = _sort_services(seen, blamed, found, shares)
    links = {key: _failing_callees(graph, key, found) for key in found.down}
    roots = _roots(found, links)
    hidden = _accused(graph, found, roots, accused)
    hidden += _hidden(graph, found, roots, hidden)
    _name_places(places, found)
    excused = {key for cause in hidden for key in cause.hidden}
    for key, size in roots.items():
        if key not in excused:
            cause = _service_cause(found.down[key])
            cause.cycle = size
            found.causes[cause.key] = cause
    for cause in hidden:
        found.causes[cause.key] = cause
    _place_loose(graph, loose, _reach(graph, links, found), found)
    found.causes = dict(sorted(found.causes.items(), key=lambda item: (item[1].onset, item[0])))
    return found


# ---- who is down, and why at all


def _sort_services(
    seen: Survey, blamed: Mapping[str, str], found: Findings, shares: Mapping[str, float]
) -> list[tuple[str, Trouble]]:
    """Fill ``down`` and ``stranded``; what is left of the failing instances is loose: (service, trouble)."""
    loose: list[tuple[str, Trouble]] = []
    for key, sick in seen.services.items():
        placed: dict[str, int] = {}
        for node, units in sick.at_node.items():
            if node in blamed:
                placed[blamed[node]] = placed.get(blamed[node], 0) + units
        own = sick.units - sum(placed.values())
        size = sick.size - sum(placed.values())
        if sick.size and own and own >= shares[key] * size:
            found.down[key] = sick
            continue
        if placed and sick.size and sick.units >= shares[key] * sick.size:
            found.stranded[key] = min(placed, key=lambda cause: (-placed[cause], cause))
        loose += [(key, trouble) for trouble in sick.troubles if node_key(trouble.target) not in blamed]
    return loose


def _failing_callees(graph: Graph, key: str, found: Findings) -> dict[str, Edge]:
    callees = graph.callees(key)
    return {callee: edge for callee, edge in callees.items() if callee in found.down or callee in found.stranded}


def _roots(found: Findings, links: Mapping[str, Mapping[str, Edge]]) -> dict[str, int]:
    """Root service -> size of the cycle it was picked from."""
    roots: dict[str, int] = {}
    for group in components(links):
        inside = frozenset(group)
        if all(callee in inside for key in group for callee in links[key]):
            leaned = dict.fromkeys(group, 0.0)
            for key in group:
                for callee, edge in links[key].items():
                    leaned[callee] += edge.trust
            roots[_first(group, found, leaned)] = len(group)
    return {key: roots[key] for key in sorted(roots)}


def _first(group: list[str], found: Findings, leaned: Mapping[str, float]) -> str:
    return min(group, key=lambda key: (found.down[key].onset, -leaned[key], key))


def _accused(graph: Graph, found: Findings, roots: Mapping[str, int], accused: Iterable[str]) -> list[Cause]:
    """Those of the accused that excuse a root which calls them."""
    causes: list[Cause] = []
    taken: set[str] = set()
    failing = found.down.keys() | found.stranded.keys()
    for suspect in accused:
        callers = tuple(e.caller for e in graph.callers(suspect) if e.caller in failing)
        excused = {key for key in callers if key in roots} - taken
        if excused and suspect not in found.stranded and graph.target(suspect) is not None:
            taken |= excused
            causes.append(_hidden_cause(graph, found, suspect, callers))
            causes[-1].accused = True
    return causes


def _hidden(graph: Graph, found: Findings, roots: Mapping[str, int], known: Iterable[Cause]) -> list[Cause]:
    """Green services that would explain two roots or more, each the only one to do so."""
    suspects: dict[str, list[str]] = {}
    named = {cause.services[0] for cause in known}
    for root in roots:
        for callee in graph.callees(root):
            if (
                callee not in named
                and callee not in found.down
                and callee not in found.stranded
                and graph.fact(callee) is not None
            ):
                suspects.setdefault(callee, []).append(root)
    failing = found.down.keys() | found.stranded.keys()
    by_callers: dict[tuple[str, ...], list[str]] = {}
    for suspect, blamers in suspects.items():
        if len(blamers) >= 2 and graph.called_only_by(suspect, failing):
            by_callers.setdefault(tuple(edge.caller for edge in graph.callers(suspect)), []).append(suspect)
    lonely = [(callers, names[0]) for callers, names in by_callers.items() if len(names) == 1]
    taken = {key for cause in known for key in cause.hidden}
    causes = []
    for callers, suspect in sorted(lonely, key=lambda item: (-len(suspects[item[1]]), item[1])):
        if len(set(suspects[suspect]) - taken) < 2:
            continue
        taken.update(suspects[suspect])
        causes.append(_hidden_cause(graph, found, suspect, callers))
    return causes


def _hidden_cause(graph: Graph, found: Findings, suspect: str, callers: tuple[str, ...]) -> Cause:
    target = graph.target(suspect) or Target(dc="")
    onset = min(found.down[key].onset for key in callers if key in found.down)
    return Cause(
        key=f"service:{suspect}",
        kind="service",
        target=target,
        name=target.service,
        onset=onset,
        services=(suspect,),
        hidden=callers,
    )


def _service_cause(sick: Sick) -> Cause:
    return Cause(
        key=f"service:{sick.key}",
        kind="service",
        target=sick.target,
        name=sick.target.service,
        onset=sick.onset,
        services=(sick.key,),
    )


def _name_places(places: list[Place], found: Findings) -> None:
    for place in places:
        found.causes[place.key] = Cause(
            key=place.key,
            kind=place.kind,
            target=place.target,
            name=place.name,
            onset=place.onset,
            services=tuple(key for key, cause in found.stranded.items() if cause == place.key),
            place=place,
        )


# ---- who hangs on whom


def _reach(graph: Graph, links: Mapping[str, Mapping[str, Edge]], found: Findings) -> dict[str, Reach]:
    """Shortest, most trusted way from every down service to a cause (Dijkstra over fewest calls, then trust)."""
    callers: dict[str, list[Edge]] = {}
    for edges in links.values():
        for edge in edges.values():
            callers.setdefault(edge.callee, []).append(edge)
    heap: list[tuple[int, float, datetime, str, str, Edge | None]] = []
    for cause in found.causes.values():
        heap += [(0, -1.0, cause.onset, cause.key, key, None) for key in cause.services]
        if cause.hidden:
            (suspect,) = cause.services
            callers[suspect] = [graph.callees(key)[suspect] for key in cause.hidden]
    heapq.heapify(heap)
    settled: dict[str, Reach] = {}
    while heap:
        hops, doubt, onset, cause_key, key, via = heapq.heappop(heap)
        if key in settled:
            continue
        settled[key] = Reach(hops, doubt, onset, cause_key, via)
        for edge in callers.get(key, ()):
            if edge.caller not in settled:
                heapq.heappush(heap, (hops + 1, doubt * edge.trust, onset, cause_key, edge.caller, edge))
    found.victims = {key: reach for key, reach in settled.items() if reach.via is not None}
    return settled


def _place_loose(
    graph: Graph, loose: list[tuple[str, Trouble]], reached: Mapping[str, Reach], found: Findings
) -> None:
    """A loose instance is affected by the nearest cause its service depends on; else it is a cause itself."""
    for key, trouble in loose:
        if (own := reached.get(key)) is not None and found.causes[own.cause].hidden and own.hops == 0:
            continue  # an instance of a hidden root: it is a piece of that root
        near = [(reached[callee], edge) for callee, edge in graph.callees(key).items() if callee in reached]
        if near:
            reach, edge = min(near, key=lambda item: (item[0][:4], item[1]))
            found.loose.setdefault(reach.cause, []).append((trouble, edge))
            continue
        cause = Cause(
            key=f"instance:{trouble.target.key}",
            kind="instance",
            target=trouble.target,
            name=_service_name(graph, key, trouble),
            onset=trouble.not_passing_since,
            trouble=trouble,
        )
        found.causes[cause.key] = cause


def _service_name(graph: Graph, key: str, trouble: Trouble) -> str:
    target = graph.target(key)
    return target.service if target else trouble.target.service
