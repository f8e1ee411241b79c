"""The guards in their order, and how their answers become one. The order is written by hand: it is safety.

Every guard is asked and every answer is kept; the order only decides which of several equal reasons is told first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from consulguard.guard import (
    action,
    attempt_cap,
    blast_radius,
    confirm,
    cooldown,
    empty_selection,
    error_budget,
    flapping,
    hold_down,
    lease,
    maintenance,
    min_healthy,
    mode,
    pause,
    role,
    rollout,
    self_protection,
    settled,
    silence,
    storm_brake,
    target_lock,
    view_trusted,
    window,
)
from consulguard.guard.answer import RANK, Answer, wait
from consulguard.guard.situation import Situation
from consulguard.model import Decision, Verdict

Guard = Callable[[Situation], Answer]
Order = Sequence[tuple[str, Guard]]

ORDER: Final[Order] = (
    ("pause", pause.guard),
    ("silence", silence.guard),
    ("lease", lease.guard),
    ("action", action.guard),
    ("empty_selection", empty_selection.guard),
    ("self_protection", self_protection.guard),
    ("view_trusted", view_trusted.guard),
    ("settled", settled.guard),
    ("storm_brake", storm_brake.guard),
    ("role", role.guard),
    ("hold_down", hold_down.guard),
    ("maintenance", maintenance.guard),
    ("window", window.guard),
    ("rollout", rollout.guard),
    ("flapping", flapping.guard),
    ("confirm", confirm.guard),
    ("min_healthy", min_healthy.guard),
    ("blast_radius", blast_radius.guard),
    ("target_lock", target_lock.guard),
    ("cooldown", cooldown.guard),
    ("attempt_cap", attempt_cap.guard),
    ("error_budget", error_budget.guard),
    ("mode", mode.guard),
)

# What a guard may run into with values nobody foresaw. Anything else is a mistake of ours and must be seen.
UNEVALUABLE = (ValueError, LookupError, TypeError, ArithmeticError, AttributeError)


def judge(s: Situation, order: Order = ORDER) -> tuple[Verdict, ...]:
    """Every guard's verdict on the intent, in order. A guard that cannot be evaluated holds."""
    return tuple(_verdict(s, name, guard) for name, guard in order)


def combine(verdicts: Sequence[Verdict], *, approved: bool = False) -> Verdict:
    """One verdict: DENY before WAIT before ASK before ALLOW, and the first of its rank.

    ``retry_at`` is the latest of all WAITs, whatever the decision: before it nothing can be allowed. ``approved``:
    the people who had to be asked have agreed.
    """
    if not verdicts:
        return Verdict(intent_id="", decision=Decision.DENY, guard="order", reason="no guard was asked")
    first = max(verdicts, key=lambda v: RANK[v.decision])
    if approved and first.decision is Decision.ASK:
        return msgspec.structs.replace(first, decision=Decision.ALLOW, reason=f"{first.reason}: approved")
    ends = [v.retry_at for v in verdicts if v.retry_at is not None]
    return msgspec.structs.replace(first, retry_at=max(ends, default=None))


def would(verdicts: Sequence[Verdict]) -> Verdict:
    """What the verdict were if the mode allowed everything: what a plan in mode observe shows."""
    return combine([v for v in verdicts if v.guard != "mode"])


def _verdict(s: Situation, name: str, guard: Guard) -> Verdict:
    try:
        answer = guard(s)
    except UNEVALUABLE as error:
        answer = wait(s, f"cannot be evaluated: {type(error).__name__}: {error}")
    return Verdict(
        intent_id=s.intent.id,
        decision=answer.decision,
        guard=name,
        reason=answer.reason,
        retry_at=answer.retry_at,
    )
