"""Ask the guards: gather what they may look at, for one intent of one run."""

from __future__ import annotations

import msgspec

from consulguard import correlate, guard
from consulguard.engine.state import EngineState
from consulguard.events import Looked
from consulguard.guard.reach import widened
from consulguard.guard.situation import Situation, Stake
from consulguard.model import Incident, Intent, Run, Subject, Verdict


def judge(
    state: EngineState, run: Run, incident: Incident, matched: int, looked: Looked | None = None
) -> tuple[Verdict, tuple[Verdict, ...]]:
    """The combined verdict on the run's present intent, and every guard's own."""
    assert run.intent is not None
    verdicts = guard.judge(situation(state, run, run.intent, incident, matched, looked))
    assert state.at is not None
    return guard.combine(verdicts, approved=run.approved(run.intent, state.at)), verdicts


def situation(
    state: EngineState, run: Run, intent: Intent, incident: Incident, matched: int, looked: Looked | None = None
) -> Situation:
    """Everything the guards may look at, as of the state's present moment."""
    assert state.at is not None
    others = [r for r in state.runs.values() if r.id != run.id and r.holds_target]
    return Situation(
        at=state.at,
        phase="effect" if looked is not None else "plan",
        policy=state.policy,
        view=state.view,
        intent=intent,
        action=state.actions.get(intent.action),
        playbook=run.playbook,
        subject=run.subject,
        incident=incident,
        matched=matched,
        pauses=tuple(state.pauses),
        silence=None if incident.id in state.orders else state.silence_of(incident.id),
        open_intents=tuple(r.intent for r in others if r.intent is not None),
        open_reach=tuple(widened(i.target, state.actions.get(i.action)) for r in others if (i := r.intent)),
        open_budgets=tuple(r.playbook.limits.budget for r in others if r.playbook.limits.budget),
        attempts=tuple(state.attempts),
        record=tuple(state.records.get(run.playbook.id, ())),
        first_effect=run.effects == 0,
        undo=intent.undo,
        storm=state.storm,
        seen_index=_seen_index(state, run),
        stakes=_stakes(state, run),
        graph_at=correlate.graph_at(state.book, incident),
        lease_held=state.lease_held,
        looked=looked,
    )


def _seen_index(state: EngineState, run: Run) -> int:
    """Consul's index at which the trouble was seen: an older read proves nothing."""
    trouble = state.troubles().get(run.subject.target.key)
    return trouble.index if trouble is not None else 0


def _stakes(state: EngineState, run: Run) -> tuple[Stake, ...]:
    """What a node target takes with it: each service on it, with its counts. Empty for anything else."""
    if run.subject.scope != "node":
        return ()
    return tuple(
        Stake(service=name, expected=expected, healthy=healthy, serving=serving)
        for name, expected, healthy, serving in correlate.on_node(state.book, run.subject.target, state.troubles())
    )


def refreshed(run: Run, subjects: tuple[Subject, ...]) -> Run:
    """The run with its subject as it is now.

    Once the run has touched its target, the target's own state is ours to explain (a drain puts it into
    maintenance): state, since and looks stay as they were when the run began.
    """
    now = next((s for s in subjects if s.target == run.subject.target and s.scope == run.subject.scope), None)
    if now is None:
        return _as_its_service(run, subjects)
    if run.effects:
        was = run.subject
        now = msgspec.structs.replace(
            now, state=was.state, since=was.since, looks=was.looks, role=was.role, checks=was.checks
        )
    return msgspec.structs.replace(run, subject=now)


def _as_its_service(run: Run, subjects: tuple[Subject, ...]) -> Run:
    """An instance whose service became a victim is no subject of its own any more: take what its service says."""
    whole = run.subject.target.of_service()
    now = next((s for s in subjects if s.scope == "service" and s.target == whole), None)
    if now is None or run.subject.scope != "instance":
        return run
    subject = msgspec.structs.replace(
        run.subject, expected=now.expected, healthy=now.healthy, depends_on_failing=now.depends_on_failing
    )
    return msgspec.structs.replace(run, subject=subject)
