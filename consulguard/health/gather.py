"""From checks to things: what the memories of one turn mean for their instances, nodes and services."""

from __future__ import annotations

import msgspec

from consulguard.health.memory import REGISTRATION, CheckMemory, Thing, Turn
from consulguard.health.tables import RANK, TABLES, aggregated
from consulguard.model import HealthChange, State, Target, Trouble

_INPUT = {state: aggregated("instance", {state: 1}, 1) for state in State}
_QUIET = (State.PASSING, State.RECOVERING)


def settle(turn: Turn) -> None:
    """Judge everything the turn touched: nodes first, their instances follow; then instances, then services."""
    state = turn.state
    for key in [k for k, target in turn.touched.items() if not target.instance]:
        was = state.troubles.get(key)
        if _judge(turn, key, turn.touched.pop(key)):
            turn.touched.update(_instances_on(turn, key))
        if was is not None and was.state is State.VANISHED and key not in state.troubles:
            state.members.pop(key, None)  # the node itself is forgotten
    for key, target in turn.touched.items():
        _judge(turn, key, target)
    for key, target in turn.services.items():
        _judge_service(turn, key, target)


def _instances_on(turn: Turn, node: str) -> list[tuple[str, Target]]:
    """All that share the node's fate: whom facts placed there, and who has memories or troubles there."""
    return sorted({**turn.index.hosted.get(node, {}), **turn.state.members.get(node, {})}.items())


def _judge(turn: Turn, key: str, target: Target) -> bool:
    """Judge one instance or node anew; True when its trouble is another than before in any way."""
    troubles = turn.state.troubles
    thing = turn.index.things.get(key) or Thing(key, target)
    was = troubles.get(key)
    now = _trouble(turn, thing, was)
    if now is None and not thing.checks:
        turn.index.displace(thing)
    if now == was:
        return False
    if now is None:
        del troubles[key]
    else:
        troubles[key] = now
        turn.index.place(thing)
    before = was.state if was else State.PASSING
    after = now.state if now else State.PASSING
    if after is not before:
        turn.changes.append(_change(turn, thing, was, now))
        if thing.service is not None:
            service = thing.service.key
            turn.index.count(service, was.state if was else None, now.state if now else None)
            turn.services[service] = thing.service
    return True


def _trouble(turn: Turn, thing: Thing, was: Trouble | None) -> Trouble | None:
    parts: list[CheckMemory | Trouble] = [m for m in thing.checks.values() if m.state is not State.PASSING]
    node = turn.state.troubles.get(thing.node) if thing.node else None
    if node is not None and _is_on(turn, thing, was):
        parts.append(node)
    found = _sum_up(thing.target, parts) if parts else None
    given = _INPUT[found.state if found else State.PASSING]
    state = TABLES[thing.level].step(was.state if was else State.PASSING, given)
    if found is None or state is State.PASSING:
        return None
    if was is None:  # its parts may have been so for longer than we know whose they are
        return found
    since = was.since if was.state is state else turn.at
    return msgspec.structs.replace(found, since=since, not_passing_since=was.not_passing_since)


def _sum_up(target: Target, parts: list[CheckMemory | Trouble]) -> Trouble:
    """What the parts say of the whole, by themselves: its state is that of the worst of them."""
    if len(parts) == 1:  # nearly always, and in a storm it counts
        part = parts[0]
        return Trouble(
            target=target,
            state=part.state,
            since=part.since,
            not_passing_since=part.not_passing_since,
            looks=part.looks,
            checks=_ids(part),
            output=part.output,
            index=part.index,
        )
    worst = min((part.state for part in parts), key=RANK.__getitem__)
    deciding = [part for part in parts if part.state is worst]
    checks, output = _evidence(parts)
    return Trouble(
        target=target,
        state=worst,
        since=min(part.since for part in deciding),
        not_passing_since=min(part.not_passing_since for part in parts),
        looks=max(part.looks for part in deciding),
        checks=checks,
        output=output,
        index=max(part.index for part in parts),
    )


def _is_on(turn: Turn, thing: Thing, was: Trouble | None) -> bool:
    """Whether the node's state is this instance's, too. Not a sidecar's (whom it serves is on the node as well),
    and not that of one that left.
    """
    if thing.key in turn.state.folds:
        return False
    if was is None and not thing.checks and thing.key not in turn.state.members.get(thing.node, {}):
        return False
    return not any(m.check == REGISTRATION and m.state is State.VANISHED for m in thing.checks.values())


def _evidence(parts: list[CheckMemory | Trouble]) -> tuple[tuple[str, ...], str]:
    """The ids of the failing checks, worst first, and what the worst one says."""
    failing = [part for part in parts if part.state not in _QUIET] or parts
    rows = sorted((RANK[part.state], _ids(part), part.output) for part in failing)
    return tuple(dict.fromkeys(check for _, checks, _ in rows for check in checks)), rows[0][2]


def _ids(part: CheckMemory | Trouble) -> tuple[str, ...]:
    return (part.check,) if isinstance(part, CheckMemory) else part.checks


def _change(turn: Turn, thing: Thing, was: Trouble | None, now: Trouble | None) -> HealthChange:
    after = now.state if now else State.PASSING
    return HealthChange(
        target=thing.target,
        level=thing.level,
        was=was.state if was else State.PASSING,
        now=after,
        since=now.since if now else turn.at,
        flaps=max((len(m.changes) for m in thing.checks.values()), default=0),
        evidence=now.output if now else "",
        reason=f"checks: {', '.join(now.checks)}" if now else "nothing of it fails any more",
    )


def _judge_service(turn: Turn, key: str, target: Target) -> None:
    services = turn.state.services
    tally = turn.index.tally.get(key, {})
    known = turn.state.known.get(key)
    # vanished instances are not registered any more, so they come on top of the registered ones
    total = max((known.count if known else 0) + tally.get(State.VANISHED, 0), sum(tally.values()))
    was = services.get(key)
    before = was.state if was else State.PASSING
    after = TABLES["service"].step(before, aggregated("service", tally, total))
    if after is before:
        return
    if after is State.PASSING:
        del services[key]
    else:
        since = was.not_passing_since if was else turn.at
        services[key] = Trouble(target=target, state=after, since=turn.at, not_passing_since=since)
    told = ", ".join(f"{n} {state}" for state, n in sorted(tally.items()))
    turn.changes.append(
        HealthChange(
            target=target,
            level="service",
            was=before,
            now=after,
            since=turn.at,
            reason=f"of {total} instances: {told}" if told else "nothing of it fails any more",
        )
    )
