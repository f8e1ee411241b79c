"""Does anybody know this action? What it can hurt is unknown otherwise."""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, deny
from consulguard.guard.situation import Situation

KINDS = ("instance", "node", "service", "nothing")


def guard(s: Situation) -> Answer:
    if s.action is None:
        return deny(f"nobody knows the action {s.intent.action}, so nobody knows what it can hurt")
    if s.action.name != s.intent.action:
        return deny(f"the action described is {s.action.name}, but the intent wants {s.intent.action}")
    if s.action.touches not in KINDS:
        return deny(f"the action {s.action.name} says it touches {s.action.touches!r}, which is none of {KINDS}")
    return allow(f"the action {s.action.name} is known to touch {s.action.touches}")
