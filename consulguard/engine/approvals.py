"""Asking people: what would be done is put to them whole, and only that is done when they agree.

A question stands for one plan. When the plan changes it is void and another one is asked; unanswered it expires
and is asked anew, as the plan is then; denied it is not asked again for this incident. The guards are asked once
more at the click, and immediately before each effect as ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from consulguard import correlate
from consulguard.engine import planning, running
from consulguard.engine.judge import judge
from consulguard.engine.people import identity, names, same
from consulguard.engine.state import EngineState
from consulguard.events import AnyEffect, Commanded, Reply
from consulguard.model import (
    Decision,
    Incident,
    IncidentState,
    PlannedEffect,
    Question,
    QuestionState,
    Run,
    RunState,
    Vote,
)
from consulguard.plan import run as runs

KEPT = 200  # decided questions
REASON_MAX = 500
ID_MIN = 6  # characters of an id that are enough where no other begins with them
DESTRUCTIVE_NEEDS = 2
_OVER = "there is nothing left to agree to"


class Wanted(NamedTuple):
    """A run that may not go on without people, as planned in this turn, and what it would do."""

    run: Run
    effects: tuple[PlannedEffect, ...]


def review(state: EngineState, at: datetime) -> None:
    """Bring the questions up to date with the plans and runs as they are now."""
    wanted = {want.run.id: want for want in _wanted(state)}
    for question in [q for q in state.questions.values() if q.pending]:
        end = _end(state, question, wanted.get(question.run.id), at)
        if end is not None:
            _close(state, question, *end, at)
        else:
            wanted.pop(question.run.id, None)
    for want in wanted.values():
        if not _was_denied(state, want.run):
            question = _question(state, want, at)
            state.questions[question.id] = question
    _forget(state)


def next_wake(state: EngineState) -> datetime | None:
    """When the next question expires."""
    return min((q.expires_at for q in state.questions.values() if q.pending), default=None)


def decide(state: EngineState, said: Commanded, at: datetime) -> list[AnyEffect]:
    """A person approves or denies. The answer says what became of it, or why nothing did."""
    found = _find(state, str(said.args.get("id", "")))
    if isinstance(found, str):
        return [Reply(key=said.key, ok=False, text=found)]
    refusal = _refusal(found, said, at)
    if refusal:
        return [Reply(key=said.key, ok=False, text=refusal)]
    if said.command == "deny":
        vote = Vote(who=said.who, voter=identity(said), agrees=False, at=at)
        found = msgspec.structs.replace(found, votes=(*found.votes, vote))
        why = str(said.args.get("reason", "")).strip()[:REASON_MAX]
        _close(state, found, QuestionState.DENIED, f"denied by {said.who}" + (f": {why}" if why else ""), at)
        return [Reply(key=said.key, ok=True, text=f"denied: {found.run.playbook.id} will not run")]
    return _approve(state, found, said, at)


# ---- what must be asked


def _wanted(state: EngineState) -> Iterator[Wanted]:
    for plan in state.plans.values():
        if plan.at != state.at or plan.run is None or not plan.steps:
            continue
        incident = correlate.find(state.book, plan.incident_id)
        idle = incident is not None and state.started(incident.id) is None and planning.may_start(state, incident)
        if idle and incident is not None and plan.steps[0].verdict.decision is Decision.ASK:
            yield Wanted(plan.run, _effects(plan.run, incident))
    for run in state.active_runs():
        incident = correlate.find(state.book, run.incident_id)
        if run.state is RunState.AWAITING_APPROVAL and incident is not None and state.lease_held:
            yield Wanted(run, _effects(run, incident))


def _effects(run: Run, incident: Incident) -> tuple[PlannedEffect, ...]:
    """All that is left of the run."""
    steps = range(run.step, len(run.playbook.steps))
    return tuple(_effect(run, incident, n) for n in steps if runs.step_applies(run.playbook.steps[n], run.subject))


def _effect(run: Run, incident: Incident, number: int) -> PlannedEffect:
    step = run.playbook.steps[number]
    try:
        intent = runs.intent_of(run, incident, number, run.updated_at)
    except LookupError:
        return PlannedEffect(step=step.name, action=step.uses, target=run.subject.target, params="")
    params = msgspec.json.encode(intent.params, order="deterministic").decode()
    return PlannedEffect(
        step=step.name, action=step.uses, target=intent.target, params=params, effect=intent.effect
    )


def _digest(run: Run, effects: Sequence[PlannedEffect]) -> str:
    body = msgspec.json.encode((run.playbook.digest, effects), order="deterministic")
    return hashlib.sha256(body).hexdigest()


def _question(state: EngineState, want: Wanted, at: datetime) -> Question:
    order = state.orders.get(want.run.incident_id)
    rule, plan = want.run.playbook.approval, _digest(want.run, want.effects)
    state.asked += 1
    seed = f"{state.life}|{want.run.id}|{plan}|{state.asked}"
    return Question(
        id=hashlib.sha256(seed.encode()).hexdigest()[:32],
        run=want.run,
        plan=plan,
        effects=want.effects,
        rule=rule,
        needed=max(rule.count, DESTRUCTIVE_NEEDS if _destructive(state, want) else 1),
        asked_by=order.who if order is not None else "",
        asker=order.asker if order is not None else "",
        asked_at=at,
        expires_at=at + timedelta(seconds=rule.ttl_s),
    )


def _destructive(state: EngineState, want: Wanted) -> bool:
    actions = (state.actions.get(effect.action) for effect in want.effects)
    return want.run.playbook.destructive or any(a is not None and a.destructive for a in actions)


def _was_denied(state: EngineState, run: Run) -> bool:
    return any(
        q.state is QuestionState.DENIED
        and q.run.incident_id == run.incident_id
        and q.run.playbook.id == run.playbook.id
        for q in state.questions.values()
    )


# ---- how a question ends


def _end(
    state: EngineState, question: Question, want: Wanted | None, at: datetime
) -> tuple[QuestionState, str] | None:
    """How the question ends now; None: it stands. A guard that only says wait for now does not end it."""
    if at >= question.expires_at:
        return QuestionState.EXPIRED, f"nobody answered within {question.rule.ttl_s:g} s"
    incident = correlate.find(state.book, question.run.incident_id)
    if incident is None or incident.state not in (IncidentState.OPEN, IncidentState.RECOVERING):
        return QuestionState.VOID, _OVER
    if want is not None and _digest(want.run, want.effects) != question.plan:
        return QuestionState.VOID, "the plan has changed"
    plan, busy = state.plans.get(incident.id), state.started(incident.id)
    if busy is not None and busy.id != question.run.id:
        return QuestionState.VOID, _OVER
    if busy is not None and not running.movable(busy):
        return QuestionState.VOID, "the run has gone on: the guards need nobody any more"
    if plan is not None and busy is None and (plan.run is None or plan.run.id != question.run.id):
        return QuestionState.VOID, "another plan, or none, fits by now"
    return None


def _close(state: EngineState, question: Question, how: QuestionState, why: str, at: datetime) -> None:
    state.questions[question.id] = msgspec.structs.replace(question, state=how, reason=why, decided_at=at)


def _forget(state: EngineState) -> None:
    decided = [q for q in state.questions.values() if not q.pending]
    for question in sorted(decided, key=lambda q: (q.decided_at or q.asked_at, q.id))[
        : max(0, len(decided) - KEPT)
    ]:
        del state.questions[question.id]


# ---- what a person says


def _find(state: EngineState, given: str) -> Question | str:
    """By id, or by the beginning of one that is pending; else why not."""
    if given in state.questions:
        return state.questions[given]
    if len(given) < ID_MIN:
        return f"an approval's id has at least {ID_MIN} characters: {given!r}"
    near = [q for q in state.questions.values() if q.id.startswith(given)]
    near = [q for q in near if q.pending] or near
    if len(near) != 1:
        return f"{'no approval has' if not near else 'more than one approval has'} the id {given!r}"
    return near[0]


def _refusal(question: Question, said: Commanded, at: datetime) -> str:
    """Why this person's word does not count; empty when it does."""
    if not question.pending:
        return f"already {question.state.value}: {question.reason}"
    if at >= question.expires_at:
        return "the question has expired"
    if not _may_decide(question, said):
        return f"{said.who} is not among the approvers of {question.run.playbook.id}"
    if said.command == "deny":
        return ""
    if question.rule.forbid_self and same(said, question.asked_by, question.asker):
        return f"{said.who} asked for it and may not approve it"
    if any(same(said, vote.who, vote.voter) for vote in question.votes):
        return f"{said.who} has approved it already; another person has to"
    return ""


