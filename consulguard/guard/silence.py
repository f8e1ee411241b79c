"""Did a person ask for quiet here? What a silence fits is left to people, unless one of them orders a run."""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, wait
from consulguard.guard.reach import starting
from consulguard.guard.situation import Situation


def guard(s: Situation) -> Answer:
    """A silence that is over is none. A run that has begun goes on, as in a pause."""
    silence = s.silence
    if silence is None or not silence.starts_at <= s.at < silence.ends_at:
        return allow("no silence fits this incident")
    if not starting(s):
        return allow("a silence does not stop a run that has already begun")
    named = f"{silence.id} by {silence.author}: {silence.comment}"
    return wait(s, f"silenced until {silence.ends_at:%Y-%m-%d %H:%M:%S}Z ({named})", silence.ends_at)
