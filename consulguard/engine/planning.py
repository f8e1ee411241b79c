"""From incidents to runs: choose the playbook, ask the guards, start what may start, move what is under way."""

from __future__ import annotations

from datetime import datetime

import msgspec

from consulguard import correlate, guard, plan
from consulguard.engine.judge import judge, refreshed
from consulguard.engine.state import EngineState, Plan, PlannedStep
from consulguard.events import AnyEffect, Look, Looked
from consulguard.model import (
    Attempt,
    Decision,
    Incident,
    IncidentState,
    Result,
    Run,
    RunState,
    Subject,
    Target,
    Verdict,
)
from consulguard.plan import run as runs

FEW = 50  # up to so many open incidents all are planned on every turn; beyond, those that changed or are due
DEPENDENTS_AT_MOST = 20


def plan_open(state: EngineState, changed: set[str], at: datetime) -> list[AnyEffect]:
    """Plan the open incidents anew and start what the guards allow."""
    effects: list[AnyEffect] = []
    incidents = correlate.open_incidents(state.book)
    few = len(incidents) <= FEW
    for incident in incidents:
        if few or incident.id in changed or _due(state.plans.get(incident.id), at):
            effects += _plan_one(state, incident, at)
    _forget(state, {i.id for i in incidents})
    return effects


def _due(known: Plan | None, at: datetime) -> bool:
    if known is None:
        return True
    return any(s.verdict.retry_at is not None and s.verdict.retry_at <= at for s in known.steps)


def _plan_one(state: EngineState, incident: Incident, at: datetime) -> list[AnyEffect]:
    subjects = correlate.subjects(state.book, incident, state.troubles())
    choice, considered = plan.choose(state.playbooks, subjects, state.view, at, state.policy)
    known = Plan(incident_id=incident.id, considered=considered, at=at)
    busy = state.started(incident.id)
    if choice is None:
        state.plans[incident.id] = known
        return []
    subject = busy.subject if busy is not None else _next_subject(state, incident, choice.subjects)
    nth = sum(r.incident_id == incident.id and r.effects > 0 for r in state.runs.values())
    run = busy or runs.begin(incident, choice.playbook, subject, at, nth)
    run = msgspec.structs.replace(refreshed(run, subjects), epoch=state.epoch)
    steps = _planned_steps(state, run, incident, len(choice.subjects), at)
    mode = guard.effective_mode(state.policy.mode, choice.playbook, subject.meta)
    state.plans[incident.id] = msgspec.structs.replace(
        known, playbook=choice.playbook, effective_mode=mode, matched=len(choice.subjects), steps=steps
    )
    first = next((s for s in steps), None)
    if busy or first is None or first.verdict.decision is not Decision.ALLOW or not _may_start(state, incident):
        return []
    state.runs[run.id] = run
    return _move(state, run, at)


def _next_subject(state: EngineState, incident: Incident, subjects: tuple[Subject, ...]) -> Subject:
    """The first subject no run of this incident has worked on yet, else the first of all."""
    seen = {r.subject.target for r in state.runs.values() if r.incident_id == incident.id and r.effects}
    return next((s for s in subjects if s.target not in seen), subjects[0])


def _may_start(state: EngineState, incident: Incident) -> bool:
    """Only the leader starts runs, never on an incident that recovers or that a person has to look at."""
    held = any(r.incident_id == incident.id and r.state is RunState.HELD for r in state.runs.values())
    return state.lease_held and not held and incident.state is IncidentState.OPEN


def _planned_steps(
    state: EngineState, run: Run, incident: Incident, matched: int, at: datetime
) -> tuple[PlannedStep, ...]:
    """Every step that applies, each with its intent and what the guards say of it now."""
    planned = []
    for index, step in enumerate(run.playbook.steps):
        if not runs.step_applies(step, run.subject):
            continue
        try:
            intent = runs.intent_of(run, incident, index, at)
        except LookupError as error:
            verdict = Verdict(
                intent_id=f"{run.id}/{index}",
                decision=Decision.WAIT,
                guard="lookup",
                reason=f"step {step.name} cannot be filled in: {error.args[0] if error.args else error}",
            )
            planned.append(PlannedStep(name=step.name, uses=step.uses, intent=None, verdict=verdict))
            continue
        verdict, verdicts = judge(state, msgspec.structs.replace(run, intent=intent), incident, matched)
        planned.append(
            PlannedStep(name=step.name, uses=step.uses, intent=intent, verdict=verdict, verdicts=verdicts)
        )
    return tuple(planned)


def advance(state: EngineState, at: datetime) -> list[AnyEffect]:
    """Move every run whose time has come."""
    effects: list[AnyEffect] = []
    for run in state.active_runs():
        ready = run.retry_at is None or run.retry_at <= at or _settled_now(state, run)
        movable = run.state in (RunState.PLANNED, RunState.WAITING, RunState.AWAITING_APPROVAL)
        movable = movable or (run.state is RunState.UNDOING and not run.sent)
        if ready and movable and run.reason != "probe" and state.lease_held:
            effects += _move(state, run, at)
    return effects


