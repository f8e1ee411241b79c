"""A run: one pinned playbook at work on one subject, as a state machine over values.

::

    planned -> confirming -> executing -> (next step: planned) ... -> verifying -> done
       |  \\-> waiting / awaiting_approval -> planned               \\-> undoing -> failed
       \\-> held (only a person goes on)

Nothing here decides whether the run *may* go on: the engine asks the guards and passes the answer in.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import msgspec

from consulguard.events import AnyEffect, Do, Look, Looked, Probe
from consulguard.model import (
    ActionInfo,
    Decision,
    DoneStep,
    Incident,
    Intent,
    Outcome,
    Playbook,
    Query,
    Result,
    Run,
    RunState,
    Status,
    Step,
    Subject,
    UndoStep,
    Verdict,
)
from consulguard.plan.lookup import fill, scope
from consulguard.plan.match import labels, matches

SEND_WITHIN_S = 30.0  # an intent not sent this soon is stale
LOOK_EVERY_S = 2.0  # between two looks of a verification
CONFIRM_AGAIN_S = 5.0  # after a confirm-read that did not agree
STUCK_AFTER_S = 900.0  # a started run that guards stop for this long goes to a person
RETRY_SPREAD = 0.2  # of the back-off; taken from the run's id, so that a replay waits as long
LOST_AFTER_S = 60.0  # an answer this late will not come: longer than any probe or read may take, and than overtime
REDRIVES_MAX = 3  # tries to reach a target that may have been reached before

Moved = tuple[Run, tuple[AnyEffect, ...]]


def begin(incident: Incident, playbook: Playbook, subject: Subject, at: datetime, nth: int) -> Run:
    """A run not yet started. ``nth`` is the number of runs this incident had before."""
    seed = f"{incident.id}|{playbook.digest}|{subject.target.key}|{nth}"
    return Run(
        id="run-" + hashlib.sha256(seed.encode()).hexdigest()[:10],
        incident_id=incident.id,
        playbook=playbook,
        subject=subject,
        state=RunState.PLANNED,
        started_at=at,
        updated_at=at,
    )


def step_applies(step: Step, subject: Subject) -> bool:
    """Whether the step's ``when`` holds for the subject."""
    return not step.when or matches(step.when, labels(subject))


def next_step(run: Run) -> int | None:
    """Index of the first step at or after the present one that applies; None when none is left."""
    for i in range(run.step, len(run.playbook.steps)):
        if step_applies(run.playbook.steps[i], run.subject):
            return i
    return None


def intent_of(run: Run, incident: Incident, index: int, at: datetime) -> Intent:
    """The intent of one step with its look-ups made. Raises LookupError when a value is missing."""
    step = run.playbook.steps[index]
    data = scope(incident, run.subject, run.playbook)
    return Intent(
        id=f"{run.id}/{index}/{run.attempt}",
        action=step.uses,
        target=run.subject.target,
        params=fill(step.params, data),
        expires_at=at + timedelta(seconds=SEND_WITHIN_S),
        epoch=run.epoch,
        timeout_s=step.timeout_s,
        incident_id=incident.id,
        playbook=run.playbook.id,
    )


def query_of(run: Run, incident: Incident) -> Query | None:
    """The verification's query with its look-ups made. Raises LookupError when a value is missing."""
    spec = run.playbook.verify
    if spec is None or spec.prometheus is None:
        return None
    filled = fill({"query": spec.prometheus.text}, scope(incident, run.subject, run.playbook))
    return msgspec.structs.replace(spec.prometheus, text=filled["query"])


def undo_intent_of(run: Run, incident: Incident, done: DoneStep, at: datetime) -> Intent:
    """The intent that undoes one step this run did."""
    step = run.playbook.steps[done.index]
    undo = step.undo or UndoStep(uses=step.uses)
    return Intent(
        id=f"{run.id}/{done.index}/undo{run.attempt}",
        action=undo.uses,
        target=run.subject.target,
        params=fill(undo.params or step.params, scope(incident, run.subject, run.playbook)),
        expires_at=at + timedelta(seconds=SEND_WITHIN_S),
        epoch=run.epoch,
        timeout_s=step.timeout_s,
        incident_id=incident.id,
        playbook=run.playbook.id,
        undo=True,
        saved=done.saved,
    )


