"""The machine's doors: looks, time, and what one may ask."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from consulguard.health.check import expire, move, see
from consulguard.health.gather import settle
from consulguard.health.memory import REGISTRATION, CheckMemory, HealthState, Turn, index_of, owner
from consulguard.health.tables import RANK
from consulguard.model import HealthChange, Observation, State, Status, Target, Trouble
from consulguard.policy import HealthPolicy

_SILENT = (Status.ABSENT, Status.UNKNOWN)
_NOTHING_NEW = (Status.PASSING, Status.ABSENT)  # ... of a check without a memory
_RANK: dict[Status, int] = {
    status: RANK[State.VANISHED if status is Status.ABSENT else State(status.value)] for status in Status
}


def observe(
    state: HealthState, observations: Sequence[Observation], at: datetime, policy: HealthPolicy
) -> list[HealthChange]:
    """Take one answer's looks. Their order does not matter; seeing the same again adds looks and nothing else.

    Several looks at one check are taken by their time, then ModifyIndex; of two that claim the same moment the
    worse one is believed.
    """
    changes = tick(state, at, policy)
    turn = Turn(state, at, policy)
    for key, looks in _in_order(observations):
        for look in looks:
            _take(turn, key, look)
    settle(turn)
    return changes + turn.changes


def tick(state: HealthState, at: datetime, policy: HealthPolicy) -> list[HealthChange]:
    """End the windows that are over at ``at``. It adds no look."""
    turn = Turn(state, at, policy)
    while turn.index.heap and turn.index.heap[0][0] <= at:
        due, key = heapq.heappop(turn.index.heap)
        memory = state.checks.get(key)
        if memory is not None and memory.due == due:
            memory.due = None
            expire(turn, key, memory)
    settle(turn)
    return turn.changes


def next_wake(state: HealthState) -> datetime | None:
    """The first moment at which time alone changes something, or None."""
    index = index_of(state)
    while index.heap:
        due, key = index.heap[0]
        memory = state.checks.get(key)
        if memory is not None and memory.due == due:
            return due
        heapq.heappop(index.heap)
    return None


def troubles(state: HealthState) -> Mapping[str, Trouble]:
    """Target.key -> trouble of every instance and node that is not passing.

    A live view, not a copy: it changes with the next call of observe, learn or tick.
    """
    return MappingProxyType(state.troubles)


def state_of(state: HealthState, target: Target) -> State:
    """The state of a service, an instance (a sidecar's is that of whom it serves) or a node."""
    if target.kind == "service":
        found = state.services.get(target.of_service().key)
    else:
        found = state.troubles.get(owner(state, target).key)
    return found.state if found else State.PASSING


def _take(turn: Turn, key: str, look: Observation) -> None:
    memory = turn.state.checks.get(key)
    if look.target.instance and look.status not in _SILENT and turn.index.left:
        _is_registered(turn, look)
    if memory is None:
        if look.status in _NOTHING_NEW:
            return
        memory = CheckMemory(
            target=look.target,
            check=look.check,
            since=turn.at,
            not_passing_since=turn.at,
            seen_at=look.at,
        )
        turn.state.checks[key] = memory
    elif memory.target != look.target:
        _rehome(turn, key, memory, look.target)
    see(turn, key, memory, look)


def _is_registered(turn: Turn, look: Observation) -> None:
    """A check that speaks proves that its instance, held to have left, is there again."""
    key = registration_key(look.target)
    memory = turn.state.checks.get(key)
    if memory is not None and memory.state is State.VANISHED:
        memory.seen, memory.seen_at = Status.PASSING, look.at
        move(turn, key, memory, ("saw_passing",))


def _rehome(turn: Turn, key: str, memory: CheckMemory, target: Target) -> None:
    """The same check id now belongs to another service of the node."""
    thing = turn.index.attach(turn.state, key, memory)
    turn.index.detach(key)
    turn.touched[thing.key] = thing.target
    memory.target = target


def registration_key(target: Target) -> str:
    """Where an instance that left a failing node is remembered; no Observation.key looks like it."""
    return f"{target.key}|"


def _in_order(observations: Iterable[Observation]) -> Iterator[tuple[str, list[Observation]]]:
    by_key: dict[str, list[Observation]] = {}
    for look in observations:
        by_key.setdefault(look.key, []).append(look)
    for key in sorted(by_key):
        looks = by_key[key]
        yield key, looks if len(looks) == 1 else _by_time(looks)


def _by_time(looks: list[Observation]) -> list[Observation]:
    """In the order things happened; of one moment only the worst (its other fields make the order total)."""
    looks = sorted(looks, key=_moment)
    return list({(look.at, look.index): look for look in looks}.values())


def _moment(look: Observation) -> tuple[object, ...]:
    same = (look.output, look.target.key, look.changed, look.interval_s or 0.0)
    return (look.at, look.index, -_RANK[look.status], *same)


def known(state: HealthState) -> tuple[tuple[Target, str], ...]:
    """Target and check id of what is not passing: for a watcher that takes up where the last one ended."""
    return tuple(
        (memory.target, memory.check)
        for memory in state.checks.values()
        if memory.state is not State.PASSING and memory.check != REGISTRATION
    )
