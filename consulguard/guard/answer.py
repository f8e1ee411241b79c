"""What a guard answers, and which answer weighs more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from consulguard.guard.situation import Situation
from consulguard.model import Decision

RECHECK_S = 10.0  # ask again after this long where nobody can say when the hold ends
RANK = {Decision.ALLOW: 0, Decision.ASK: 1, Decision.WAIT: 2, Decision.DENY: 3}


class Answer(NamedTuple):
    """``reason`` is a sentence for people; ``retry_at`` is set for WAIT only."""

    decision: Decision
    reason: str
    retry_at: datetime | None = None


def allow(reason: str) -> Answer:
    """Nothing speaks against it."""
    return Answer(Decision.ALLOW, reason)


def ask(reason: str) -> Answer:
    """Only with a person's approval."""
    return Answer(Decision.ASK, reason)


def deny(reason: str) -> Answer:
    """Not this, and time alone will not change it."""
    return Answer(Decision.DENY, reason)


def wait(s: Situation, reason: str, until: datetime | None = None) -> Answer:
    """Not now. ``until``: when to ask again; where it is unknown or past, after ``RECHECK_S``."""
    if until is None or until <= s.at:
        until = s.at + timedelta(seconds=RECHECK_S)
    return Answer(Decision.WAIT, reason, until)


def strictest(answers: Iterable[Answer]) -> Answer:
    """The first of the highest rank; a WAIT ends when the last of them ends. Raises ValueError for none."""
    known = list(answers)
    first = max(known, key=lambda a: RANK[a.decision])
    if first.decision is not Decision.WAIT:
        return first
    return first._replace(retry_at=max(a.retry_at for a in known if a.retry_at is not None))


def age_s(s: Situation, moment: datetime) -> float:
    """Seconds from ``moment`` to the situation's now."""
    return (s.at - moment).total_seconds()


def seconds(value: float) -> str:
    """A duration as people read it."""
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"


def plural(count: int, noun: str) -> str:
    """``1 instance``, ``2 instances``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