def propose(run: Run, incident: Incident, at: datetime) -> Run:
    """Give a planned run the intent it would carry out next; without one nothing is left to do."""
    if run.reason == "redrive":
        return run
    try:
        if run.state is RunState.UNDOING:
            todo = undo_todo(run)
            if not todo:
                return undone(run, at)
            return _set(run, at, intent=undo_intent_of(run, incident, todo[-1], at), touch=False)
        index = next_step(run)
        if index is None:
            return _set(run, at, intent=None, touch=False)
        query = query_of(run, incident) if run.effects == 0 else run.query
        run = msgspec.structs.replace(run, step=index, query=query)
        return _set(run, at, intent=intent_of(run, incident, index, at), touch=False)
    except LookupError as error:
        return hold(run, at, f"step cannot be filled in: {error.args[0] if error.args else error}")


def undo_todo(run: Run) -> tuple[DoneStep, ...]:
    """What is still to be undone: steps that are done and declare an undo, in the order they were done."""
    return tuple(d for d in run.done if run.playbook.steps[d.index].undo is not None)


def judged(run: Run, verdict: Verdict, verdicts: tuple[Verdict, ...], at: datetime) -> Moved:
    """What the guards said of the present intent, before the confirm-read."""
    run = msgspec.structs.replace(run, verdicts=verdicts)
    if verdict.decision is Decision.ALLOW:
        assert run.intent is not None
        if run.intent.undo or run.reason == "redrive":
            return execute(run, at)
        look = Look(key=f"{run.intent.id}?confirm", target=run.subject.target, intent=run.intent)
        return _set(run, at, state=RunState.CONFIRMING, retry_at=None), (look,)
    if run.effects and _stuck(run, at):
        return hold(run, at, f"{verdict.guard}: {verdict.reason}"), ()
    state = RunState.AWAITING_APPROVAL if verdict.decision is Decision.ASK else RunState.WAITING
    state = run.state if run.state is RunState.UNDOING else state
    stopped, touch = run.stopped_at or at, run.state is not state
    return _set(run, at, state=state, retry_at=verdict.retry_at, stopped_at=stopped, touch=touch), ()


def confirmed(run: Run, looked: Looked, verdict: Verdict, verdicts: tuple[Verdict, ...], at: datetime) -> Moved:
    """The confirm-read came back and the guards were asked again, with its answer."""
    run = msgspec.structs.replace(run, verdicts=verdicts, effect_index=max(run.effect_index, looked.index))
    if verdict.decision is Decision.ALLOW:
        return execute(run, at)
    if run.effects and _stuck(run, at):
        return hold(run, at, f"{verdict.guard}: {verdict.reason}"), ()
    line = f"not done: {verdict.guard}: {verdict.reason}"
    retry_at = max(verdict.retry_at or at, at + timedelta(seconds=CONFIRM_AGAIN_S))
    return _set(run, at, state=RunState.WAITING, retry_at=retry_at, stopped_at=run.stopped_at or at, log=line), ()


def execute(run: Run, at: datetime) -> Moved:
    """Write down the intent and let it go. The only place where a ``Do`` is made."""
    assert run.intent is not None
    intent = msgspec.structs.replace(run.intent, epoch=run.epoch, expires_at=at + timedelta(seconds=SEND_WITHIN_S))
    state = RunState.UNDOING if intent.undo else RunState.EXECUTING
    nth = f" (attempt {run.attempt})" if run.attempt > 1 else ""
    run = _set(
        run,
        at,
        state=state,
        intent=intent,
        sent=True,
        retry_at=None,
        stopped_at=None,
        reason="redriven" if run.reason == "redrive" else "",
        redrives=run.redrives + 1 if run.reason == "redrive" else 0,
        effects=run.effects + 1,
        log=f"{_named(run, intent)}: {intent.action} on {intent.target.name}{nth}",
    )
    return run, (Do(intent=intent),)


def resulted(run: Run, result: Result, info: ActionInfo | None, at: datetime) -> Moved:
    """The outcome of the present intent is known, or known to be unknown."""
    run = msgspec.structs.replace(run, sent=False, effect_index=max(run.effect_index, result.index))
    assert run.intent is not None
    line = f"{_named(run, run.intent)}: {result.outcome.lower()}" + (f", {result.detail}" if result.detail else "")
    if result.outcome is Outcome.UNKNOWN:
        return _unknown(_set(run, at, log=line), info, at)
    if result.outcome is Outcome.DONE:
        return _step_done(run, result, line, at), ()
    if result.outcome is Outcome.RETRY and run.reason == "redriven":
        return _still_unknown(_set(run, at, log=line), info, at)
    if result.outcome is Outcome.RETRY and run.attempt <= _step(run).retry_count:
        state = RunState.UNDOING if run.intent.undo else RunState.WAITING
        later = _later(run, at, run.attempt)
        return _set(run, at, state=state, attempt=run.attempt + 1, retry_at=later, reason="", log=line), ()
    return failed(_set(run, at, log=line), at, result.detail), ()


