"""One turn: take the event in, let time pass, work out incidents, plans and runs, say what is new."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import chain, islice

import msgspec

from consulguard import correlate, health
from consulguard.engine import (
    address,
    approvals,
    commands,
    knocking,
    ladder,
    planning,
    recovery,
    running,
    silences,
    tell,
)
from consulguard.engine.state import EngineState
from consulguard.events import (
    AnyEffect,
    AnyEvent,
    CallsMeasured,
    Commanded,
    Configured,
    HeardOf,
    Knocked,
    Learned,
    LeaseChanged,
    Looked,
    Observed,
    Resulted,
    Started,
    ViewChanged,
    Wake,
    Watch,
)
from consulguard.guard import storm
from consulguard.model import Incident, Target, Trouble, View

CROWD = 1_000  # not passing at once: from here on what costs in proportion to them is done less often
FEW = 50  # not passing at once: so few are worked out at every turn
GAP_S = 1.0  # more of them this often, or less:
CORRELATED_A_SECOND = 5_000  # not passing: working out the incidents of so many may be done once a second
WATCH_AT_MOST = 500  # targets to be read first at once: who names more names none
DOUBT_S = 10.0  # how long something must have failed to count while the view is not trusted
WATCH_AGAIN_S = 60.0  # the watcher forgets after WatchSettings.linger_s, which must be longer
DESCRIBE_S = 2.0  # how long incidents wait for the facts about something that just failed


def step(state: EngineState, event: AnyEvent) -> tuple[EngineState, tuple[AnyEffect, ...]]:
    """Apply one event. ``state`` is consumed: use the one that is returned."""
    at = state.at = event.at if state.at is None else max(event.at, state.at)
    effects = list(_take(state, event, at))
    if health.tick(state.health, at, state.policy.health):
        state.dirty = True
    changed = _correlate(state, at)
    _storm(state, at)
    effects += _watch(state, changed, at)
    effects += knocking.knock(state, at)
    changed = _with_touched(state, changed, at)
    effects += ladder.climb(state, at)
    effects += planning.plan_open(state, {i.id for i in changed}, at)
    effects += recovery.sweep(state, at)
    effects += running.advance(state, at)
    approvals.review(state, at)
    effects += tell.news(state, changed, at)
    effects = address.send(state, effects, at)
    effects += _wake(state, at)
    return state, tuple(effects)


def _take(state: EngineState, event: AnyEvent, at: datetime) -> list[AnyEffect]:
    match event:
        case Observed():
            if state.policy.correlate.infer:
                correlate.remember(state.book, event.observations)
            if health.observe(state.health, event.observations, at, state.policy.health):
                state.dirty = True
        case Learned():
            correlate.learn(state.book, event.facts, at)
            health.learn(state.health, event.facts, at, state.policy.health)
            state.dirty = True
        case CallsMeasured():
            if event.lost:
                state.book.calls.clear()
            correlate.measure(state.book, event.rates, at, state.policy.correlate)
            state.dirty = True
        case Knocked():
            correlate.answered(state.book, event.answers, at)
            state.dirty = True
        case HeardOf():
            correlate.hear_of(state.book, event.unit, event.failing, lost=event.lost, at=at)
            state.dirty = True
        case ViewChanged():
            state.view = event.view
        case Configured():
            _configure(state, event)
        case Started():
            _begin(state, event)
        case LeaseChanged():
            gained = event.held and not (state.lease_held and state.epoch == event.epoch)
            state.lease_held, state.epoch = event.held, event.epoch
            return running.restarted(state, at) if gained else []
        case Looked():
            return running.looked(state, event, at)
        case Resulted():
            return running.resulted(state, event.result, at)
        case Commanded():
            return commands.take(state, event, at)
    return []


def _begin(state: EngineState, event: Started) -> None:
    """A new life knows what was journaled, and has seen nothing itself."""
    state.life = event.life
    state.book.calls.clear()
    correlate.forget_doors(state.book)
    correlate.lose_sight(state.book)
    state.view = View(trusted=False, reasons=("Consul has not been read since the start",))


def _configure(state: EngineState, event: Configured) -> None:
    """In force from now on. A run that has touched something keeps its playbook; any other is planned anew."""
    if event.policy.route != state.policy.route:
        address.rerouted(state, event.policy.route)
    state.policy, state.playbooks, state.stale = event.policy, event.playbooks, event.stale
    state.actions = {a.name: a for a in event.actions}
    known = {p.digest for p in event.playbooks}
    state.runs = {i: r for i, r in state.runs.items() if r.effects or r.playbook.digest in known}
    state.dirty, state.planned_at = True, None


def _with_touched(state: EngineState, changed: list[Incident], at: datetime) -> list[Incident]:
    """With the incidents a person moved, or a silence that began or ended."""
    ids = dict.fromkeys((*state.touched, *silences.review(state, changed, at)))
    state.touched = []
    known = {i.id for i in changed}
    return changed + [state.book.incidents[i] for i in ids if i not in known and i in state.book.incidents]


def _correlate(state: EngineState, at: datetime) -> list[Incident]:
    """Work out the incidents where something moved, or their own time has come."""
    state.pauses[:] = [p for p in state.pauses if p.until is None or p.until > at]
    policy = state.policy.correlate
    due = correlate.next_wake(state.book, policy)
    if not state.dirty and (due is None or due > at):
        return []
    if _undescribed(state, at):
        return []
    last, gap = state.correlated_at, _gap_s(state)
    if last is not None and (at - last).total_seconds() < gap:
        return []
    troubles, early = _believed(state, at)
    state.dirty, state.correlated_at = early, at
    return correlate.update(state.book, troubles, at, policy)


def _believed(state: EngineState, at: datetime) -> tuple[Mapping[str, Trouble], bool]:
    """What is not passing, and whether some of it does not count yet.

    When Consul itself has been away (agents come back, a leader is elected) much looks broken for a moment: until
    the view is trusted again only what lasts is made an incident.
    """
    troubles, view = state.troubles(), state.view
    if view.trusted or view.as_of is None:
        return troubles, False
    since = at - timedelta(seconds=DOUBT_S)
    lasting = {key: t for key, t in troubles.items() if t.not_passing_since <= since}
    return lasting, len(lasting) < len(troubles)


def _watch(state: EngineState, changed: list[Incident], at: datetime) -> list[AnyEffect]:
    """Of interest is what changed; now and then all that is open, or what is known of it would grow old."""
    last = state.watched_at
    if last is None or (at - last).total_seconds() >= WATCH_AGAIN_S:
        changed, state.watched_at = correlate.open_incidents(state.book), at
    return [Watch(targets=_of_interest(changed))] if changed else []


def _of_interest(changed: list[Incident]) -> tuple[Target, ...]:
    """Whom to read first: the roots of all, then who else is a member."""
    roots = (i.members[0].target for i in changed if i.members)
    members = (m.target for i in changed for m in i.members)
    return tuple(islice(dict.fromkeys(chain(roots, members)), WATCH_AT_MOST))


def _undescribed(state: EngineState, at: datetime) -> bool:
    """Whether something just failed that no fact describes yet: a sidecar would look like a service."""
    fresh, troubles = at - timedelta(seconds=DESCRIBE_S), state.troubles()
    return len(troubles) < CROWD and any(
        t.not_passing_since > fresh and not correlate.describes(state.book, t.target) for t in troubles.values()
    )


def _gap_s(state: EngineState) -> float:
    """The more there is, the less often incidents are worked out, so that the loop keeps up."""
    crowd = len(health.troubles(state.health))
    return max(state.policy.correlate.min_interval_s, _spread_s(crowd))


def _spread_s(crowd: int) -> float:
    return 0.0 if crowd < FEW else max(GAP_S, crowd / CORRELATED_A_SECOND)


def _storm(state: EngineState, at: datetime) -> None:
    """The brake is looked at with the incidents, in a crowd (where those take longer) at every turn.

    A few failures that no fact describes yet are not counted: a service and its sidecar would be two.
    """
    troubles, size = state.troubles(), state.view.workloads or state.view.instances
    if FEW <= len(troubles) < CROWD and state.correlated_at != at:
        return
    if len(troubles) < CROWD and (not size or _undescribed(state, at)):
        return
    state.storm = storm.update(
        state.storm,
        troubles=troubles,
        explained=correlate.explained(state.book, troubles, state.policy.correlate.confident),
        fleet=storm.Fleet(size, lambda node: correlate.hosts_most(state.book, node)),
        at=at,
        policy=state.policy.guard,
    )


def _wake(state: EngineState, at: datetime) -> list[AnyEffect]:
    """The next moment at which time alone changes something."""
    moments = [
        health.next_wake(state.health),
        _correlate_at(state, at),
        knocking.next_wake(state),
        storm.next_wake(state.storm, state.policy.guard),
        planning.next_wake(state),
        approvals.next_wake(state),
        ladder.next_wake(state),
        recovery.next_wake(state),
        silences.next_wake(state),
        tell.next_wake(state, at),
        address.next_wake(state),
        *(p.until for p in state.pauses),
    ]
    soon = at + timedelta(seconds=max(0.05, min(GAP_S, _gap_s(state))))
    wanted = [max(m, soon) for m in moments if m is not None]
    return [Wake(at=min(wanted))] if wanted else []


def _correlate_at(state: EngineState, at: datetime) -> datetime | None:
    """When incidents are to be worked out next. What is due but held back waits for the gap, or for facts."""
    due = correlate.next_wake(state.book, state.policy.correlate)
    if not state.dirty and (due is None or due > at):
        return due
    free = (state.correlated_at or at) + timedelta(seconds=_gap_s(state))
    return free if free > at else at + timedelta(seconds=DESCRIBE_S / 4)


def snapshot(state: EngineState) -> bytes:
    """The state as JSON."""
    return msgspec.json.encode(state)


def restore(body: bytes) -> EngineState:
    """The state a snapshot holds. Raises msgspec.ValidationError when it is of another version."""
    return msgspec.json.decode(body, type=EngineState)
