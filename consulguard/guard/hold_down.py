"""Has it failed long enough, in enough answers, and has the root stood long enough?"""

from __future__ import annotations

from datetime import timedelta

from consulguard.guard.answer import Answer, age_s, allow, seconds, strictest, wait
from consulguard.guard.reach import starting
from consulguard.guard.situation import Situation


def guard(s: Situation) -> Answer:
    if not starting(s):
        return allow("the run has already begun")
    return strictest((_failing(s), _seen(s), _root(s)))


def _failing(s: Situation) -> Answer:
    need = max(s.playbook.match.for_s, s.policy.guard.for_s)
    age = age_s(s, s.subject.since)
    text = f"{s.subject.target.name} has been {s.subject.state} for {seconds(max(age, 0.0))}"
    if age < need:
        return wait(s, f"{text}, {seconds(need)} are needed", s.subject.since + timedelta(seconds=need))
    return allow(f"{text}, at least {seconds(need)}")


def _seen(s: Situation) -> Answer:
    """The confirm-read is a look of its own: nothing is done before it has been taken."""
    need, seen = s.policy.guard.min_looks, s.subject.looks + 1
    if seen < need:
        return wait(s, f"{s.subject.target.name} was seen so in {s.subject.looks} answers, {need - 1} are needed")
    return allow(f"seen in {s.subject.looks} answers, the confirm-read makes {seen}")


def _root(s: Situation) -> Answer:
    need = s.policy.guard.root_settle_s
    age = age_s(s, s.incident.root_since)
    if age < need:
        text = f"the root cause {s.incident.root.name} is {seconds(max(age, 0.0))} old, {seconds(need)} are needed"
        return wait(s, text, s.incident.root_since + timedelta(seconds=need))
    return allow(f"the root cause has stood for {seconds(age)}")
