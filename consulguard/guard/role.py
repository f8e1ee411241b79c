"""Is it the cause, and not something that suffers from one? Healing a victim hides the culprit."""

from __future__ import annotations

from consulguard.guard.answer import Answer, age_s, allow, ask, deny, seconds
from consulguard.guard.reach import touches_nothing
from consulguard.guard.situation import Situation
from consulguard.model import Role


def guard(s: Situation) -> Answer:
    name = s.subject.target.name
    if s.undo:
        return allow("an undo takes back our own effect, whoever is to blame")
    if touches_nothing(s):
        return allow(f"the action touches nothing, so {name} may have any role")
    if s.subject.role is not Role.ROOT_CAUSE:
        return deny(f"{name} is {s.subject.role}, not the root cause; the root cause is {s.incident.root.name}")
    if s.subject.depends_on_failing:
        failing = ", ".join(s.subject.depends_on_failing)
        return deny(f"{name} depends on {failing}, which fails too and comes first")
    if (likelier := s.incident.likelier) is not None:
        other, named = likelier.root, s.incident.root
        return ask(
            f"we do not know who is to blame: {other.kind} {other.name} ({likelier.confidence:.0%}) is likelier"
            f" than {named.name} ({s.incident.confidence:.0%}), so a person decides"
        )
    return _graph(s)


def _graph(s: Situation) -> Answer:
    limit = s.policy.guard.graph_max_age_s
    if s.graph_at is None:
        return ask("nobody can say how old the topology around it is, so a person decides")
    age = age_s(s, s.graph_at)
    if age > limit:
        return ask(f"the topology around it is {seconds(age)} old, over {seconds(limit)}, so a person decides")
    return allow(f"{s.subject.target.name} is the root cause, and nothing it depends on fails")
