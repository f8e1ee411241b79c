"""May we believe what we see? Not when the view is untrusted or old."""

from __future__ import annotations

from consulguard.guard.answer import Answer, age_s, allow, seconds, wait
from consulguard.guard.situation import Situation


def guard(s: Situation) -> Answer:
    limit = s.policy.guard.view_max_age_s
    if not s.view.trusted:
        return wait(s, f"the view of Consul is not trusted: {'; '.join(s.view.reasons) or 'no reason given'}")
    if s.view.as_of is None:
        return wait(s, "nobody can say how old the view of Consul is")
    age = age_s(s, s.view.as_of)
    if age > limit:
        return wait(s, f"the view of Consul is {seconds(age)} old, at most {seconds(limit)} are allowed")
    return allow(f"the view of Consul is trusted and {seconds(max(age, 0.0))} old")
