"""Can two conditions be true of the same subject? Answers "no" only where that is certain."""

from __future__ import annotations

from collections.abc import Iterable

from consulguard.model import Match, Matcher, Playbook, Role
from consulguard.plan.matcher import MULTI, fits, holds, named_values

PER_SERVICE = frozenset(("service", "datacenter", "namespace", "partition", "peer"))


def can_tie(one: Playbook, two: Playbook) -> bool:
    """Might both playbooks, at the same priority, match the same incident's subject.

    A service and its instances are subjects of the same incident, so these scopes are compared by the labels that
    a service and its instances share.
    """
    if one.priority != two.priority or not _roles_meet(one.match, two.match):
        return False
    scopes = {one.match.scope, two.match.scope}
    related = scopes == {"instance", "service"}
    if len(scopes) == 2 and not related and "any" not in scopes:
        return False
    if not related and not set(one.match.states) & set(two.match.states):
        return False
    matchers = (*conditions(one.match), *conditions(two.match))
    if related:
        matchers = tuple(m for m in matchers if m.name in PER_SERVICE)
    return not contradict(matchers)


def _roles_meet(one: Match, two: Match) -> bool:
    return one.role == two.role or "any" in (one.role, two.role)


def conditions(match: Match) -> tuple[Matcher, ...]:
    """All that a match says of role, scope and state, as matchers beside its own."""
    fixed = [Matcher(name="state", op="=~", value="|".join(match.states))]
    if match.role != "any":
        fixed.append(Matcher(name="role", op="=", value=match.role))
    if match.scope != "any":
        fixed.append(Matcher(name="scope", op="=", value=match.scope))
    return (*fixed, *match.matchers)


def contradict(matchers: Iterable[Matcher]) -> bool:
    """True if no labels at all can satisfy these matchers together; False where that is not certain."""
    by_label: dict[str, list[Matcher]] = {}
    for matcher in matchers:
        by_label.setdefault(matcher.name, []).append(matcher)
    return any(_impossible(label, group) for label, group in by_label.items())


def _impossible(label: str, group: list[Matcher]) -> bool:
    if label in MULTI:
        return _impossible_multi(group)
    candidates = _domain(label)
    for matcher in group:
        named = named_values(matcher)
        if named is not None:
            candidates = named if candidates is None else tuple(v for v in candidates if v in named)
    if candidates is None:
        return False
    return not any(all(holds(m, (value,)) for m in group) for value in candidates)


def _impossible_multi(group: list[Matcher]) -> bool:
    """A label with several values: each wanted value set must have one that no negative matcher forbids."""
    forbids = [m for m in group if m.op in ("!=", "!~")]
    wanted = [named_values(m) for m in group if m.op in ("=", "=~")]
    return any(
        named is not None and all(any(not holds(m, (value,)) for m in forbids) for value in named)
        for named in wanted
    )


def _domain(label: str) -> tuple[str, ...] | None:
    """All values a label can have, where they are few."""
    if label == "role":
        return tuple(str(r) for r in Role)
    if label == "scope":
        return ("instance", "service", "node", "zone")
    return None


NONSENSE = ("zq", "q7-zk", "zz.qq", "QZ", "77", "z_q-9", "zk.q7.example")  # names nobody has


def narrows(matcher: Matcher) -> bool:
    """Does the matcher choose some subjects rather than (nearly) all.

    An equality with a name does. A pattern does unless it also fits names made up at random. Of the negative ones
    only "is present" (``!=""``) of a label that most things lack does.
    """
    if matcher.name in ("datacenter", "role", "scope", "state", "peer"):
        return False
    rare = matcher.name.startswith("meta.") or matcher.name in ("tag", "kind")
    if matcher.op == "!=":
        return rare and matcher.value == ""
    if matcher.op == "!~":
        return False
    if matcher.op == "=":
        broad = matcher.name in ("namespace", "partition") and matcher.value == "default"
        return matcher.value != "" and not broad
    if fits(matcher.value, ""):
        return False
    return rare or not any(fits(matcher.value, name) for name in NONSENSE)
