"""How much at once, and how fast? Absolute, in percent, and over time."""

from __future__ import annotations

from datetime import timedelta

from consulguard.guard import min_healthy
from consulguard.guard.answer import Answer, age_s, allow, deny, plural, seconds, strictest, wait
from consulguard.guard.reach import (
    busy,
    reach,
    same_node,
    same_service,
    service_key,
    starting,
    touches_nothing,
    tries,
)
from consulguard.guard.share import at_most
from consulguard.guard.situation import Situation
from consulguard.model import Attempt, Decision

HOUR_S = 3600.0


def guard(s: Situation) -> Answer:
    answers = [_in_flight(s), _share(s)]
    if starting(s):
        answers = [_selection(s), *answers, _pace(s), _budget(s), _shared(s)]
    return strictest(answers)


def _selection(s: Situation) -> Answer:
    """Over the cap the whole plan is denied: the first few of too many are no better chosen."""
    cap = s.policy.guard.match_cap
    if s.matched > cap:
        return deny(f"{s.playbook.id} matches {s.matched} subjects at once, at most {cap} are allowed")
    return allow(f"{plural(s.matched, 'subject')} matched, {cap} allowed")


def _in_flight(s: Situation) -> Answer:
    """Distinct targets other runs hold, over the fleet, on this service and on this node."""
    if touches_nothing(s):
        return allow("the action touches nothing, so it adds nothing to what is at risk")
    limits, target, others = s.policy.guard, reach(s), busy(s)
    counts = [(len(others), limits.max_open, "in the fleet")]
    if target.service:
        ours = sum(same_service(t, target) for t in others)
        counts.append((ours, limits.max_open_per_service, f"of {target.service}"))
    if target.node:
        ours = sum(same_node(t, target) for t in others)
        counts.append((ours, limits.max_open_per_node, f"on node {target.node}"))
    full = [(n, most, where) for n, most, where in counts if n + 1 > most]
    if full:
        n, most, where = full[0]
        return wait(s, f"{plural(n, 'target')} {where} being worked on, at most {most} at a time")
    return allow(f"{plural(len(others), 'other target')} being worked on in the fleet, {limits.max_open} allowed")


def _share(s: Situation) -> Answer:
    """A share of the instances the service should have, not of those it happens to have now."""
    target, expected = reach(s), s.subject.expected
    if touches_nothing(s) or not target.service or expected < 1:
        return allow("no share of a service is at risk")
    most = at_most(s.policy.guard.max_share, expected)
    if most < 1 and min_healthy.guard(s).decision in (Decision.ALLOW, Decision.ASK):
        most = 1
    now = sum(same_service(t, target) for t in busy(s))
    text = f"{s.policy.guard.max_share:.0%} of {plural(expected, 'instance')} of {target.service} allow {most}"
    if now + 1 > most:
        return wait(s, f"{text} at a time, and {now} being worked on")
    return allow(f"{text} at a time")


def _pace(s: Situation) -> Answer:
    gap = s.policy.guard.min_start_interval_s
    last = max((a.at for a in s.attempts), default=None)
    if last is not None and age_s(s, last) < gap:
        text = f"the last run started {seconds(max(age_s(s, last), 0.0))} ago, {seconds(gap)} lie between two"
        return wait(s, text, last + timedelta(seconds=gap))
    return allow(f"no run started in the last {seconds(gap)}")


def _budget(s: Situation) -> Answer:
    limits, hour, service = s.policy.guard, tries(s, HOUR_S), service_key(s)
    ours = [a for a in hour if service and a.service == service]
    spent = (
        _spent(s, ours, limits.budget_per_service_h, f"on {s.subject.target.service}"),
        _spent(s, hour, limits.budget_total_h, "in all"),
    )
    return strictest(spent)


def _shared(s: Situation) -> Answer:
    """The budget the playbook shares with others; one the configuration does not have allows nothing."""
    name = s.playbook.limits.budget
    if not name:
        return allow(f"{s.playbook.id} shares no budget")
    budget = s.policy.guard.budgets.get(name)
    if budget is None:
        return deny(f"{s.playbook.id} counts against the budget {name!r}, which the configuration does not have")
    ours = [a for a in tries(s, budget.per_s) if a.budget == name]
    open_now = s.open_budgets.count(name)
    text = f"{plural(open_now, 'target')} being worked on by the budget {name}, {budget.max_open} allowed"
    at_work = wait(s, text) if open_now + 1 > budget.max_open else allow(text)
    return strictest((at_work, _spent(s, ours, budget.runs, f"by the budget {name}", budget.per_s)))


def _spent(s: Situation, lately: list[Attempt], most: int, where: str, per_s: float = HOUR_S) -> Answer:
    span = "hour" if per_s == HOUR_S else seconds(per_s)
    text = f"{plural(len(lately), 'run')} started {where} in the last {span}, {most} allowed"
    if len(lately) < most:
        return allow(text)
    # The budget has room again when all but ``most`` - 1 of them are that old.
    last = lately[len(lately) - most].at if most > 0 else s.at
    return wait(s, text, last + timedelta(seconds=per_s))