def _later(run: Run, at: datetime, nth: int) -> datetime:
    """Doubled each time, and up to a fifth more: runs that failed together do not come back together."""
    spread = int(hashlib.sha256(f"{run.id}|{nth}".encode()).hexdigest()[:8], 16) / 2**32 * RETRY_SPREAD
    return at + timedelta(seconds=_step(run).retry_interval_s * 2 ** (nth - 1) * (1 + spread))


def _still_unknown(run: Run, info: ActionInfo | None, at: datetime) -> Moved:
    """The second try certainly did nothing, which says nothing about the first: only the same id may go again."""
    if run.redrives >= REDRIVES_MAX:
        return _unknown(run, info, at)
    assert run.intent is not None
    state = RunState.UNDOING if run.intent.undo else RunState.WAITING
    return _set(run, at, state=state, reason="redrive", retry_at=_later(run, at, run.redrives)), ()


def _unknown(run: Run, info: ActionInfo | None, at: datetime) -> Moved:
    assert run.intent is not None
    if run.reason == "probe":
        return hold(run, at, f"nobody knows whether {run.intent.action} happened"), ()
    if run.reason != "redriven" and info is not None and is_idempotent(info, run.intent):
        state = RunState.UNDOING if run.intent.undo else RunState.PLANNED
        return _set(run, at, reason="redrive", state=state), ()
    return _set(run, at, reason="probe"), (Probe(intent=run.intent),)


def is_idempotent(info: ActionInfo, intent: Intent) -> bool:
    """Whether doing the intent twice is doing it once."""
    return info.idempotent or (info.idempotent_param and intent.params.get("idempotent") is True)


def _step_done(run: Run, result: Result, line: str, at: datetime) -> Run:
    assert run.intent is not None
    if run.intent.undo:
        rest = undo_todo(run)[:-1]
        run = _set(run, at, done=rest, attempt=1, reason="", log=line)
        return run if rest else undone(run, at)
    done = (*run.done, DoneStep(index=run.step, intent_id=result.intent_id, saved=result.saved))
    run = _set(run, at, done=done, step=run.step + 1, attempt=1, reason="", log=line)
    if next_step(run) is not None:
        return _set(run, at, state=RunState.PLANNED)
    return verify(run, at)


def verify(run: Run, at: datetime) -> Run:
    """All steps are done: watch whether it helped, or be done where the playbook does not ask."""
    spec = run.playbook.verify
    if spec is None:
        return _set(run, at, state=RunState.DONE, log="done, not verified: the playbook has no verify")
    deadline = at + timedelta(seconds=spec.within_s)
    return _set(run, at, state=RunState.VERIFYING, deadline=deadline, good_looks=0, log="verifying")


def look_again(run: Run) -> tuple[AnyEffect, ...]:
    """The next look of a verification. The engine adds the dependents, which it knows from the graph."""
    return (Look(key=f"{run.id}?verify", target=run.subject.target, after_s=LOOK_EVERY_S, query=run.query),)


def verified(run: Run, looked: Looked, at: datetime) -> Moved:
    """One look of a verification: counts only when newer than the effect, and with its query as expected."""
    spec = run.playbook.verify
    assert spec is not None
    good, against = _weigh(run, looked)
    good_looks = run.good_looks + 1 if good else 0
    run = msgspec.structs.replace(run, good_looks=good_looks, reason="" if good or against else _unseen(looked))
    if good_looks >= max(1, spec.passing_for):
        return _set(run, at, state=RunState.DONE, reason="", log=f"verified: {good_looks} good looks in a row"), ()
    if not _late(run, at):
        return run, look_again(run)
    if run.reason:
        return hold(run, at, f"inconclusive after {spec.within_s:g} s: {run.reason}"), ()
    return failed(run, at, f"{against or 'not long enough healthy'} after {spec.within_s:g} s"), ()


def _weigh(run: Run, looked: Looked) -> tuple[bool, str]:
    """Whether a look is good, and else what is known to be bad; neither where the look could not tell."""
    spec = run.playbook.verify
    assert spec is not None
    if looked.error:
        return False, ""
    dependents_good = all(s is Status.PASSING for s in looked.dependents.values())
    passing = looked.status is Status.PASSING or (spec.replaced and _replaced(run, looked))
    target_good = passing and looked.index > run.effect_index
    if not (target_good or spec.passing_for == 0) or not (dependents_good or not spec.dependents_required):
        return False, "not healthy"  # whatever the query would say
    if run.query is None or looked.query_ok:
        return True, ""
    return False, "" if looked.query_ok is None else looked.query_text


