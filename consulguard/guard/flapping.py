"""Does it keep changing? Then acting on one look is chance."""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, ask, wait
from consulguard.guard.reach import starting
from consulguard.guard.situation import Situation
from consulguard.model import State


def guard(s: Situation) -> Answer:
    """A playbook made for flapping things (in its ``states``, not in ``unless``) may ask a person, no more."""
    name = s.subject.target.name
    if not starting(s):
        return allow("the run has already begun, so the changes may be its own doing")
    if s.subject.state is not State.FLAPPING:
        return allow(f"{name} is {s.subject.state}, not flapping")
    if State.FLAPPING in s.playbook.match.states and "flapping" not in s.playbook.match.unless:
        return ask(f"{name} is flapping, which this playbook is for, so a person decides")
    return wait(s, f"{name} is flapping; it is told, and nothing is done until it is calm")
