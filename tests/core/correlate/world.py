"""Small meshes in a few words, for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from consulguard.correlate import Graph, blame
from consulguard.model import (
    EdgeFact,
    EdgesFact,
    Explanation,
    NodeFact,
    Role,
    ServiceFact,
    State,
    Target,
    Trouble,
    Upstream,
)
from consulguard.policy import CorrelatePolicy

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
POLICY = CorrelatePolicy()


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def svc(name: str, dc: str = "dc1") -> Target:
    return Target(dc=dc, service=name)


def node(name: str) -> Target:
    return Target(dc="dc1", node=name)


def inst(name: str, where: str = "", number: int = 1) -> Target:
    """Instance ``name-number`` on node ``where``, by default a node of its own."""
    return Target(dc="dc1", service=name, node=where or f"n-{name}-{number}", instance=f"{name}-{number}")


def service(
    name: str,
    *calls: str,
    count: int = 1,
    nodes: Iterable[str] | None = None,
    meta: Mapping[str, str] | None = None,
    seconds: float = 0,
) -> ServiceFact:
    """A service that declares what it calls; by default each instance has a node of its own."""
    names = tuple(nodes) if nodes is not None else tuple(f"n-{name}-{i + 1}" for i in range(count))
    return ServiceFact(
        target=svc(name), count=count, nodes=names, depends_on=calls, meta=dict(meta or {}), at=at(seconds)
    )


def sidecar(name: str, *calls: str, count: int = 1) -> ServiceFact:
    return ServiceFact(
        target=svc(f"{name}-sidecar-proxy"),
        kind="connect-proxy",
        destination=name,
        count=count,
        nodes=tuple(f"n-{name}-{i + 1}" for i in range(count)),
        upstreams=tuple(Upstream(name=call) for call in calls),
        at=T0,
    )


def place(name: str, zone: str = "", *instances: Target) -> NodeFact:
    return NodeFact(target=node(name), zone=zone, instances=instances or None, at=T0)


def edges(source: str, *pairs: tuple[str, str], provenance: str = "intention", trust: float = 0.5) -> EdgesFact:
    return EdgesFact(
        source=source,
        edges=tuple(
            EdgeFact(source=svc(a), destination=svc(b), provenance=provenance, trust=trust) for a, b in pairs
        ),
        at=T0,
    )


def graph(*facts: ServiceFact | NodeFact | EdgesFact) -> Graph:
    made = Graph()
    made.learn(facts)
    return made


def bad(target: Target, seconds: float = 0, state: State = State.CRITICAL) -> Trouble:
    return Trouble(target=target, state=state, since=at(seconds), not_passing_since=at(seconds))


def troubles(*found: Trouble) -> dict[str, Trouble]:
    return {trouble.target.key: trouble for trouble in found}


def down(name: str, count: int = 1, seconds: float = 0) -> list[Trouble]:
    """All instances of a service critical."""
    return [bad(inst(name, number=i + 1), seconds) for i in range(count)]


def judged(mesh: Graph, *found: Trouble, policy: CorrelatePolicy = POLICY) -> tuple[Explanation, ...]:
    return blame(mesh, troubles(*found), at(60), policy)


def roots(explanations: Iterable[Explanation]) -> list[str]:
    """``kind:name`` of each, an instance by its id."""
    return [f"{e.root.kind}:{e.root.instance or e.root.name}" for e in explanations]


def role(explanation: Explanation, wanted: Role) -> set[str]:
    return {member.name for member in explanation.members if member.role is wanted}
