"""How sure we are and the sentences that say why. Both are read from the same evidence.

Confidence of a service: 0.5 for failing while nothing it depends on does; + 0.25 times the share of its known
callers that fail, each counted by the trust of its edge; + 0.1 times the share of its victims that did not fail
before it (0 without victims); + 0.1 times the share of its units that fail. Times 0.7 when picked from a cycle.
Of an instance: 0.5 + 0.3 times the share of its service's units that stand. Of a node: 0.95 when its own check
fails, else 0.5 + 0.4 times the share of its units that fail. Of a zone: 0.6 + 0.35 times the share of its nodes
that are sick. Of a hidden service: 0.4 + 0.05 per caller, times the mean trust of their edges, 0.6 at most.
Where the checks' pasts are weighed (``accuse``), the inferred chance takes the place of all this.
Many causes at once are rarely independent: when n > 3 services were blamed, by themselves or through an instance,
within two minutes, the confidence of each is multiplied by 3/n.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from consulguard.correlate.accuse import Accused, entity_of
from consulguard.correlate.cause.weights import WEIGHTS
from consulguard.correlate.graph import Graph
from consulguard.correlate.index import Edge
from consulguard.correlate.inhibit import Cause, Findings, Reach
from consulguard.correlate.keys import service_key
from consulguard.correlate.survey import Sick, Survey
from consulguard.model import Alternative, Member, Role, Root

_AT_ONCE = timedelta(minutes=2)
_FEW = 3  # causes at once that may well be independent
_NAMED = 3  # victims named in a sentence of their own
_SENTENCES = 8


@dataclass(slots=True)
class Case:
    """A cause with everything that was found about it."""

    cause: Cause
    victims: list[tuple[Reach, str]]  # nearest first
    members: list[Member]  # without those at risk
    at_risk: int
    listed: int
    beside: int  # services blamed at about the same time, this one included


@dataclass(slots=True)
class Crowd:
    """When services were blamed, to see how many at once."""

    moments: list[datetime]

    @staticmethod
    def of(graph: Graph, found: Findings) -> Crowd:
        first: dict[str, datetime] = {}
        for cause in found.causes.values():
            if cause.place is None and not cause.hidden:
                key = cause.services[0] if cause.services else graph.owner(service_key(cause.target))
                first[key] = min(cause.onset, first.get(key, cause.onset))
        return Crowd(sorted(first.values()))

    def beside(self, cause: Cause) -> int:
        """Services blamed within two minutes of this cause; 1 for places and hidden roots, which stand apart."""
        if cause.place is not None or cause.hidden:
            return 1
        low = bisect_left(self.moments, cause.onset - _AT_ONCE)
        return max(bisect_right(self.moments, cause.onset + _AT_ONCE) - low, 1)


# ---- confidence


def confidence(graph: Graph, seen: Survey, found: Findings, case: Case) -> float:
    """0..1, two digits; see the head of this file."""
    cause = case.cause
    if cause.place is not None:
        sure = _place_confidence(case)
    elif cause.hidden:
        trusts = [graph.callees(caller)[cause.services[0]].trust for caller in cause.hidden]
        sure = min(0.6, (0.4 + 0.05 * len(trusts)) * sum(trusts) / len(trusts))
    elif cause.trouble is not None:
        sick = seen.services[graph.owner(service_key(cause.target))]
        sure = 0.5 + (0.3 * (1 - sick.units / sick.size) if sick.size else 0.0)
    else:
        sure = _service_confidence(graph, seen, found, case)
    return round(sure * min(1.0, _FEW / case.beside), 2)


def _place_confidence(case: Case) -> float:
    place = case.cause.place
    if place is None:
        return 0.0
    share = place.failing / place.of if place.of else 1.0
    if place.kind == "zone":
        return 0.6 + 0.35 * share
    return 0.95 if place.dead else 0.5 + 0.4 * share


def _service_confidence(graph: Graph, seen: Survey, found: Findings, case: Case) -> float:
    (key,) = case.cause.services
    sick = seen.services[key]
    callers = graph.callers(key)
    leaning = sum(edge.trust for edge in failing_callers(callers, found))
    sure = 0.5 + 0.1 * sick.units / sick.size
    if callers:
        sure += 0.25 * leaning / len(callers)
    if case.victims:
        late = sum(seen.services[victim].onset >= case.cause.onset for _, victim in case.victims)
        sure += 0.1 * late / len(case.victims)
    return sure * (0.7 if case.cause.cycle > 1 else 1.0)


def failing_callers(callers: Iterable[Edge], found: Findings) -> list[Edge]:
    """Of these edges, those whose caller fails."""
    return [edge for edge in callers if edge.caller in found.down or edge.caller in found.stranded]


# ---- sentences


def doubts(root: Root, confidence: float, unknown: bool) -> tuple[str, ...]:
    """That we do not know, where we do not."""
    if not unknown:
        return ()
    return (f"We do not know who is to blame: {root.name} has a chance of {confidence:.0%}.",)


def compared(others: Iterable[Alternative]) -> tuple[str, ...]:
    """What else was considered, and what speaks for it."""
    return tuple(f"Also considered: {_place(o.root)} ({o.confidence:.0%}): {o.why}." for o in others)


def hints(accused: Accused, root: Root, onset: datetime) -> tuple[str, ...]:
    """What speaks against a service besides checks: calls to it, probes of it, what was changed shortly before."""
    kind, key = entity_of(root)
    if kind != "service":
        return ()
    calls = [
        f"{c.failed:.0%} of {c.caller}'s calls to {c.callee} fail (Prometheus)."
        for c in accused.calls.get(key, ())
    ]
    since = onset.timestamp()
    recent = [c for c in accused.changes.get(key, ()) if since - WEIGHTS.changed_s <= c.at <= since]
    met = accused.met((kind, key), onset)
    told = (*calls[:_NAMED], *([met] if met else []))
    return (*told, *(f"{since - c.at:.0f} s before, {c.what}." for c in recent))


def _place(root: Root) -> str:
    return root.name if root.kind == "service" else f"{root.kind} {root.name}"


def sentences(graph: Graph, seen: Survey, found: Findings, case: Case) -> tuple[str, ...]:
    """At most eight sentences, the weightiest first."""
    cause = case.cause
    if cause.place is not None:
        told = _of_place(case)
    elif cause.hidden:
        told = _of_hidden(graph, seen, case)
    elif cause.trouble is not None:
        told = _of_instance(graph, seen, case)
    else:
        told = _of_service(graph, seen, found, case)
    if case.beside > _FEW:
        told.append(
            f"{case.beside} services fail by themselves within two minutes: a cause we cannot see is likely."
        )
    told += _of_victims(graph, seen, case)[: _SENTENCES - 1 - len(told)]
    if case.at_risk > case.listed:
        told.append(f"Of {case.at_risk} services at risk the nearest {case.listed} are listed.")
    return tuple(told[:_SENTENCES])


def _of_service(graph: Graph, seen: Survey, found: Findings, case: Case) -> list[str]:
    (key,) = case.cause.services
    sick = seen.services[key]
    if key in graph.abroad:
        return _of_abroad(sick)
    told = [f"{sick.units} of {sick.size} instances of {case.cause.name} fail, since {_clock(case.cause.onset)}."]
    callees = list(graph.callees(key))
    if case.cause.cycle > 1:
        told.append(
            f"It is one of {case.cause.cycle} failing services that depend on each other in a cycle; "
            "none of them failed earlier."
        )
    elif callees:
        told.append(f"No known dependency of it fails ({_names(graph, callees)}).")
    else:
        told.append("It has no known dependency.")
    callers = graph.callers(key)
    if callers:
        told.append(f"{len(failing_callers(callers, found))} of its {len(callers)} known callers fail.")
    else:
        told.append("It has no known caller.")
    return told


def _of_abroad(sick: Sick) -> list[str]:
    """What its own unit says of it."""
    target, (said,) = sick.target, sick.troubles
    told = [f"{target.dc} says that {target.service} fails there, since {_clock(sick.onset)}."]
    if said.output:
        told.append(f"{target.dc} blames {said.output}.")
    if sick.lost:
        told.append(f"Nothing has been heard of {target.dc} for a while: whether it still fails is not known.")
    return told


def _of_instance(graph: Graph, seen: Survey, case: Case) -> list[str]:
    cause = case.cause
    sick = seen.services[graph.owner(service_key(cause.target))]
    where = f" on {cause.target.node}" if cause.target.node else ""
    told = [f"Instance {cause.target.instance} of {cause.name}{where} fails, since {_clock(cause.onset)}."]
    if sick.size:
        told.append(f"{sick.size - sick.units} of {sick.size} instances of {cause.name} stand.")
    else:
        told.append(f"How many instances {cause.name} has is not known yet.")
    told.append("No known dependency of it fails.")
    return told


def _of_hidden(graph: Graph, seen: Survey, case: Case) -> list[str]:
    cause = case.cause
    own = f"{cause.name}'s own checks pass"
    if (sick := seen.services.get(cause.services[0])) is not None:
        own = f"Only {sick.units} of {sick.size} instances of {cause.name} fail by their own checks"
    known = len(graph.callers(cause.services[0]))
    if cause.accused:
        share = f"{len(cause.hidden)} of {known} known callers of {cause.name} fail"
        end = "It explains best what fails and what does not."
    else:
        share = f"All {len(cause.hidden)} known callers of {cause.name} fail"
        end = "No failing dependency explains those callers, and no other service has just these callers."
    return [
        f"{share} ({_names(graph, cause.hidden)}), since {_clock(cause.onset)}.",
        f"{own}: they may not see what its callers see.",
        *_shared(graph, seen, case),
        end,
    ]


def _shared(graph: Graph, seen: Survey, case: Case) -> list[str]:
    """What else all those callers depend on, where none of it fails."""
    callers = case.cause.hidden
    if len(callers) < 2:
        return []
    shared = [
        key
        for key in graph.callees(callers[0])
        if key not in case.cause.services and all(key in graph.callees(other) for other in callers[1:])
    ]
    if any(key in seen.services for key in shared):
        return []
    return [
        f"Nothing else that all of them depend on fails ({_names(graph, shared)})."
        if shared
        else "All of them depend on nothing else in common."
    ]


def _of_place(case: Case) -> list[str]:
    cause, place = case.cause, case.cause.place
    if place is None:
        return []
    if place.kind == "zone":
        told = [
            f"{place.failing} of {place.of} nodes of zone {cause.name} fail, since {_clock(cause.onset)}; "
            "other zones stand."
        ]
        if place.dead:
            told.append(f"{place.dead} of them fail their own node check.")
    elif place.dead:
        told = [f"The node check of {cause.name} fails, since {_clock(cause.onset)}."]
    else:
        told = [
            f"{place.failing} of {place.of} instances on {cause.name} fail, since {_clock(cause.onset)}.",
            "Their services are well on other nodes.",
        ]
    isolated = sum(member.role is Role.ISOLATED for member in case.members)
    if isolated:
        told.append(f"{isolated} failing instances there belong to services that stand elsewhere.")
    if cause.services:
        told.append(f"{len(cause.services)} services have too few instances elsewhere and are down.")
    return told


def _of_victims(graph: Graph, seen: Survey, case: Case) -> list[str]:
    told = []
    for reach, key in case.victims[:_NAMED]:
        if reach.via is None:
            continue
        when = _late((seen.services[key].onset - case.cause.onset).total_seconds())
        told.append(
            f"{_names(graph, [key])} fails and depends on {_names(graph, [reach.via.callee])} "
            f"({reach.via.provenance}, trust {reach.via.trust:.2f}); it began {when}."
        )
    if len(case.victims) > _NAMED:
        told.append(f"{len(case.victims) - _NAMED} more services are affected.")
    return told


def _late(seconds: float) -> str:
    """How much later than its cause: tenths below ten seconds, whole ones from there."""
    size = abs(seconds)
    told = f"{size:.1f}" if size < 9.95 else f"{size:.0f}"
    if told == "0.0":
        return "at the same time"
    return f"{told.removesuffix('.0')} s {'later' if seconds > 0 else 'earlier'}"


def _names(graph: Graph, keys: Iterable[str], most: int = 5) -> str:
    targets = [graph.target(key) for key in keys]
    names = [target.service for target in targets if target is not None]
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join(names[:most] + more)


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}Z"
