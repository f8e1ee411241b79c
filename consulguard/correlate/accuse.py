"""What the inferred chances change: hidden causes and places to blame, confidences, and what else was considered.

A cause that plain inhibition does not see is accused from ``_ENOUGH`` on. One that already is the root of an open
incident stays so down to ``_STAYS``, and while its evidence is too old to be judged: no mind is changed lightly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from consulguard.correlate.cause.doors import Door, sentence
from consulguard.correlate.cause.layout import layout
from consulguard.correlate.cause.memory import NONE, Call, Change, Hints, Trail
from consulguard.correlate.cause.rank import Verdict, suspects
from consulguard.correlate.cause.stories import Entity
from consulguard.correlate.cause.weights import WEIGHTS
from consulguard.correlate.graph import Graph
from consulguard.correlate.keys import node_key, root_of, root_target, service_key, zone_key
from consulguard.correlate.places import Place, place_of_node, place_of_zone, stand_out
from consulguard.correlate.related import related
from consulguard.correlate.survey import Survey
from consulguard.model import Alternative, Root, Target
from consulguard.policy import CorrelatePolicy

_ENOUGH = 0.5
_STAYS = 0.25
_WORTH = 0.02  # a smaller chance is not worth a sentence
_MOST = 3  # alternatives told


@dataclass(frozen=True, slots=True)
class Past:
    """What is remembered: the checks' trails, what else is known, and the roots that open incidents name."""

    trails: Mapping[str, Trail]
    standing: frozenset[Entity] = frozenset()
    hints: Hints = NONE


@dataclass(frozen=True, slots=True)
class Accused:
    verdict: Verdict | None = None
    chances: Mapping[Entity, float] = field(default_factory=dict)
    firm: tuple[Entity, ...] = ()  # accused, the likeliest first
    standing: frozenset[Entity] = frozenset()  # roots of open incidents
    calls: Mapping[str, tuple[Call, ...]] = field(default_factory=dict)  # service -> those to it that fail
    changes: Mapping[str, Sequence[Change]] = field(default_factory=dict)  # by service
    doors: Mapping[str, Door] = field(default_factory=dict)  # by service
    at: float = 0.0  # seconds since 1970

    def services(self, seen: Survey) -> list[str]:
        """Those that look well themselves."""
        return [key for kind, key in self.firm if kind == "service" and key not in seen.services]

    def places(self, graph: Graph, seen: Survey, found: list[Place], policy: CorrelatePolicy) -> list[Place]:
        """With the nodes and zones that are accused and that something fails on, no node twice.

        Those whose own checks pass must stand out: services that run nowhere else may each fail by itself.
        """
        taken = {node for place in found for node in place.nodes}
        added = []
        for kind, key in sorted(self.firm, key=lambda e: e[0] != "zone"):
            if kind == "service":
                continue
            every = [key] if kind == "node" else list(graph.zones().get(key, ()))
            sick = [n for n in every if n in seen.dead or n in seen.at_node]
            if not sick or taken.intersection(every):
                continue
            sure = (kind, key) in self.standing or any(n in seen.dead for n in sick)
            if not sure and not stand_out(graph, seen, sick, policy.group_min):
                continue
            taken.update(every)
            added.append(
                place_of_node(graph, seen, key) if kind == "node" else place_of_zone(graph, seen, key, sick)
            )
        return found + added

    def chance(self, root: Root) -> float | None:
        """Of this root; None where its evidence was not judged."""
        return self.chances.get(entity_of(root))

    def met(self, entity: Entity, onset: datetime) -> str:
        """How it met a probe, as a sentence; empty where that says nothing of what began then."""
        door = self.doors.get(entity[1]) if entity[0] == "service" else None
        return sentence(door, onset.timestamp(), self.at, WEIGHTS)

    def unknown(self, root: Root) -> bool:
        """Whether we do not know: nobody stands out, or not this root."""
        chance = self.chance(root)
        return self.verdict is not None and chance is not None and (not self.verdict.known or chance < _ENOUGH)

    def others(
        self, graph: Graph, seen: Survey, root: Root, named: frozenset[Entity], onset: datetime
    ) -> tuple[Alternative, ...]:
        """The likeliest causes beside it that no explanation names, and why each is less likely."""
        if self.verdict is None or self.chance(root) is None:
            return ()
        told: list[Alternative] = []
        for suspect in self.verdict.suspects:
            if suspect.chance < _WORTH or len(told) == _MOST:
                break
            entity = suspect.kind, suspect.key
            if entity in named or not related(graph, entity_of(root), entity):
                continue
            other = _root(graph, suspect.kind, suspect.key)
            if other is not None:
                why = _less(graph, seen, suspect.kind, suspect.key)
                if suspect.kind == root.kind == "service" and entity_of(root)[1] in graph.callees(suspect.key):
                    why = f"{why}, it depends on {root.name}"
                if met := self.met((suspect.kind, suspect.key), onset):
                    why = f"{why}; {met[0].lower()}{met[1:-1]}"
                told.append(Alternative(root=other, confidence=round(suspect.chance, 2), why=why))
        return tuple(told)


