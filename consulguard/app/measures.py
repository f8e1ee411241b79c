"""From what a turn changed to the counters: the one place that knows both the engine's state and the metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from consulguard.clock import Clock
from consulguard.engine import EngineState
from consulguard.events import AnyEvent, Observed
from consulguard.model import Decision, IncidentState, OutboxRow, QuestionState, Run, RunState
from consulguard.serve import Metrics, ServiceHealth

SIDECAR = "connect-proxy"
HOUR = timedelta(hours=1)
ACTIVE = (IncidentState.OPEN, IncidentState.RECOVERING)


class Measures:
    """Compares the state with what it was after the last turn. What was there at the first turn is not news."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self.metrics = metrics
        self._clock = clock
        self._begun = False
        self._services: dict[str, str] = {}
        self._incidents: dict[str, IncidentState] = {}
        self._runs: dict[str, RunState] = {}
        self._held: dict[str, str] = {}  # incident or run -> the guard that is against it
        self._pending: set[str] = set()

    def turned(self, state: EngineState, events: Sequence[AnyEvent]) -> None:
        """After a turn was journaled."""
        now = self._clock.now()
        for event in events:
            if isinstance(event, Observed):
                self.metrics.decision.observe(max(0.0, (now - event.at).total_seconds()))
        self._count_services(state)
        self._count_incidents(state)
        self._count_runs(state)
        self._count_held(state)
        self._count_questions(state)
        self._begun = True

    def delivered(self, row: OutboxRow, failed: str) -> None:
        """One try of an outbox. ``failed``: why, in one word; empty when it went well."""
        if failed:
            self.metrics.notifications_failed.labels(row.channel, failed).inc()
            return
        self.metrics.notifications.labels(row.channel).inc()
        took = (self._clock.now() - row.message.at).total_seconds()
        self.metrics.notification_latency.observe(max(0.0, took))

    def asked(self, answered: bool, took_s: float | None) -> None:
        """One request to Consul. ``took_s`` is None for one that waited for a change."""
        self.metrics.consul_up.set(answered)
        if took_s is not None:
            self.metrics.consul_query.observe(took_s)

    def _count_services(self, state: EngineState) -> None:
        now = {key: trouble.state.value for key, trouble in state.health.services.items()}
        if now == self._services:
            return
        if self._begun:
            for key in self._services.keys() | now.keys():
                was, is_ = self._services.get(key, "passing"), now.get(key, "passing")
                if was != is_:
                    self.metrics.transitions.labels(was, is_).inc()
        self._services = now

    def _count_incidents(self, state: EngineState) -> None:
        for incident in state.book.incidents.values():
            over = incident.state is IncidentState.RESOLVED and incident.resolved_at is not None
            if over and self._incidents.get(incident.id) in ACTIVE and incident.resolved_at is not None:
                lasted = incident.resolved_at - incident.opened_at
                self.metrics.incident_duration.observe(lasted.total_seconds())
        self._incidents = {incident.id: incident.state for incident in state.book.incidents.values()}

    def _count_runs(self, state: EngineState) -> None:
        for run in state.runs.values():
            was = self._runs.get(run.id)
            if not self._begun or was is run.state:
                continue
            if run.state.over and run.effects:
                mode = "approve" if run.approved_until is not None else "auto"
                self.metrics.remediations.labels(run.playbook.id, mode, run.state.value).inc()
            if was is RunState.VERIFYING:
                self.metrics.verifications.labels(_verified(run)).inc()
        self._runs = {run.id: run.state for run in state.runs.values()}

    def _count_held(self, state: EngineState) -> None:
        now = dict(_held(state))
        if self._begun:
            for key, guard in now.items():
                if self._held.get(key) != guard:
                    self.metrics.blocked.labels(guard).inc()
        self._held = now

    def _count_questions(self, state: EngineState) -> None:
        for question in state.questions.values():
            if question.id in self._pending and question.state is not QuestionState.PENDING:
                self.metrics.approvals.labels(question.state.value).inc()
                if question.decided_at is not None and question.votes:
                    waited = question.decided_at - question.asked_at
                    self.metrics.approval_wait.observe(waited.total_seconds())
        self._pending = {q.id for q in state.questions.values() if q.pending}


def _verified(run: Run) -> str:
    if run.state is RunState.DONE:
        return "passed"
    return "inconclusive" if run.reason.startswith("inconclusive") else "failed"


def _held(state: EngineState) -> Iterator[tuple[str, str]]:
    against = (Decision.WAIT, Decision.DENY)
    for plan in state.plans.values():
        if plan.steps and plan.steps[0].verdict.decision in against:
            yield plan.incident_id, plan.steps[0].verdict.guard
    for run in state.active_runs():
        stopped = next((v.guard for v in run.verdicts if v.decision in against), "")
        if run.state is RunState.WAITING and stopped:
            yield run.id, stopped


def budgets(state: EngineState, at: datetime) -> tuple[tuple[str, float], ...]:
    """What is left of the fleet's budget (``total``) and of those playbooks share."""
    policy = state.policy.guard
    found = {"total": _left([a.at for a in state.attempts], at - HOUR, policy.budget_total_h)}
    for name, budget in policy.budgets.items():
        ours = [a.at for a in state.attempts if a.budget == name]
        found[name] = _left(ours, at - timedelta(seconds=budget.per_s), budget.runs)
    return tuple(found.items())


def _left(starts: list[datetime], since: datetime, most: int) -> float:
    spent = sum(at > since for at in starts)
    return max(0.0, 1.0 - spent / most) if most else 0.0


def services(state: EngineState, name: str = "") -> list[ServiceHealth]:
    """The services of a name, or all with an empty one; sidecars are not among them."""
    within = {
        member.target.of_service().key: incident.id
        for incident in state.book.incidents.values()
        if incident.state in ACTIVE
        for member in incident.members
    }
    facts = (f for f in state.book.graph.services.values() if f.kind != SIDECAR)
    return [
        ServiceHealth(
            service=fact.target.service,
            datacenter=fact.target.dc,
            state=_state(state, key := fact.target.key),
            incident=within.get(key, ""),
        )
        for fact in facts
        if name in ("", fact.target.service)
    ]


def _state(state: EngineState, key: str) -> str:
    if not state.view.trusted:
        return "unknown"
    trouble = state.health.services.get(key)
    return trouble.state.value if trouble is not None else "passing"
