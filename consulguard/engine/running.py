"""Runs under way: ask the guards again, let go, take answers in, note how it ended."""

from __future__ import annotations

from datetime import datetime

import msgspec

from consulguard import correlate, guard
from consulguard.engine.judge import judge, refreshed
from consulguard.engine.state import EngineState
from consulguard.events import AnyEffect, Look, Looked
from consulguard.model import Attempt, Decision, IncidentState, Result, Run, RunState
from consulguard.plan import run as runs

DEPENDENTS_AT_MOST = 20
RECORDED = 100  # ends of runs kept per playbook, the most a guard may look back
WELL_AGAIN = "what failed is well again, and nobody knows whether this happened"
ATTEMPTS_KEPT_S = 86_400.0  # the longest window a guard looks back


def advance(state: EngineState, at: datetime) -> list[AnyEffect]:
    """Move every run whose time has come."""
    effects: list[AnyEffect] = []
    for run in state.active_runs():
        ready = run.retry_at is None or run.retry_at <= at or _settled_now(state, run)
        if ready and movable(run) and state.lease_held:
            effects += move(state, run, at)
    return effects


def movable(run: Run) -> bool:
    """Whether the run stands before an intent, not in the middle of one, of which the guards were asked."""
    before = run.state in (RunState.PLANNED, RunState.WAITING, RunState.AWAITING_APPROVAL)
    return (before or (run.state is RunState.UNDOING and not run.sent)) and run.reason != "probe"


def _settled_now(state: EngineState, run: Run) -> bool:
    """Whether the run waits for the view to settle, and it has: nobody could say when that would be."""
    return state.view.settled and any(v.guard == "settled" and v.decision is Decision.WAIT for v in run.verdicts)


def move(state: EngineState, run: Run, at: datetime) -> list[AnyEffect]:
    """Ask the guards about the run's next intent and let it go on where they allow it."""
    incident = correlate.find(state.book, run.incident_id)
    if incident is None:
        return keep(state, runs.hold(run, at, "its incident is gone"), (), at)
    if run.effects == 0 and incident.state is not IncidentState.OPEN:
        state.runs.pop(run.id, None)
        return []
    if run.reason == "redrive" and run.state is not RunState.UNDOING and incident.state is IncidentState.RESOLVED:
        return keep(state, runs.hold(run, at, WELL_AGAIN), (), at)
    subjects = correlate.subjects(state.book, incident, state.troubles(), state.policy)
    run = msgspec.structs.replace(run, epoch=state.epoch)  # it may have been approved in an earlier one
    run = runs.propose(refreshed(run, subjects), incident, at)
    if run.state.over or run.intent is None:
        return keep(state, run, (), at)
    verdict, verdicts = judge(state, run, incident, matched(state, run))
    return keep(state, *runs.judged(run, verdict, verdicts, at), at)


def matched(state: EngineState, run: Run) -> int:
    """How many subjects the run's playbook matches at once."""
    known = state.plans.get(run.incident_id)
    return known.matched if known is not None and known.matched else 1


def looked(state: EngineState, event: Looked, at: datetime) -> list[AnyEffect]:
    """A confirm-read or a verification look came back. One that nobody waits for is ignored."""
    run_id, _, purpose = event.key.partition("?")
    run = state.runs.get(run_id.split("/")[0])
    if run is None or run.state.over:
        return []
    if purpose == "verify" and run.state is RunState.VERIFYING:
        return keep(state, *runs.verified(run, event, at), at)
    waiting = run.state is RunState.CONFIRMING and run.intent is not None and run.intent.id == run_id
    incident = correlate.find(state.book, run.incident_id)
    if purpose != "confirm" or not waiting or incident is None:
        return []
    verdict, verdicts = judge(state, run, incident, matched(state, run), event)
    return keep(state, *runs.confirmed(run, event, verdict, verdicts, at), at)


def resulted(state: EngineState, result: Result, at: datetime) -> list[AnyEffect]:
    """An intent's outcome. A second result of the same intent changes nothing."""
    run = state.runs.get(result.intent_id.split("/")[0])
    waits = run is not None and run.intent is not None and run.intent.id == result.intent_id
    if run is None or not waits or not (run.sent or run.reason == "probe"):
        return []
    assert run.intent is not None
    return keep(state, *runs.resulted(run, result, state.actions.get(run.intent.action), at), at)


def restarted(state: EngineState, at: datetime) -> list[AnyEffect]:
    """A new process life, or the lease gained: take the runs up where the journal left them."""
    effects: list[AnyEffect] = []
    for run in state.active_runs():
        info = state.actions.get(run.intent.action) if run.intent is not None else None
        effects += keep(state, *runs.restarted(run, info, state.epoch, at), at)
    return effects


def keep(state: EngineState, run: Run, effects: tuple[AnyEffect, ...], at: datetime) -> list[AnyEffect]:
    """Store the run as it is now, note its start and end, and complete its looks from the graph."""
    before = state.runs.get(run.id)
    if run.effects == 1 and (before is None or before.effects == 0):
        state.attempts.append(_attempt(run, at))
    if run.state.over and run.effects:
        _end_attempt(state, run, at)
    state.runs[run.id] = run
    if run.state is RunState.VERIFYING and (before is None or before.state is not RunState.VERIFYING):
        effects = (*effects, *runs.look_again(run))
    return [_with_dependents(state, run, e) for e in effects]


def _with_dependents(state: EngineState, run: Run, effect: AnyEffect) -> AnyEffect:
    depth = run.playbook.verify.dependents_depth if run.playbook.verify else 0
    if not isinstance(effect, Look) or not effect.key.endswith("?verify") or depth == 0:
        return effect
    callers = correlate.callers(state.book, run.subject.target.of_service(), depth)
    return msgspec.structs.replace(effect, dependents=tuple(callers[:DEPENDENTS_AT_MOST]))


def _attempt(run: Run, at: datetime) -> Attempt:
    target = run.subject.target
    return Attempt(
        playbook=run.playbook.id,
        target=guard.stable_key(target),
        service=target.of_service().key,
        at=at,
        run=run.id,
        budget=run.playbook.limits.budget,
    )


def _end_attempt(state: EngineState, run: Run, at: datetime) -> None:
    outcomes = {RunState.DONE: "verified", RunState.FAILED: "failed", RunState.ESCALATED: "escalated"}
    outcome = outcomes.get(run.state, "inconclusive")
    if any(a.run == run.id and not a.outcome for a in state.attempts):
        record = state.records.setdefault(run.playbook.id, [])
        record[:] = [*record, outcome][-RECORDED:]
    state.attempts[:] = [
        msgspec.structs.replace(a, outcome=outcome, ended_at=at) if a.run == run.id and not a.outcome else a
        for a in state.attempts
        if (at - a.at).total_seconds() < ATTEMPTS_KEPT_S
    ]
