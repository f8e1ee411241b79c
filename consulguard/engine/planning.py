"""From incidents to runs: choose the playbook, ask the guards, start what may start."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from consulguard import correlate, guard, plan
from consulguard.engine import ladder, running
from consulguard.engine.judge import judge, refreshed
from consulguard.engine.state import EngineState, Plan, PlannedStep
from consulguard.events import AnyEffect
from consulguard.model import (
    Decision,
    Incident,
    IncidentState,
    Run,
    RunState,
    Subject,
    Verdict,
)
from consulguard.plan import run as runs

FEW = 10  # up to so many open incidents all are planned on every turn; beyond, those that changed or are due
PLANNED_A_SECOND = 20  # and all of them anew in time: pauses, locks and the view move under every plan


def plan_open(state: EngineState, changed: set[str], at: datetime) -> list[AnyEffect]:
    """Plan the open incidents anew and start what the guards allow."""
    effects: list[AnyEffect] = []
    incidents = correlate.open_incidents(state.book)
    whole = len(incidents) <= FEW or at >= _whole_at(state)
    if whole:
        state.planned_at = at
    for incident in incidents:
        if whole or incident.id in changed or _due(state.plans.get(incident.id), at):
            effects += plan_one(state, incident, at)
    _forget(state, {i.id for i in incidents})
    return effects


def _whole_at(state: EngineState) -> datetime:
    """When all open incidents are to be planned anew."""
    assert state.at is not None
    gap = timedelta(seconds=len(state.plans) / PLANNED_A_SECOND)
    return state.planned_at + gap if state.planned_at is not None else state.at


def _due(known: Plan | None, at: datetime) -> bool:
    if known is None:
        return True
    return any(s.verdict.retry_at is not None and s.verdict.retry_at <= at for s in known.steps)


def plan_one(state: EngineState, incident: Incident, at: datetime) -> list[AnyEffect]:
    """Plan one incident anew; its run starts where the guards allow it."""
    subjects = correlate.subjects(state.book, incident, state.troubles(), state.policy)
    if (order := state.orders.get(incident.id)) is not None:
        subjects = tuple(s for s in subjects if s.target.service == order.service)
    playbooks, passed = ladder.in_charge(state, incident)
    choice, considered = plan.choose(playbooks, subjects, state.view, at, state.policy)
    known = Plan(incident_id=incident.id, considered=(*passed, *considered), at=at)
    busy = state.started(incident.id)
    if choice is None:
        state.plans[incident.id] = known
        return []
    ladder.begin(state, incident, choice.playbook, at)
    subject = busy.subject if busy is not None else _next_subject(state, incident, choice.subjects)
    nth = sum(r.incident_id == incident.id and r.effects > 0 for r in state.runs.values())
    run = busy or runs.begin(incident, choice.playbook, subject, at, nth)
    run = msgspec.structs.replace(refreshed(run, subjects), epoch=state.epoch)
    steps = _planned_steps(state, run, incident, len(choice.subjects), at)
    mode = guard.effective_mode(state.policy.mode, choice.playbook, subject.meta, braked=state.storm.on)
    state.plans[incident.id] = msgspec.structs.replace(
        known, run=run, playbook=choice.playbook, effective_mode=mode, matched=len(choice.subjects), steps=steps
    )
    first = next((s for s in steps), None)
    if busy or first is None or first.verdict.decision is not Decision.ALLOW or not may_start(state, incident):
        return []
    state.runs[run.id] = run
    return running.move(state, run, at)


def _next_subject(state: EngineState, incident: Incident, subjects: tuple[Subject, ...]) -> Subject:
    """The first subject no run of this incident has worked on yet, else the first of all."""
    seen = {r.subject.target for r in state.runs.values() if r.incident_id == incident.id and r.effects}
    return next((s for s in subjects if s.target not in seen), subjects[0])


def may_start(state: EngineState, incident: Incident) -> bool:
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
            _ = run.query or runs.query_of(run, incident)  # what verifies it must be fillable as well
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


def _forget(state: EngineState, open_ids: set[str]) -> None:
    """Drop plans of incidents that are over, and finished runs of incidents the book no longer knows."""
    for gone in [i for i in state.plans if i not in open_ids]:
        del state.plans[gone]
    for gone in [i for i in state.orders if i not in open_ids]:
        del state.orders[gone]
    over = [r for r in state.runs.values() if r.state.over or r.effects == 0]
    for run in over:
        if run.incident_id not in open_ids and correlate.find(state.book, run.incident_id) is None:
            del state.runs[run.id]


def next_wake(state: EngineState) -> datetime | None:
    """The earliest moment a waiting guard named, a verification ends, or all is to be planned anew."""
    assert state.at is not None
    moments = [s.verdict.retry_at for p in state.plans.values() for s in p.steps[:1]]
    moments += [r.retry_at for r in state.active_runs()]
    if state.planned_at != state.at:  # some plans are older than what this turn has told
        moments.append(_whole_at(state))
    wanted = [m for m in moments if m is not None and m > state.at]
    return min(wanted) if wanted else None
