"""Are we the one that acts? Without the lease we only watch."""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, wait
from consulguard.guard.situation import Situation


def guard(s: Situation) -> Answer:
    if s.lease_held:
        return allow("this process holds the lease")
    return wait(s, "this process does not hold the lease, so another one may be acting")
