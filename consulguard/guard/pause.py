"""Has a person paused us? A pause stops new runs, a stop also every further step."""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, plural, wait
from consulguard.guard.reach import starting
from consulguard.guard.situation import Situation


def guard(s: Situation) -> Answer:
    """All active pauses count; removing one of two leaves us paused. Of unknown depth: as a stop."""
    active = [p for p in s.pauses if p.until is None or p.until > s.at]
    if not active:
        return allow("nothing is paused")
    if not starting(s):
        active = [p for p in active if p.depth != "pause"]
    if not active:
        return allow("a pause does not stop a run that has already begun")
    named = "; ".join(f"{p.depth} by {p.who}: {p.why or 'no reason given'}" for p in active)
    ends = [p.until for p in active if p.until is not None]
    until = max(ends) if len(ends) == len(active) else None
    return wait(s, f"{plural(len(active), 'pause')} in force ({named})", until)