NOTHING = Accused()


def accuse(graph: Graph, past: Past, at: datetime) -> Accused:
    verdict = suspects(graph, past.trails.values(), at.timestamp(), hints=past.hints)
    chances = {(s.kind, s.key): s.chance for s in verdict.suspects}
    firm = [e for e, chance in chances.items() if chance >= (_STAYS if e in past.standing else _ENOUGH)]
    firm += [e for e in sorted(past.standing) if e not in chances]
    calls = _failing(graph, past.hints.calls.values())
    hints = past.hints
    return Accused(verdict, chances, tuple(firm), past.standing, calls, hints.changes, hints.doors, at.timestamp())


def _failing(graph: Graph, calls: Iterable[Call]) -> dict[str, tuple[Call, ...]]:
    """By the service that is called, the worst first."""
    found: dict[str, list[Call]] = {}
    named = layout(graph).named
    for call in calls:
        if call.flips[-1][1] and named(call.caller) and (callee := named(call.callee)):
            found.setdefault(callee, []).append(call)
    return {key: tuple(sorted(c, key=lambda c: (-c.failed, c.caller))) for key, c in found.items()}


def entity_of(root: Root) -> Entity:
    """How the ranking names a root. It does not tell an instance from its service."""
    target = root_target(root)
    if root.kind == "zone":
        return "zone", zone_key(target, root.name)
    return ("node", node_key(target)) if root.kind == "node" else ("service", service_key(target))


def standing(roots: Iterable[Root]) -> frozenset[Entity]:
    return frozenset(entity_of(root) for root in roots if root.kind != "instance")


def _root(graph: Graph, kind: str, key: str) -> Root | None:
    if kind == "zone":
        nodes = graph.zones().get(key)
        return root_of(kind, graph.zone_target(key), graph.zone(next(iter(nodes)))) if nodes else None
    target: Target | None = graph.target(key) if kind == "service" else graph.node_target(key)
    return root_of(kind, target, target.service or target.node) if target is not None else None


def _less(graph: Graph, seen: Survey, kind: str, key: str) -> str:
    """What speaks for and against it, in numbers that can be checked."""
    if kind == "zone":
        nodes = graph.zones()[key]
        return f"{sum(n in seen.dead or n in seen.at_node for n in nodes)} of its {len(nodes)} nodes are touched"
    if kind == "node":
        units = sum(graph.units(key).values())
        own = "its own check fails" if key in seen.dead else "its own check passes"
        return f"{own}, {sum(seen.at_node.get(key, {}).values())} of {units} instances there fail"
    callers = graph.callers(key)
    failing = sum(edge.caller in seen.services for edge in callers)
    sick = seen.services.get(key)
    own = f"{sick.units} of its {sick.size} instances fail" if sick else "its own checks pass"
    return (
        f"{own}, {failing} of its {len(callers)} known callers fail"
        if callers
        else f"{own}, it has no known caller"
    )
