"""Which playbook fits an incident, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from consulguard.model import Considered, Match, Playbook, Subject, Value, View
from consulguard.plan.duration import format_duration
from consulguard.plan.matcher import format_matcher, holds, matches
from consulguard.policy import Policy

__all__ = ["Choice", "choose", "labels", "matches"]


class Choice(Value, frozen=True, kw_only=True):
    """The playbook that fits, and the subjects it fits. Never empty."""

    playbook: Playbook
    subjects: tuple[Subject, ...]


def labels(subject: Subject) -> Mapping[str, tuple[str, ...]]:
    """The documented label set of a subject. ``tag`` and ``check`` may have several values; none is left out."""
    target = subject.target
    found = {
        "service": (target.service,),
        "instance": (target.instance,),
        "node": (target.node,),
        "zone": (subject.zone,),
        "datacenter": (target.dc,),
        "partition": (target.partition,),
        "namespace": (target.namespace,),
        "peer": (target.peer,),
        "kind": (subject.kind,),
        "tag": subject.tags,
        "check": subject.checks,
        "output": (subject.output,),
        "role": (str(subject.role),),
        "scope": (subject.scope,),
        "state": (str(subject.state),),
    }
    for key, value in subject.meta.items():
        found[f"meta.{key}"] = (value,)
    return found


def choose(
    playbooks: Sequence[Playbook], subjects: Sequence[Subject], view: View, at: datetime, policy: Policy
) -> tuple[Choice | None, tuple[Considered, ...]]:
    """The matching playbook of the highest priority, and a sentence on each, highest priority first.

    A tie goes to the name that sorts first; lint reports ties. Time, view and policy do not decide here (guards
    do): they only complete the sentence.
    """
    labelled = [(subject, labels(subject)) for subject in subjects]
    choice: Choice | None = None
    considered = []
    for playbook in sorted(playbooks, key=lambda p: (-p.priority, p.id)):
        reasons = [_mismatch(playbook.match, found) for _, found in labelled]
        fitting = tuple(s for (s, _), reason in zip(labelled, reasons, strict=True) if reason is None)
        if not fitting:
            because = _furthest(reasons)
        elif choice is None:
            choice = Choice(playbook=playbook, subjects=fitting)
            because = f"matched {_names(fitting)}{_outlook(choice, view, at, policy)}"
        else:
            winner = choice.playbook
            because = (
                f"matched, but {winner.id} goes before it (priority {winner.priority} to {playbook.priority})"
            )
        considered.append(Considered(playbook=playbook.id, matched=bool(fitting), because=because))
    return choice, tuple(considered)


def _mismatch(match: Match, found: Mapping[str, tuple[str, ...]]) -> tuple[int, str] | None:
    """The first condition that is not true, with how far the comparison came. None: all are true."""
    scope, role, state = found["scope"][0], found["role"][0], found["state"][0]
    if match.scope not in ("any", scope):
        return 0, f"it is for scope {match.scope}; here is scope {scope}"
    if match.role not in ("any", role):
        return 1, f"it is for role {match.role}; {_who(found)} is {role}"
    if state not in match.states:
        return 2, f"it is for state {' or '.join(match.states)}; {_who(found)} is {state}"
    for number, matcher in enumerate(match.matchers):
        values = found.get(matcher.name, ())
        if not holds(matcher, values):
            return 3 + number, f"{format_matcher(matcher)} is not true of {_who(found)} ({_shown(values)})"
    return None


def _furthest(reasons: Sequence[tuple[int, str] | None]) -> str:
    """The reason of the subject that came closest; of several, the first."""
    known = [r for r in reasons if r is not None]
    return max(known, key=lambda r: r[0])[1] if known else "the incident has nothing a playbook could act on"


def _who(found: Mapping[str, tuple[str, ...]]) -> str:
    scope = found["scope"][0]
    if scope == "zone":
        return found["zone"][0] or "the zone"
    names = (found["instance"][0], found["service"][0], found["node"][0])
    return next((n for n in names if n), "it")


def _shown(values: tuple[str, ...]) -> str:
    text = ", ".join(v for v in values if v)
    if not text:
        return "it has none"
    flat = "".join(c if c.isprintable() else "?" for c in text)
    return f"it is {flat[:77]}..." if len(flat) > 80 else f"it is {flat}"


def _names(subjects: tuple[Subject, ...]) -> str:
    first = ", ".join(s.zone if s.scope == "zone" else s.target.name for s in subjects[:3])
    return first if len(subjects) <= 3 else f"{first} and {len(subjects) - 3} more"


def _outlook(choice: Choice, view: View, at: datetime, policy: Policy) -> str:
    """What the operator should know at once: steps wait for ``for`` and for a trusted view."""
    if not choice.playbook.steps:
        return "; it only tells people"
    if not view.trusted:
        return "; its steps wait until the view is trusted"
    needed = max(choice.playbook.match.for_s, policy.guard.for_s)
    lasted = max(0.0, min((at - s.since).total_seconds() for s in choice.subjects))
    if lasted < needed:
        return f"; so for {format_duration(lasted)} of the {format_duration(needed)} it asks for"
    return ""
