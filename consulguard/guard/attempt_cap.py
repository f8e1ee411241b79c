"""Have we tried this often enough? What did not help twice goes to a person."""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, deny, plural, seconds
from consulguard.guard.reach import stable_key, starting, tries
from consulguard.guard.situation import Situation


def guard(s: Situation) -> Answer:
    """Counted per playbook and stable target, so a replaced instance does not start from zero."""
    if not starting(s):
        return allow("the run has already begun")
    policy, limits, key = s.policy.guard, s.playbook.limits, stable_key(s.subject.target)
    window = max(policy.attempts_window_s, limits.attempts_window_s or 0.0)
    most = policy.attempts_max if limits.attempts_max is None else min(policy.attempts_max, limits.attempts_max)
    used = sum(a.playbook == s.playbook.id and a.target == key for a in tries(s, window))
    where = f"on {s.subject.target.name} in the last {seconds(window)}"
    text = f"{s.playbook.id} was tried {plural(used, 'time')} {where}, {most} allowed"
    return deny(f"{text}; a person has to look") if used >= most else allow(text)
