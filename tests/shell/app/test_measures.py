"""What is counted, and that the docs say what it means."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from consulguard.app.measures import Measures, budgets, services
from consulguard.clock import FakeClock
from consulguard.engine import EngineState
from consulguard.events import Observed
from consulguard.model import Attempt, Message, OutboxRow, ServiceFact, State, Target, Trouble, View
from consulguard.policy import Budget, GuardPolicy, Policy
from consulguard.serve import Metrics

from tests.shell.app.test_http_door import HEALTH, SERVICES

DOCS = Path(__file__).parents[3] / "docs"
AT = datetime(2026, 1, 1, tzinfo=UTC)
WEB = Target(dc="dc1", service="web")


class Counted:
    def __init__(self) -> None:
        self.clock = FakeClock(AT)
        self.metrics = Metrics()
        self.measures = Measures(self.metrics, self.clock)

    def line(self, name: str) -> float:
        text = self.metrics.expose(HEALTH).decode()
        found = [line for line in text.splitlines() if line.startswith(f"consulguard_{name} ")]
        return float(found[0].split()[1]) if found else 0.0


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_what_is_told_and_what_is_not(counted: Counted) -> None:
    message = Message(key="k", version=1, severity="info", title="t", at=AT)
    row = OutboxRow(channel="slack", key="k", rev=1, message=message)
    counted.clock.advance(3.0)
    for failed in ("limited", "timeout", ""):
        counted.measures.delivered(row, failed)
    assert counted.line('notifications_total{integration="slack"}') == 1
    assert counted.line('notifications_failed_total{integration="slack",reason="timeout"}') == 1
    assert counted.line("notification_latency_seconds_sum") == 3


def test_consul_is_up_when_it_answered_last(counted: Counted) -> None:
    counted.measures.asked(True, 0.5)
    counted.measures.asked(True, None)
    assert counted.line("consul_up") == 1
    assert counted.line("consul_query_duration_seconds_count") == 1
    counted.measures.asked(False, 3.0)
    assert counted.line("consul_up") == 0


def test_a_service_that_changes_is_counted_once_and_what_was_there_before_is_not(
    counted: Counted,
) -> None:
    state = EngineState()
    state.health.services = {WEB.key: trouble(State.CRITICAL)}
    counted.measures.turned(state, [Observed(at=AT - timedelta(seconds=2), observations=())])
    assert counted.line("event_to_decision_seconds_sum") == 2
    state.health.services = {}
    for _ in range(3):
        counted.measures.turned(state, [])
    assert counted.line('state_transitions_total{from="critical",to="passing"}') == 1
    assert counted.line('state_transitions_total{from="passing",to="critical"}') == 0


def trouble(state: State) -> Trouble:
    return Trouble(target=WEB, state=state, since=AT, not_passing_since=AT)


def test_budgets_are_what_is_left_of_them() -> None:
    shared = {"mesh": Budget(runs=4, per_s=60.0, max_open=1), "none": Budget(runs=0, per_s=60.0, max_open=1)}
    state = EngineState(policy=Policy(guard=GuardPolicy(budget_total_h=10, budgets=shared)))
    state.attempts = [
        Attempt(playbook="p", target="t", service="s", at=AT - timedelta(seconds=ago), budget="mesh")
        for ago in (5, 300, 7200)
    ]
    assert dict(budgets(state, AT)) == {"total": pytest.approx(0.8), "mesh": 0.75, "none": 0.0}


def test_services_are_unknown_while_nobody_can_see_and_sidecars_are_none() -> None:
    state = EngineState(view=View(trusted=True))
    facts = [ServiceFact(target=WEB, count=1, at=AT)]
    side = Target(dc="dc1", service="web-sidecar-proxy")
    facts.append(ServiceFact(target=side, kind="connect-proxy", count=1, at=AT))
    state.book.graph.learn(facts)
    assert [(s.service, s.state) for s in services(state)] == [("web", "passing")]
    state.health.services = {WEB.key: trouble(State.CRITICAL)}
    assert [s.state for s in services(state, "web")] == ["critical"]
    assert services(state, "other") == []
    state.view = msgspec.structs.replace(state.view, trusted=False)
    assert [s.state for s in services(state)] == ["unknown"]


def test_every_metric_is_documented() -> None:
    told = set(re.findall(r"^\| `(consulguard_\w+)` \|", (DOCS / "metrics.md").read_text(), re.MULTILINE))
    text = Metrics().expose(HEALTH, SERVICES).decode()
    there = set(re.findall(r"^# TYPE (consulguard_\w+)", text, re.MULTILINE))
    assert there == told
