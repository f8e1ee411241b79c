"""Short words for the tests of health."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from consulguard import health
from consulguard.health import HealthState
from consulguard.model import (
    HealthChange,
    InstanceFact,
    NodeFact,
    Observation,
    ServiceFact,
    State,
    Status,
    Target,
    Trouble,
)
from consulguard.policy import HealthPolicy

T0 = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = HealthPolicy()


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def node(name: str = "n1") -> Target:
    return Target(dc="dc1", node=name)


def service(name: str) -> Target:
    return Target(dc="dc1", service=name)


def inst(name: str, on: str = "n1", of: str = "") -> Target:
    return Target(dc="dc1", service=of or name, node=on, instance=name)


def look(
    target: Target, check: str, status: Status | str, at: float = 0, index: int = 0, **more: object
) -> Observation:
    return Observation(target=target, check=check, status=Status(status), at=after(at), index=index, **more)  # type: ignore[arg-type]


def facts_of(name: str, *instances: InstanceFact, at: float = 0, serves: str = "") -> ServiceFact:
    return ServiceFact(
        target=service(name), instances=instances, count=len(instances), destination=serves, at=after(at)
    )


def sidecar_of(name: str, on: str = "n1", status: Status = Status.PASSING) -> InstanceFact:
    return InstanceFact(target=inst(f"{name}-sidecar-proxy", on), destination_instance=name, status=status)


def node_fact(name: str = "n1", *instances: Target, at: float = 0, gone: bool = False) -> NodeFact:
    return NodeFact(target=node(name), instances=None if gone else instances, at=after(at), gone=gone)


class Mesh:
    """A health state with a clock in seconds from ``T0``."""

    def __init__(self, policy: HealthPolicy = POLICY) -> None:
        self.state = HealthState()
        self.policy = policy

    def see(
        self, target: Target, check: str, status: Status | str, at: float = 0, index: int = 0, **more: object
    ) -> list[HealthChange]:
        return self.observe(look(target, check, status, at, index, **more), at=at)

    def observe(self, *looks: Observation, at: float = 0) -> list[HealthChange]:
        return health.observe(self.state, looks, after(at), self.policy)

    def learn(self, *facts: ServiceFact | NodeFact, at: float = 0) -> list[HealthChange]:
        return health.learn(self.state, facts, after(at), self.policy)

    def tick(self, at: float) -> list[HealthChange]:
        return health.tick(self.state, after(at), self.policy)

    def of(self, target: Target) -> State:
        return health.state_of(self.state, target)

    def trouble(self, target: Target) -> Trouble:
        return health.troubles(self.state)[target.key]

    @property
    def wake(self) -> float | None:
        at = health.next_wake(self.state)
        return None if at is None else (at - T0).total_seconds()

    def restarted(self) -> Mesh:
        """The same mesh, read back from its own snapshot."""
        other = Mesh(self.policy)
        other.state = msgspec.json.decode(msgspec.json.encode(self.state), type=HealthState)
        return other