def _replaced(run: Run, looked: Looked) -> bool:
    """The instance has left, and one more of its service is healthy than when it was to be cured."""
    return looked.status is Status.ABSENT and looked.healthy > run.subject.healthy


def _unseen(looked: Looked) -> str:
    return looked.error or looked.query_text or "Prometheus was not asked"


def failed(run: Run, at: datetime, why: str) -> Run:
    """The run did not help: undo what it did where the playbook says so, else hold for a person."""
    if run.state is not RunState.UNDOING and run.playbook.on_failure == "undo" and undo_todo(run):
        return _set(run, at, state=RunState.UNDOING, attempt=1, reason=why, log=f"failed: {why}; undoing")
    if run.state is RunState.UNDOING:
        return hold(run, at, f"the undo failed: {why}")
    state = RunState.FAILED if run.playbook.on_failure == "undo" else RunState.HELD
    return _set(run, at, state=state, reason=why, log=f"failed: {why}")


def undone(run: Run, at: datetime) -> Run:
    """Everything this run did is undone."""
    return _set(run, at, state=RunState.FAILED, log="undone")


def hold(run: Run, at: datetime, why: str) -> Run:
    """Only a person may go on from here."""
    return _set(run, at, state=RunState.HELD, reason=why, log=f"held for a person: {why}")


def restarted(run: Run, info: ActionInfo | None, epoch: int, at: datetime) -> Moved:
    """A new process life took over: what was under way is unknown, what was only meant starts again."""
    run = msgspec.structs.replace(run, epoch=epoch)
    if run.state is RunState.CONFIRMING:
        return _set(run, at, state=RunState.PLANNED), ()
    if run.reason == "probe" and run.intent is not None and not run.state.over:
        return _set(run, at), (Probe(intent=run.intent),)
    if run.sent:
        line = "the process ended before the outcome was written down"
        return _unknown(_set(run, at, sent=False, reason="", log=line), info, at)
    if run.state is RunState.VERIFYING:
        return _looked_for_until(run, at), look_again(run)
    return run, ()


def answer_by(run: Run) -> datetime | None:
    """When the answer the run waits for must have come; None: it waits for none."""
    if run.sent and run.intent is not None:
        return run.intent.expires_at + timedelta(seconds=run.intent.timeout_s + LOST_AFTER_S)
    if run.state is RunState.VERIFYING and run.deadline is not None:
        return run.deadline + timedelta(seconds=LOST_AFTER_S)
    if run.state is RunState.CONFIRMING or (run.reason == "probe" and not run.state.over):
        return run.updated_at + timedelta(seconds=LOST_AFTER_S)
    return None


def lost(run: Run, info: ActionInfo | None, at: datetime) -> Moved:
    """The answer will not come any more. An intent is as unknown as after a restart; a read is made again."""
    if run.state is RunState.CONFIRMING:
        return _set(run, at, state=RunState.PLANNED, log="the confirm-read was lost"), ()
    if run.state is RunState.VERIFYING:
        return _looked_for_until(run, at), look_again(run)
    return _unknown(_set(run, at, sent=False, log="no outcome came back in time"), info, at)


def _looked_for_until(run: Run, at: datetime) -> Run:
    """A verification that was broken off has at least one more look, however late it is."""
    deadline = max(run.deadline, at) if run.deadline is not None else at
    return _set(run, at, deadline=deadline, touch=False)


def _step(run: Run) -> Step:
    return run.playbook.steps[min(run.step, len(run.playbook.steps) - 1)]


def _named(run: Run, intent: Intent) -> str:
    """The intent's step, as people know it: its index stands in the id."""
    name = run.playbook.steps[int(intent.id.rsplit("/", 2)[1])].name
    return f"undo of {name}" if intent.undo else name


def _late(run: Run, at: datetime) -> bool:
    return run.deadline is not None and at >= run.deadline


def _stuck(run: Run, at: datetime) -> bool:
    return run.stopped_at is not None and (at - run.stopped_at).total_seconds() > STUCK_AFTER_S


def _set(run: Run, at: datetime, *, log: str = "", touch: bool = True, **fields: object) -> Run:
    if log:
        fields["log"] = (*run.log, log)
    if touch:
        fields["updated_at"] = at
    return msgspec.structs.replace(run, **fields)
