"""From what a turn changed to the spans of a trace: one trace for an incident, from Consul's word to the result.

A span is told when it is over, with ids that follow from what it is about. So a restart, or another replica, goes
on in the same trace; what was over and not yet sent when a process died is not told again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from consulguard.app import traced
from consulguard.clock import Clock
from consulguard.config import Loaded, settings
from consulguard.engine import EngineState
from consulguard.errors import ConfigError
from consulguard.events import AnyEffect, AnyEvent, Do, Look, Looked, Probe, Resulted
from consulguard.model import IncidentState, Intent, Outcome, Run, RunState
from consulguard.serve import Metrics, Span

FLUSH_S = 3.0  # for what is still to be sent when a life ends
OVER = (IncidentState.RESOLVED, IncidentState.MERGED)
Turned = Callable[[EngineState, Sequence[AnyEvent], Sequence[AnyEffect]], None]


@dataclass(slots=True)
class _Sent:
    """An intent that was let go and whose outcome is not known yet."""

    intent: Intent
    since: datetime
    probed: bool = False
    outcome: Outcome = Outcome.UNKNOWN


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What a turn left, as far as a span may still come of it."""

    incidents: dict[str, IncidentState] = field(default_factory=dict)
    decisions: dict[str, traced.Decided] = field(default_factory=dict)  # by incident
    questions: set[str] = field(default_factory=set)  # those pending
    runs: dict[str, Run] = field(default_factory=dict)  # those not over


class Tracing:
    """Compares the state with what it was after the last turn. What was there at the first turn is not news."""

    def __init__(self, put: Callable[[Span], None], clock: Clock) -> None:
        self._put = put
        self._clock = clock
        self._seen: _Seen | None = None
        self._sent: dict[str, _Sent] = {}  # by attempt id
        self._looks: dict[str, datetime] = {}  # when it was to begin, by key

    def turned(self, state: EngineState, events: Sequence[AnyEvent], effects: Sequence[AnyEffect]) -> None:
        """After a turn was journaled."""
        now = self._clock.now()
        was, self._seen = self._seen, _seen(state)
        for event in events:
            self._happened(event, state)
        if was is None:
            under_way = [run for run in self._seen.runs.values() if run.sent or run.reason == "probe"]
            self._sent = {r.intent.id: _Sent(r.intent, r.updated_at) for r in under_way if r.intent is not None}
        else:
            self._compare(was, self._seen, state, now)
        for effect in effects:
            self._asked(effect, now)
        for sent in [s for s in self._sent.values() if not _waits(state, s.intent)]:
            del self._sent[sent.intent.id]
            self._put(traced.intent(sent.intent, sent.outcome, sent.since, now))

    def _happened(self, event: AnyEvent, state: EngineState) -> None:
        if isinstance(event, Resulted) and (sent := self._sent.get(event.result.intent_id)) is not None:
            sent.outcome = event.result.outcome
            self._put(traced.effect(sent.intent, event, probe=sent.probed))
        elif isinstance(event, Looked):
            began = self._looks.pop(event.key, event.at)
            run = state.runs.get(event.key.partition("?")[0].partition("/")[0])
            if run is not None:
                self._put(traced.look(event, run, began))

    def _asked(self, effect: AnyEffect, now: datetime) -> None:
        match effect:
            case Do(intent=intent):
                self._sent.setdefault(intent.id, _Sent(intent, now)).probed = False
            case Probe(intent=intent):
                self._sent.setdefault(intent.id, _Sent(intent, now)).probed = True
            case Look():
                self._looks[effect.key] = now + timedelta(seconds=effect.after_s)
            case _:
                pass

    def _compare(self, was: _Seen, seen: _Seen, state: EngineState, now: datetime) -> None:
        for incident in state.book.incidents.values():
            before = was.incidents.get(incident.id, IncidentState.RESOLVED)
            if before in OVER and incident.state not in OVER:
                self._put(traced.observation(incident, state.troubles()))
            if before not in OVER and incident.state in OVER:
                runs = sum(r.incident_id == incident.id and r.effects > 0 for r in state.runs.values())
                self._put(traced.whole(incident, runs, incident.resolved_at or now))
        for incident_id, decided in seen.decisions.items():
            if was.decisions.get(incident_id) != decided and incident_id in state.book.incidents:
                about = state.book.incidents[incident_id]
                self._put(traced.decision(about, decided, state.at or now, now))
        for question in state.questions.values():
            if question.id in was.questions and not question.pending:
                self._put(traced.approval(question))
        for before_it in was.runs.values():
            self._moved(before_it, state.runs.get(before_it.id), now)

    def _moved(self, was: Run, run: Run | None, now: datetime) -> None:
        """``run``: as it is now; None: it was given up."""
        verifying = was.state is RunState.VERIFYING
        if verifying and (run is None or run.state is not RunState.VERIFYING):
            self._put(traced.verification(run or was, was.updated_at, now))
        if run is None:
            self._put(traced.remediation(was, now))
        elif run.state.over:
            self._put(traced.remediation(run, run.updated_at))


def _seen(state: EngineState) -> _Seen:
    return _Seen(
        incidents={incident.id: incident.state for incident in state.book.incidents.values()},
        decisions=_decisions(state),
        questions={question.id for question in state.questions.values() if question.pending},
        runs={run.id: run for run in state.active_runs()},
    )


def _decisions(state: EngineState) -> dict[str, traced.Decided]:
    found = {}
    for plan in state.plans.values():
        name = plan.playbook.id if plan.playbook is not None else ""
        verdict = plan.steps[0].verdict if plan.steps else None
        said = (verdict.decision.value, verdict.guard) if verdict is not None else ("none", "")
        found[plan.incident_id] = (name, plan.effective_mode.value if name else "", *said)
    return found


def _waits(state: EngineState, intent: Intent) -> bool:
    """Whether the intent's outcome is still to come, by a result, a probe or another try under the same id."""
    run = state.runs.get(traced.run_of(intent))
    if run is None or run.state.over or run.intent is None or run.intent.id != intent.id:
        return False
    return run.sent or run.reason in ("probe", "redrive")


# ---- for as long as a daemon lives


@contextlib.asynccontextmanager
async def tracing(loaded: Loaded, clock: Clock, metrics: Metrics) -> AsyncIterator[Turned]:
    """What is to be told of each turn; nothing is where traces are off. Raises ConfigError."""
    wanted = settings.traces(loaded)
    if wanted is None:
        yield lambda state, events, effects: None
        return
    refuse_unusable(loaded)
    from consulguard.serve.otlp import Collector

    collector = Collector(wanted, metrics.spans_exported.inc, metrics.spans_dropped.inc)
    try:
        yield Tracing(collector.put, clock).turned
    finally:
        await asyncio.to_thread(collector.close, FLUSH_S)


def refuse_unusable(loaded: Loaded) -> None:
    """Raises ConfigError where traces are wanted and cannot be sent."""
    if settings.traces(loaded) is None:
        return
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        raise ConfigError(
            "OpenTelemetry is not installed; run: pip install 'consulguard[otel]'", where="tracing.enabled"
        ) from None
