"""Does Consul still say so, right now? The answer to a ``?consistent`` read just before the effect."""

from __future__ import annotations

from consulguard.events import Looked
from consulguard.guard.answer import Answer, age_s, allow, deny, seconds, wait
from consulguard.guard.reach import starting
from consulguard.guard.situation import Situation
from consulguard.model import State, Status

# What a confirm-read may say of something in this state.
AGREES = {
    Status.CRITICAL: (State.CRITICAL, State.FLAPPING),
    Status.WARNING: (State.WARNING, State.FLAPPING),
    Status.MAINTENANCE: (State.MAINTENANCE,),
    Status.ABSENT: (State.VANISHED,),
}


def guard(s: Situation) -> Answer:
    if s.phase == "plan":
        return allow("the target is read again just before the effect")
    looked = s.looked
    if looked is None:
        return wait(s, "the target has not been read again yet")
    flaw = _flaw(s, looked)
    if flaw:
        return wait(s, flaw)
    if not starting(s):
        return allow(f"read again: {looked.status}, and the run has already begun")
    return _agrees(s, looked)


def _flaw(s: Situation, looked: Looked) -> str:
    """Why the read proves nothing; empty when it does."""
    limit, age = s.policy.guard.confirm_max_age_s, age_s(s, looked.at)
    if looked.error:
        return f"the target could not be read again: {looked.error}"
    if looked.target not in (s.intent.target, s.subject.target):
        return f"{looked.target.name} was read again, not {s.intent.target.name}"
    if age > limit:
        return f"the last read is {seconds(age)} old, at most {seconds(limit)} are allowed"
    if s.seen_index and looked.index < s.seen_index:
        return f"the read is of index {looked.index}, older than {s.seen_index} at which the trouble was seen"
    if looked.status is Status.UNKNOWN:
        return "the target was read again, but what Consul said is not understood"
    return ""


def _agrees(s: Situation, looked: Looked) -> Answer:
    name = s.subject.target.name
    if looked.status is Status.PASSING:
        return deny(f"{name} recovered by itself: it is passing now")
    if any(state in s.playbook.match.states for state in AGREES.get(looked.status, ())):
        return allow(f"read again: {name} is {looked.status}")
    return wait(s, f"{name} was {s.subject.state}, but read again it is {looked.status}")