def _may_decide(question: Question, said: Commanded) -> bool:
    """Whether one of the names the person goes by is among the playbook's approvers."""
    return any(name in question.rule.approvers.get(kind, ()) for kind, own in names(said).items() for name in own)


def _approve(state: EngineState, question: Question, said: Commanded, at: datetime) -> list[AnyEffect]:
    votes = (*question.votes, Vote(who=said.who, voter=identity(said), agrees=True, at=at))
    question = msgspec.structs.replace(question, votes=votes)
    if len(votes) < question.needed:
        state.questions[question.id] = question
        return [Reply(key=said.key, ok=True, text=f"approved; {question.needed - len(votes)} more needed")]
    run, effects = question.run, _planned_anew(state, question.run, at)
    end = _end(state, question, next((w for w in _wanted(state) if w.run.id == run.id), None), at)
    if end is not None:
        _close(state, question, *end, at)
        return [*effects, Reply(key=said.key, ok=False, text=f"not approved: {end[1]}")]
    if against := _against(state, run):
        return [*effects, Reply(key=said.key, ok=False, text=f"not now: {against}", blocked=True)]
    _close(state, question, QuestionState.APPROVED, "approved by " + ", ".join(v.who for v in votes), at)
    live = msgspec.structs.replace(
        state.runs.get(run.id, run),
        agreed=tuple(e.effect for e in question.effects if e.effect),
        approved_until=question.expires_at,
    )
    state.runs[run.id] = live
    reply = Reply(key=said.key, ok=True, text=f"approved: {run.playbook.id} on {run.subject.target.name}")
    return [*effects, reply, *running.move(state, live, at)]


def _planned_anew(state: EngineState, run: Run, at: datetime) -> list[AnyEffect]:
    """The guards are asked at the click, about what has not begun."""
    incident = correlate.find(state.book, run.incident_id)
    return planning.plan_one(state, incident, at) if incident is not None and run.effects == 0 else []


def _against(state: EngineState, run: Run) -> str:
    """What the guards say against it, people's agreement aside."""
    incident = correlate.find(state.book, run.incident_id)
    if incident is None:
        return _OVER
    if run.effects == 0 and not planning.may_start(state, incident):
        return f"the incident is {incident.state.value}" if state.lease_held else "another replica leads"
    plan = state.plans.get(incident.id)
    if run.effects:
        verdict, _ = judge(state, run, incident, running.matched(state, run))
    elif plan is not None and plan.steps:
        verdict = plan.steps[0].verdict
    else:
        return _OVER
    return "" if verdict.decision in (Decision.ASK, Decision.ALLOW) else f"{verdict.guard}: {verdict.reason}"
