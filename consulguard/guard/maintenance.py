"""Is somebody at work on it? Planned states are left alone, and so is what asks for it."""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, wait
from consulguard.guard.reach import starting
from consulguard.guard.situation import Situation
from consulguard.model import State, Status, own_meta

OFF = ("false", "no", "off", "0")


def guard(s: Situation) -> Answer:
    """Consul's own maintenance holds a new run only: later, our own drain looks just the same."""
    name = s.subject.target.name
    skip = own_meta(s.subject.meta, "skip")
    if skip is not None and skip.strip().lower() not in OFF:
        return wait(s, f"{name} asks to be left alone: its meta has consulguard-skip={skip!r}")
    if not starting(s):
        return allow("the run has already begun, so maintenance may be its own doing")
    if s.subject.state is State.MAINTENANCE:
        return wait(s, f"{name} is in Consul maintenance")
    if s.looked is not None and s.looked.status is Status.MAINTENANCE:
        return wait(s, f"{name} was put into Consul maintenance a moment ago")
    return allow(f"{name} is not in maintenance")
