"""May changes be made at this hour? ``hours.py`` says when a window is open."""

from __future__ import annotations

from consulguard.guard import hours
from consulguard.guard.answer import Answer, allow, deny, strictest, wait
from consulguard.guard.reach import starting
from consulguard.guard.situation import Situation
from consulguard.policy import Window


def guard(s: Situation) -> Answer:
    """The window that holds for all, and the playbook's own: both must be open. None named is always open."""
    if not starting(s):
        return allow("a run that began while the window was open goes on")
    names = [n for n in dict.fromkeys((s.policy.guard.window, s.playbook.limits.window)) if n]
    if not names:
        return allow("no change window is set, so it is always open")
    return strictest(_one(s, name) for name in names)


def _one(s: Situation, name: str) -> Answer:
    window = s.policy.guard.windows.get(name)
    if window is None:
        return deny(f"nobody knows the window {name!r}: the configuration does not have it")
    if hours.is_open(window, s.at):
        return allow(f"the window {name} is open")
    return _closed(s, name, window)


def _closed(s: Situation, name: str, window: Window) -> Answer:
    opens = hours.next_open(window, s.at)
    then = f"it opens at {opens:%Y-%m-%d %H:%M} UTC" if opens is not None else "no opening is in sight"
    blackout = hours.closed_by(window, s.at)
    why = f" ({blackout.why or 'a blackout'})" if blackout is not None else ""
    return wait(s, f"the window {name} is closed{why}; {then}", opens)
