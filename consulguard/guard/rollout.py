"""Does the thing itself say that this is no moment for it? A rollout that is under way changes it already."""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, wait
from consulguard.guard.situation import Situation


def guard(s: Situation) -> Answer:
    """Asked at every step, for the run's own restart is a rollout too: the next step comes after it."""
    if s.phase == "plan":
        return allow("it is asked just before the effect")
    holds = s.looked.holds if s.looked is not None else ()
    return wait(s, "; ".join(holds)) if holds else allow("no rollout is in the way")
