"""One check's way through its machine: what an input does to its memory, and when time alone is an input."""

from __future__ import annotations

from datetime import datetime, timedelta

from consulguard.health.memory import OUTPUT_MAX, CheckMemory, Thing, Turn
from consulguard.health.tables import SAW, TABLES
from consulguard.model import HealthChange, Observation, State, Status, Target
from consulguard.policy import HealthPolicy

INTERVAL_MAX_S = 86400.0
"""A check interval above a day is taken as a day: a typo must not make a hold-down of months."""

_DELTA = TABLES["check"].delta
_REASONS = {
    "saw_passing": "seen passing",
    "saw_warning": "seen warning",
    "saw_critical": "seen critical",
    "saw_maintenance": "maintenance was switched on",
    "saw_absent": "gone from the catalog",
    "saw_unknown": "Consul could not tell",
    "calmed": "no change for the calm time",
    "held": "passing for the hold-down",
    "forgotten": "gone for so long that it is forgotten",
}


def window_s(base_s: float, memory: CheckMemory, policy: HealthPolicy, rounds: int = 1) -> float:
    """``base_s``, but long enough for ``rounds`` x ``interval_factor`` of the check's own intervals.

    The flap window asks for as many rounds as it counts changes; a slow check could else never be seen to flap.
    """
    return max(base_s, policy.interval_factor * memory.interval_s * rounds)


def due_at(memory: CheckMemory, policy: HealthPolicy) -> datetime | None:
    """When time alone moves this memory: the end of its hold-down, calm time, memory or flap history."""
    since, seconds = memory.since, 0.0
    match memory.state:
        case State.RECOVERING:
            seconds = window_s(policy.recovery_s, memory, policy)
        case State.FLAPPING:
            since = memory.changes[-1] if memory.changes else since
            seconds = window_s(policy.calm_s, memory, policy)
        case State.VANISHED:
            seconds = policy.vanished_s
        case State.PASSING if memory.changes:
            since = memory.changes[-1]
            seconds = window_s(policy.flap_window_s, memory, policy, policy.flap_changes)
        case _:
            return None
    return since + timedelta(seconds=seconds)


def see(turn: Turn, key: str, memory: CheckMemory, look: Observation) -> None:
    """Take one look into the memory and move it."""
    if look.interval_s is not None and look.interval_s > 0:
        memory.interval_s = min(look.interval_s, INTERVAL_MAX_S)
    if look.status is not Status.UNKNOWN:
        if _is_change(memory, look):
            keep = max(1, turn.policy.flap_changes)
            memory.changes = (*memory.changes, turn.at)[-keep:]
        memory.seen = look.status
    memory.seen_at = look.at
    memory.index = look.index or memory.index
    if look.output:
        memory.output = look.output[:OUTPUT_MAX]
        memory.cut = len(look.output) > OUTPUT_MAX
    was, looks = memory.state, memory.looks
    inputs = (SAW[look.status], "flapped") if _flaps(turn, memory) else (SAW[look.status],)
    move(turn, key, memory, inputs)
    memory.looks = looks + 1 if memory.state is was else 1


def _is_change(memory: CheckMemory, look: Observation) -> bool:
    """Whether the look is flap evidence.

    A new status is, unless maintenance comes or goes: people do that. A new ModifyIndex with the same status is
    one only when the output is the same, too: Consul writes a check that is equal to the last one only if it was
    different in between. A new output alone is no flap.
    """
    if look.status is not memory.seen:
        return Status.MAINTENANCE not in (look.status, memory.seen)
    moved = not look.changed and 0 < memory.index < look.index
    return moved and not memory.cut and look.output == memory.output


def _flaps(turn: Turn, memory: CheckMemory) -> bool:
    limit = max(1, turn.policy.flap_changes)
    if len(memory.changes) < limit:
        return False
    seconds = window_s(turn.policy.flap_window_s, memory, turn.policy, turn.policy.flap_changes)
    return turn.at - memory.changes[-limit] < timedelta(seconds=seconds)


def expire(turn: Turn, key: str, memory: CheckMemory) -> None:
    """A window of this memory has ended (or a new policy made it longer: then it is asked for again)."""
    due = due_at(memory, turn.policy)
    if due is None or due > turn.at:
        _set_due(turn, key, memory, due)
        return
    match memory.state:
        case State.RECOVERING:
            move(turn, key, memory, ("held",))
        case State.FLAPPING:
            memory.changes = ()
            move(turn, key, memory, ("calmed", SAW[memory.seen]))
        case State.VANISHED:
            move(turn, key, memory, ("forgotten",))
        case _:
            memory.changes = ()
            move(turn, key, memory, ())


def move(turn: Turn, key: str, memory: CheckMemory, inputs: tuple[str, ...]) -> None:
    """Give the inputs to the check's machine; drops the memory when nothing is left to remember."""
    was = now = memory.state
    for given in inputs:
        now = _DELTA[now][given]
    thing = turn.index.attach(turn.state, key, memory)
    turn.touched[thing.key] = thing.target
    if now is not was:
        if was is State.PASSING:
            memory.not_passing_since = turn.at
        memory.state, memory.since, memory.looks = now, turn.at, 1
        turn.changes.append(_change(turn, memory, was, inputs))
    due = due_at(memory, turn.policy)
    if now is State.PASSING and (due is None or due <= turn.at):
        turn.state.checks.pop(key, None)
        turn.index.detach(key)
        memory.due = None
        _forget_fold(turn, thing, memory.target)
    else:
        _set_due(turn, key, memory, due)


def _forget_fold(turn: Turn, thing: Thing, target: Target) -> None:
    """A sidecar that left the catalog was kept folded as long as it had memories; this was one."""
    if thing.target == target or any(memory.target == target for memory in thing.checks.values()):
        return
    if target.key not in turn.state.members.get(target.of_node().key, {}):
        turn.state.folds.pop(target.key, None)


def _set_due(turn: Turn, key: str, memory: CheckMemory, due: datetime | None) -> None:
    if due != memory.due:
        memory.due = due
        if due is not None:
            turn.index.schedule(turn.state, key, due)


def _change(turn: Turn, memory: CheckMemory, was: State, inputs: tuple[str, ...]) -> HealthChange:
    reason = _REASONS[inputs[0]]
    if memory.state is State.FLAPPING:
        reason = f"{len(memory.changes)} changes within the flap window"
    return HealthChange(
        target=memory.target,
        level="check",
        check=memory.check,
        was=was,
        now=memory.state,
        since=turn.at,
        flaps=len(memory.changes),
        evidence=memory.output,
        reason=reason,
    )
