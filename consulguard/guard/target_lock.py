"""Is another run at work on it, on its service or its node? One at a time."""

from __future__ import annotations

from itertools import zip_longest

from consulguard.guard.answer import Answer, allow, wait
from consulguard.guard.reach import overlap, reach
from consulguard.guard.situation import Situation


def guard(s: Situation) -> Answer:
    """Two exclude each other when the target of one, or what its action touches around it, contains the other's.

    The lock ends with the run, not by time.
    """
    mine = (s.intent.target, reach(s))
    for intent, around in zip_longest(s.open_intents, s.open_reach):
        theirs = (intent.target, around or intent.target)
        if any(overlap(t, m) for t in theirs for m in mine):
            who = f"{intent.action} of {intent.playbook or 'another run'}"
            return wait(s, f"{intent.target.name} is held by {who} ({intent.id})")
    return allow(f"no other run holds {s.intent.target.name or 'the target'}")
