"""From findings to explanations: who belongs to a cause in which role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from consulguard.correlate.accuse import NOTHING, Accused, entity_of
from consulguard.correlate.graph import Graph
from consulguard.correlate.index import Edge
from consulguard.correlate.inhibit import Cause, Findings, Reach
from consulguard.correlate.keys import root_of, service_key
from consulguard.correlate.survey import Survey
from consulguard.correlate.why import Case, Crowd, compared, confidence, doubts, hints, sentences
from consulguard.model import Explanation, Member, Role, State, Trouble

AT_RISK_MAX = 50  # services listed as at risk, the nearest ones
_DEPTH = 2  # calls between a root and what it puts at risk; 1 for an instance, whose service still stands
_ROLES = (Role.ROOT_CAUSE, Role.AFFECTED, Role.ISOLATED, Role.AT_RISK)


def explain(
    graph: Graph, troubles: Mapping[str, Trouble], seen: Survey, found: Findings, accused: Accused = NOTHING
) -> tuple[Explanation, ...]:
    """One explanation per cause, in the causes' order. Members: by role and age, those at risk by nearness."""
    teller = _Teller(graph, seen, found, _soft_states(graph, troubles))
    victims: dict[str, list[tuple[Reach, str]]] = {}
    for key, reach in found.victims.items():
        victims.setdefault(reach.cause, []).append((reach, key))
    crowd = Crowd.of(graph, found)
    roots = {key: root_of(cause.kind, cause.target, cause.name) for key, cause in found.causes.items()}
    named = frozenset(entity_of(root) for root in roots.values())
    told = []
    for key, cause in found.causes.items():
        mine = sorted(victims.get(key, ()), key=lambda item: (item[0][:4], item[1]))
        members = teller.members(cause, mine)
        listed, at_risk = teller.at_risk(cause, members)
        case = Case(cause, mine, members, at_risk, len(listed), crowd.beside(cause))
        abroad = service_key(cause.target) in graph.abroad  # its checks are not ours to weigh
        chance = None if abroad else accused.chance(roots[key])
        others = () if abroad else accused.others(graph, seen, roots[key], named, cause.onset)
        unknown = not abroad and accused.unknown(roots[key])
        sure = confidence(graph, seen, found, case) if chance is None else round(chance, 2)
        told.append(
            Explanation(
                root=roots[key],
                confidence=sure,
                members=(*sorted(members, key=_order), *listed),
                why=(
                    *doubts(roots[key], sure, unknown),
                    *sentences(graph, seen, found, case),
                    *hints(accused, roots[key], cause.onset),
                    *compared(others),
                ),
                alternatives=others,
                inferred=abroad or chance is not None,
                unknown=unknown,
            )
        )
    return tuple(told)


def _order(member: Member) -> tuple[int, object, str, str]:
    return _ROLES.index(member.role), member.since, member.target.key, member.kind


def _soft_states(graph: Graph, troubles: Mapping[str, Trouble]) -> dict[str, State]:
    """Of services that stand all the same: the first, by name, of what their instances are in."""
    soft: dict[str, State] = {}
    for trouble in troubles.values():
        if trouble.target.service:
            key = graph.owner(service_key(trouble.target))
            state = State.WARNING if trouble.state in (State.CRITICAL, State.VANISHED) else trouble.state
            soft[key] = max(soft.get(key, state), state)
    return soft


@dataclass(slots=True)
class _Teller:
    graph: Graph
    seen: Survey
    found: Findings
    soft: Mapping[str, State] = field(default_factory=dict)

    def members(self, cause: Cause, victims: Iterable[tuple[Reach, str]]) -> list[Member]:
        """The cause and everything failing that it explains."""
        found = [self._root(cause)]
        found += [self._service(key, Role.AFFECTED) for _, key in victims]
        found += [_instance(trouble, Role.AFFECTED) for trouble, _ in self.found.loose.get(cause.key, ())]
        if cause.place is not None:
            found += self._placed(cause)
        return found

    def at_risk(self, cause: Cause, members: list[Member]) -> tuple[list[Member], int]:
        """The nearest services that still stand and lean on the cause, nearest first, and how many there are."""
        near = self._leaning(cause, {service_key(m.target) for m in members if m.kind == "service"})
        listed = []
        for key in near[:AT_RISK_MAX]:
            target = self.graph.target(key)
            if target is not None:
                listed.append(
                    Member(
                        kind="service",
                        name=target.service,
                        role=Role.AT_RISK,
                        state=self.soft.get(key, State.PASSING),
                        since=cause.onset,
                        target=target,
                    )
                )
        return listed, len(near)

    def _root(self, cause: Cause) -> Member:
        state, since, role = State.CRITICAL, cause.onset, Role.ROOT_CAUSE
        if cause.trouble is not None:
            return _instance(cause.trouble, role)
        if cause.hidden:
            state = State.PASSING
        elif cause.place is None:
            return self._service(cause.services[0], role)
        elif (own := self.seen.dead.get(cause.place.nodes[0])) is not None and cause.kind == "node":
            state, since = own.state, own.since
        return Member(kind=cause.kind, name=cause.name, role=role, state=state, since=since, target=cause.target)

    def _service(self, key: str, role: Role) -> Member:
        sick = self.seen.services[key]
        return Member(
            kind="service",
            name=sick.target.service,
            role=role,
            state=sick.state,
            since=sick.since,
            target=sick.target,
        )

    def _placed(self, cause: Cause) -> list[Member]:
        """What a node or zone takes with it. An instance whose service stands all the same is only isolated."""
        found = [self._service(key, Role.AFFECTED) for key in cause.services]
        for node in cause.place.nodes if cause.place else ():
            if cause.kind == "zone":
                found.append(self._node(node, cause))
            for key in self.seen.at_node.get(node, {}):
                if key not in self.found.stranded:
                    role = Role.AFFECTED if key in self.found.down else Role.ISOLATED
                    found += [_instance(t, role) for t in self.seen.services[key].at.get(node, ())]
        return found

    def _node(self, node: str, cause: Cause) -> Member:
        own = self.seen.dead.get(node)
        target = own.target.of_node() if own else self.graph.node_target(node) or cause.target
        return Member(
            kind="node",
            name=target.node,
            role=Role.AFFECTED,
            state=own.state if own else State.CRITICAL,
            since=own.since if own else cause.onset,
            target=target,
        )

    def _leaning(self, cause: Cause, known: set[str]) -> list[str]:
        """Service keys by distance, trust and name; stops at the distance at which there are enough."""
        sources, depth = cause.services, _DEPTH
        if cause.trouble is not None:
            sources, depth = (self.graph.owner(service_key(cause.trouble.target)),), 1
        met = set(sources)
        ring = list(sources)
        found: list[str] = []
        for _ in range(depth):
            ring = self._ring(ring, met)
            met.update(ring)
            found += [key for key in ring if key not in known and not self._falls(key)]
            if len(found) >= AT_RISK_MAX:
                break
        return found

    def _ring(self, sources: Iterable[str], met: set[str]) -> list[str]:
        best: dict[str, Edge] = {}
        for source in sources:
            for edge in self.graph.callers(source):
                if edge.caller not in met and (edge.caller not in best or best[edge.caller].trust < edge.trust):
                    best[edge.caller] = edge
        return sorted(best, key=lambda key: (-best[key].trust, key))

    def _falls(self, key: str) -> bool:
        return key in self.found.down or key in self.found.stranded


def _instance(trouble: Trouble, role: Role) -> Member:
    return Member(
        kind="instance",
        name=trouble.target.instance,
        role=role,
        state=trouble.state,
        since=trouble.since,
        target=trouble.target,
    )
