"""May we act by ourselves at all? The last guard, so that the first reason told is never a mere mode."""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, ask, deny
from consulguard.guard.modes import lowest
from consulguard.guard.situation import Situation
from consulguard.model import Mode


def guard(s: Situation) -> Answer:
    mode, whose = lowest(s.policy.mode, s.playbook, s.subject.meta)
    if mode is Mode.OBSERVE:
        return deny(f"mode is observe: would act ({whose})")
    if mode is Mode.APPROVE:
        return ask(f"mode is approve: a person has to agree ({whose})")
    if s.action is not None and s.action.destructive:
        return ask(f"mode is auto, but {s.action.name} is destructive: a person has to agree")
    return allow("mode is auto")
