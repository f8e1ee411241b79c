"""Is another run at work on it, on its service or its node? One at a time."""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, wait
from consulguard.guard.reach import overlap, reach
from consulguard.guard.situation import Situation


def guard(s: Situation) -> Answer:
    """Two targets exclude each other when one contains the other. The lock ends with the run, not by time."""
    mine = (s.intent.target, reach(s))
    for intent in s.open_intents:
        if any(overlap(intent.target, t) for t in mine):
            who = f"{intent.action} of {intent.playbook or 'another run'}"
            return wait(s, f"{intent.target.name} is held by {who} ({intent.id})")
    return allow(f"no other run holds {s.intent.target.name or 'the target'}")
