"""Has there been rest since the last time? Longer with each attempt, and after a failure."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from consulguard.guard.answer import Answer, allow, plural, seconds, strictest, wait
from consulguard.guard.reach import service_key, stable_key, starting
from consulguard.guard.situation import Situation
from consulguard.model import Attempt

MAX_DOUBLINGS = 30
FAILED = ("failed", "inconclusive")
SPREAD = 0.2  # more or less: what failed together does not come back together


def guard(s: Situation) -> Answer:
    if not starting(s):
        return allow("the run has already begun")
    mine = [a for a in s.attempts if a.target == stable_key(s.subject.target)]
    service = service_key(s)
    near = [a for a in s.attempts if a.service == service] if service else mine
    failures = [a for a in near if a.outcome in FAILED]
    escalations = [a for a in near if a.outcome == "escalated" and not _seen(s, a)]
    name = s.subject.target.service or s.subject.target.name
    return strictest(
        (
            _target(s, mine),
            _after(s, failures, s.policy.guard.service_cooldown_s, f"a run on {name} failed"),
            _after(s, escalations, s.policy.guard.escalation_cooldown_s, f"a run on {name} was escalated"),
        )
    )


def _target(s: Situation, mine: list[Attempt]) -> Answer:
    """``cooldown_s`` doubled with each further start in the window; a playbook's own may only be longer.

    Give or take a fifth, taken from the last attempt, so that a replay and another replica wait as long.
    """
    policy, limits = s.policy.guard, s.playbook.limits
    window = max(policy.attempts_window_s, limits.attempts_window_s or 0.0)
    recent = sum((s.at - a.at).total_seconds() < window for a in mine)
    base = max(policy.cooldown_s, limits.cooldown_s or 0.0)
    most = max(base, policy.cooldown_max_s)
    rest = min(base * 2.0 ** min(max(recent - 1, 0), MAX_DOUBLINGS) * spread(mine), most)
    return _after(s, mine, rest, f"{plural(recent, 'run')} on {s.subject.target.name} lately")


def spread(attempts: list[Attempt]) -> float:
    """What the rest is multiplied with: 0.8 to 1.2, decided by the newest attempt's target and run."""
    last = max(attempts, key=lambda a: (a.at, a.run), default=None)
    if last is None:
        return 1.0
    seed = hashlib.sha256(f"{last.target}|{last.run}".encode()).hexdigest()[:8]
    return 1.0 - SPREAD + 2 * SPREAD * int(seed, 16) / 0xFFFFFFFF


def _after(s: Situation, attempts: list[Attempt], rest_s: float, what: str) -> Answer:
    last = max((_end(a) for a in attempts), default=None)
    if last is None:
        return allow("nothing was tried here lately, so there is nothing to cool down from")
    free = last + timedelta(seconds=rest_s)
    if s.at < free:
        gone = seconds(max((s.at - last).total_seconds(), 0.0))
        return wait(s, f"{what}: {gone} of {seconds(rest_s)} cooldown have passed", free)
    return allow(f"the cooldown of {seconds(rest_s)} is over")


def _seen(s: Situation, escalated: Attempt) -> bool:
    """Whether a person has acknowledged the incident since: an escalation waits for nobody else."""
    return s.incident.acked_at is not None and s.incident.acked_at >= _end(escalated)


def _end(attempt: Attempt) -> datetime:
    return attempt.ended_at or attempt.at
