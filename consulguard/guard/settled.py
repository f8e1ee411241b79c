"""Have we looked long enough since the start, a fail-over or a resync?"""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, wait
from consulguard.guard.situation import Situation


def guard(s: Situation) -> Answer:
    if s.view.settled:
        return allow("the view has settled")
    when = f", expected at {s.view.settled_at:%H:%M:%S} UTC" if s.view.settled_at else ""
    return wait(s, f"the view has not settled yet since the start or the last resync{when}", s.view.settled_at)
