"""Does enough stay up? We never take a service below its floor by our own hand."""

from __future__ import annotations

from consulguard.guard.answer import Answer, allow, ask, deny, plural, strictest, wait
from consulguard.guard.reach import busy, reach, same_place, same_service, touches_nothing
from consulguard.guard.share import at_least
from consulguard.guard.situation import Situation, Stake
from consulguard.model import State, Status

DOWN = (Status.CRITICAL, Status.WARNING, Status.MAINTENANCE, Status.ABSENT)


def guard(s: Situation) -> Answer:
    """healthy - open targets - (1 if the target still serves) >= max(1, ceil(min_healthy * expected))."""
    if touches_nothing(s):
        return allow("the action touches nothing, so it takes nothing away")
    if _gives_back(s):
        return allow("lifting maintenance, or an undo where nothing serves, takes nothing away")
    stakes = at_stake(s)
    if not stakes:
        return _unknown(s)
    return strictest([_floor(s, stake) for stake in stakes])


def at_stake(s: Situation) -> tuple[Stake, ...]:
    """The services that could lose instances, with their counts; the confirm-read's where there is one."""
    if s.stakes:
        return s.stakes
    looked = s.looked if s.looked is not None and not s.looked.error else None
    healthy = looked.healthy if looked is not None else s.subject.healthy
    expected = max(s.subject.expected, looked.registered if looked is not None else 0)
    service = reach(s).service
    if expected < 1 or not service:
        return ()
    serving = healthy if _hits_all(s) else int(serves(s))
    return (Stake(service=service, expected=expected, healthy=healthy, serving=serving),)


def serves(s: Situation) -> bool:
    """Whether the target is one of those counted as healthy. Of a confirm-read, a doubt counts as yes."""
    if s.looked is not None and not s.looked.error:
        return s.looked.status not in DOWN
    return s.subject.state is State.PASSING


def _hits_all(s: Situation) -> bool:
    """Whether an action on instances is aimed at a whole service: then each of them may be lost."""
    return s.intent.target.kind == "service" and (s.action is None or s.action.touches != "service")


def _gives_back(s: Situation) -> bool:
    lifts = s.intent.action == "consul.maintenance" and s.intent.params.get("enable") is False
    return lifts or (s.undo and not serves(s))


def _unknown(s: Situation) -> Answer:
    target = reach(s)
    text = f"nobody can say how many instances stay healthy without {target.name or 'the target'}"
    if target.kind == "node" and target.node and not serves(s):
        return ask(f"{text}; it serves nothing any more, so a person decides")
    return wait(s, text)


def _floor(s: Situation, stake: Stake) -> Answer:
    limits = s.playbook.limits
    share = max(s.policy.guard.min_healthy, limits.min_healthy or 0.0)
    need = max(1, at_least(share, stake.expected))
    left = stake.healthy - _open(s) - stake.serving
    have = f"{stake.healthy} of {plural(stake.expected, 'instance')} of {stake.service} are healthy"
    text = f"{have}; acting would leave {max(left, 0)}, at least {need} are needed"
    if reach(s).kind == "service" and stake.expected > 1:
        return allow(text) if left >= need else ask(f"{text}; it is about the whole service, so a person decides")
    if stake.expected > 1:
        return allow(text) if left >= need else deny(text)
    if not stake.serving and not stake.healthy:
        return allow(f"the only instance of {stake.service} is down: nothing is left to take away")
    if limits.allow_last_instance:
        return ask(f"{text}; the playbook says allow_last_instance, so a person decides")
    return deny(f"{text}, and the playbook does not say allow_last_instance")


def _open(s: Situation) -> int:
    """Targets others work on that may hold an instance of the service; a node may, whatever its name."""
    target = reach(s)
    if not target.service:
        return len(busy(s))
    return sum(same_service(t, target) or (t.kind == "node" and same_place(t, target)) for t in busy(s))
