"""Does this playbook help? One that often did not asks before it acts again, until a person re-arms it."""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, ask
from consulguard.guard.reach import starting
from consulguard.guard.situation import Situation

HELPED = "verified"


def guard(s: Situation) -> Answer:
    """Of the playbook's last runs, on whatever target: failed and inconclusive ones both count against it."""
    if not starting(s):
        return allow("the run has already begun")
    policy = s.policy.guard
    last = s.record[-policy.error_budget_runs :]
    bad = sum(outcome != HELPED for outcome in last)
    text = f"{bad} of the last {len(last)} runs of {s.playbook.id} did not help"
    if bad >= policy.error_budget_bad:
        return ask(f"{text}, {policy.error_budget_bad} are enough: a person has to agree, or to re-arm it")
    return allow(text)
