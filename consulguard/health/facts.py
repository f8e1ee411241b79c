"""What facts change: whose a check is, who is on a node, how many there are, and who is there again.

Facts never speak against a look: they only bring back what had vanished, and remember as vanished who left.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from consulguard.health.check import move
from consulguard.health.gather import settle
from consulguard.health.memory import REGISTRATION, CheckMemory, HealthState, KnownService, Turn, owner
from consulguard.health.observe import registration_key, tick
from consulguard.model import (
    Fact,
    HealthChange,
    InstanceFact,
    NodeFact,
    ServiceFact,
    State,
    Status,
    Target,
)
from consulguard.policy import HealthPolicy

AGENT_CHECK = "serfHealth"  # every agent's node has it: of a node that is listed it has not gone, or is back


def learn(state: HealthState, facts: Iterable[Fact], at: datetime, policy: HealthPolicy) -> list[HealthChange]:
    """Take facts: fold sidecars into whom they serve, place instances on nodes, count, correct what vanished."""
    changes = tick(state, at, policy)
    turn = Turn(state, at, policy)
    for fact in facts:
        match fact:
            case ServiceFact():
                _service(turn, fact)
            case NodeFact():
                _node(turn, fact)
            case _:
                pass  # edges are no business of health
    settle(turn)
    return changes + turn.changes


def _service(turn: Turn, fact: ServiceFact) -> None:
    key = fact.target.key
    known = turn.state.known.get(key)
    if fact.gone or fact.instances is not None:
        here = {} if fact.gone else {found.target.key: found for found in fact.instances or ()}
        for target in known.instances if known else ():
            if target.key not in here:
                _left(turn, target, fact.at)
        for found in here.values():
            _found(turn, fact, found)
    if fact.gone:
        turn.state.known.pop(key, None)
    else:
        if known is None:
            known = turn.state.known[key] = KnownService(target=fact.target)
        known.count = fact.count if fact.instances is None else len(fact.instances)
        if fact.instances is not None:
            known.instances = [found.target for found in fact.instances]
    if key in turn.index.tally or key in turn.state.services:
        turn.services[key] = fact.target


def _found(turn: Turn, fact: ServiceFact, found: InstanceFact) -> None:
    target = found.target
    turn.state.members.setdefault(target.of_node().key, {})[target.key] = target
    serves = None
    if found.destination_instance and fact.destination:
        serves = Target(
            dc=target.dc,
            partition=target.partition,
            namespace=target.namespace,
            peer=target.peer,
            service=fact.destination,
            node=target.node,
            instance=found.destination_instance,
        )
    _fold(turn, target, serves if serves != target else None)
    turn.touched[target.key] = target
    if found.status is Status.PASSING:
        _is_back(turn, target, fact.at)


def _fold(turn: Turn, target: Target, serves: Target | None) -> None:
    """From now on the checks of ``target`` are those of ``serves`` (None: its own)."""
    folds = turn.state.folds
    if folds.get(target.key) == serves:
        return
    before = turn.index.things.get(owner(turn.state, target).key)
    moving = [(k, m) for k, m in before.checks.items() if m.target == target] if before else []
    for key, _ in moving:
        if before:
            turn.index.detach(key)
            turn.touched[before.key] = before.target
    if serves is None:
        del folds[target.key]
    else:
        folds[target.key] = serves
    for key, memory in moving:
        thing = turn.index.attach(turn.state, key, memory)
        turn.touched[thing.key] = thing.target


def _node(turn: Turn, fact: NodeFact) -> None:
    """The instances of a node. Of a node that is gone the last ones known stay, until its trouble is forgotten."""
    key = fact.target.of_node().key
    if fact.gone:
        if key not in turn.state.troubles:
            turn.state.members.pop(key, None)
        return
    _is_back(turn, fact.target.of_node(), fact.at, only=AGENT_CHECK)
    if fact.instances is None:
        return
    here = {target.key: target for target in fact.instances}
    for target in (*turn.state.members.get(key, {}).values(), *turn.index.hosted.get(key, {}).values()):
        if target.key not in here:
            _left(turn, target, fact.at)
    turn.state.members[key] = here
    if not here:
        del turn.state.members[key]
    for target in here.values():
        _is_back(turn, target, fact.at, only=REGISTRATION)
        if key in turn.state.troubles:
            turn.touched[target.key] = target


def _left(turn: Turn, target: Target, at: datetime) -> None:
    """An instance left the catalog.

    If it has memories, the looks at those checks will tell (absent). One that only its node made fail would look
    recovered now: it is remembered as vanished instead. Leaving a node under maintenance is planned.
    """
    state, key = turn.state, target.key
    on_node = state.members.get(target.of_node().key)
    if on_node is not None and on_node.pop(key, None) is not None and not on_node:
        del state.members[target.of_node().key]
    thing = turn.index.things.get(owner(state, target).key)
    mine = thing is not None and any(memory.target == target for memory in thing.checks.values())
    if not mine:
        state.folds.pop(key, None)
    turn.touched[key] = target
    trouble = state.troubles.get(key)
    if trouble is None or thing is not None or trouble.state is State.MAINTENANCE:
        return
    memory = CheckMemory(
        target=target,
        check=REGISTRATION,
        state=trouble.state,
        since=trouble.since,
        not_passing_since=trouble.not_passing_since,
        seen_at=at,
    )
    state.checks[registration_key(target)] = memory
    move(turn, registration_key(target), memory, ("saw_absent",))


def _is_back(turn: Turn, target: Target, at: datetime, only: str = "") -> None:
    """The catalog lists it, read after it had vanished: it recovers (its checks that still fail are not asked)."""
    thing = turn.index.things.get(owner(turn.state, target).key)
    for key, memory in list(thing.checks.items()) if thing else ():
        gone = memory.state is State.VANISHED and memory.seen_at < at and memory.target == target
        if gone and only in ("", memory.check):
            memory.seen, memory.seen_at = Status.PASSING, at
            move(turn, key, memory, ("saw_passing",))