def _settled_now(state: EngineState, run: Run) -> bool:
    """Whether the run waits for the view to settle, and it has: nobody could say when that would be."""
    return state.view.settled and any(v.guard == "settled" and v.decision is Decision.WAIT for v in run.verdicts)


def _move(state: EngineState, run: Run, at: datetime) -> list[AnyEffect]:
    """Ask the guards about the run's next intent and let it go on where they allow it."""
    incident = correlate.find(state.book, run.incident_id)
    if incident is None:
        return _keep(state, runs.hold(run, at, "its incident is gone"), (), at)
    if run.effects == 0 and incident.state is not IncidentState.OPEN:
        state.runs.pop(run.id, None)
        return []
    subjects = correlate.subjects(state.book, incident, state.troubles())
    run = runs.propose(refreshed(run, subjects), incident, at)
    if run.state.over or run.intent is None:
        return _keep(state, run, (), at)
    verdict, verdicts = judge(state, run, incident, _matched(state, run))
    return _keep(state, *runs.judged(run, verdict, verdicts, at), at)


def _matched(state: EngineState, run: Run) -> int:
    known = state.plans.get(run.incident_id)
    return known.matched if known is not None and known.matched else 1


def looked(state: EngineState, event: Looked, at: datetime) -> list[AnyEffect]:
    """A confirm-read or a verification look came back. One that nobody waits for is ignored."""
    run_id, _, purpose = event.key.partition("?")
    run = state.runs.get(run_id.split("/")[0])
    if run is None or run.state.over:
        return []
    if purpose == "verify" and run.state is RunState.VERIFYING:
        return _keep(state, *runs.verified(run, event, at), at)
    waiting = run.state is RunState.CONFIRMING and run.intent is not None and run.intent.id == run_id
    incident = correlate.find(state.book, run.incident_id)
    if purpose != "confirm" or not waiting or incident is None:
        return []
    verdict, verdicts = judge(state, run, incident, _matched(state, run), event)
    return _keep(state, *runs.confirmed(run, event, verdict, verdicts, at), at)


def resulted(state: EngineState, result: Result, at: datetime) -> list[AnyEffect]:
    """An intent's outcome. A second result of the same intent changes nothing."""
    run = state.runs.get(result.intent_id.split("/")[0])
    waits = run is not None and run.intent is not None and run.intent.id == result.intent_id
    if run is None or not waits or not (run.sent or run.reason == "probe"):
        return []
    assert run.intent is not None
    return _keep(state, *runs.resulted(run, result, state.actions.get(run.intent.action), at), at)


def restarted(state: EngineState, at: datetime) -> list[AnyEffect]:
    """A new process life, or the lease gained: take the runs up where the journal left them."""
    effects: list[AnyEffect] = []
    for run in state.active_runs():
        info = state.actions.get(run.intent.action) if run.intent is not None else None
        effects += _keep(state, *runs.restarted(run, info, state.epoch, at), at)
    return effects


def _keep(state: EngineState, run: Run, effects: tuple[AnyEffect, ...], at: datetime) -> list[AnyEffect]:
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
        playbook=run.playbook.id, target=stable_key(target), service=target.of_service().key, at=at, run=run.id
    )


def stable_key(target: Target) -> str:
    """Service and node, never the instance id: a replaced instance keeps its count."""
    return guard.stable_key(target)


def _end_attempt(state: EngineState, run: Run, at: datetime) -> None:
    outcomes = {RunState.DONE: "verified", RunState.FAILED: "failed", RunState.ESCALATED: "escalated"}
    outcome = outcomes.get(run.state, "inconclusive")
    state.attempts[:] = [
        msgspec.structs.replace(a, outcome=outcome, ended_at=at) if a.run == run.id and not a.outcome else a
        for a in state.attempts
        if (at - a.at).total_seconds() < 86_400
    ]


def _forget(state: EngineState, open_ids: set[str]) -> None:
    """Drop plans of incidents that are over, and finished runs of incidents the book no longer knows."""
    for gone in [i for i in state.plans if i not in open_ids]:
        del state.plans[gone]
    over = [r for r in state.runs.values() if r.state.over or r.effects == 0]
    for run in over:
        if run.incident_id not in open_ids and correlate.find(state.book, run.incident_id) is None:
            del state.runs[run.id]


def next_wake(state: EngineState) -> datetime | None:
    """The earliest moment a waiting guard named, or a verification ends."""
    assert state.at is not None
    moments = [s.verdict.retry_at for p in state.plans.values() for s in p.steps[:1]]
    moments += [r.retry_at for r in state.active_runs()]
    wanted = [m for m in moments if m is not None and m > state.at]
    return min(wanted) if wanted else None
