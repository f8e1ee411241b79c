"""The metrics of the daemon: base units, ``_total`` on what only rises, and never an incident's id as a label.

Counters begin at zero with each life; ``rate`` and ``increase`` know what to make of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from consulguard import __version__
from consulguard.serve.health import Health, ServiceHealth

INCIDENT_STATES = ("open", "recovering", "resolved")
QUICK_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
DELIVERY_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
WAIT_S = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0)
INCIDENT_S = (30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0)


disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each counter, which nobody asks for


class Metrics:
    """What is counted while the daemon works. One for each daemon; several can live in one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.consul_up = self._gauge("consul_up", "Whether Consul answered the last request.")
        self.consul_query = self._histogram(
            "consul_query_duration_seconds", "Requests to Consul that do not wait for a change.", QUICK_S
        )
        self.transitions = self._counter("state_transitions", "Services that changed their state.", "from", "to")
        self.incident_duration = self._histogram(
            "incident_duration_seconds", "From opened to resolved.", INCIDENT_S
        )
        self.remediations = self._counter(
            "remediations", "Runs that touched something and are over.", "playbook", "mode", "outcome"
        )
        self.blocked = self._counter("remediations_blocked", "Runs a guard held back, by guard.", "reason")
        self.verifications = self._counter("verifications", "How looking whether it helped ended.", "result")
        self.approvals = self._counter("approvals", "How questions to people ended.", "decision")
        self.approval_wait = self._histogram("approval_wait_seconds", "From asked to answered.", WAIT_S)
        self.notifications = self._counter("notifications", "Messages delivered.", "integration")
        self.notifications_failed = self._counter(
            "notifications_failed",
            "Deliveries that failed; all but the refused are tried again.",
            "integration",
            "reason",
        )
        self.notification_latency = self._histogram(
            "notification_latency_seconds", "From the message's moment to its delivery.", DELIVERY_S
        )
        self.decision = self._histogram(
            "event_to_decision_seconds", "From Consul's word to the decision in the journal.", QUICK_S
        )
        self.spans_exported = self._counter("trace_spans_exported", "Spans the collector took.")
        self.spans_dropped = self._counter("trace_spans_dropped", "Spans it did not get.")

    def expose(self, health: Health, services: Iterable[ServiceHealth] = ()) -> bytes:
        """All of it in Prometheus's text format. Slow for many services: not on the event loop."""
        now = CollectorRegistry()
        now.register(_Now(health, services))
        return generate_latest(now) + generate_latest(self._registry)

    def families(self, health: Health, services: Iterable[ServiceHealth] = ()) -> list[Metric]:
        """The same, for whoever puts several daemons' together."""
        return [*_Now(health, services).collect(), *self._registry.collect()]

    def _gauge(self, name: str, told: str, *labels: str) -> Gauge:
        return Gauge(f"consulguard_{name}", told, labels, registry=self._registry)

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(f"consulguard_{name}", told, labels, registry=self._registry)

    def _histogram(self, name: str, told: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"consulguard_{name}", told, buckets=buckets, registry=self._registry)


class _Now(Collector):
    """How things are at the moment of the scrape."""

    def __init__(self, health: Health, services: Iterable[ServiceHealth]) -> None:
        self._health = health
        self._services = services

    def collect(self) -> Iterator[Metric]:
        health = self._health
        yield _labelled("build_info", "Version.", ("version",), {(__version__,): 1})
        for name, (told, value) in _plain(health).items():
            yield GaugeMetricFamily(f"consulguard_{name}", told, value=float(value))
        states = {(state,): health.incidents.get(state, 0) for state in INCIDENT_STATES}
        yield _labelled("incidents", "Incidents by state.", ("state",), states)
        left = {(name,): share for name, share in health.budgets}
        yield _labelled("budget_remaining_ratio", "What is left of a budget for runs.", ("budget",), left)
        seen = {(s.service, s.datacenter, s.state): 1 for s in self._services}
        yield _labelled("service_state", "1 at its state.", ("service", "datacenter", "state"), seen)


def _plain(health: Health) -> dict[str, tuple[str, float]]:
    return {
        "up": ("Always 1: alert on its absence.", 1),
        "heartbeat_timestamp_seconds": ("When the decision loop last turned.", health.turned_at),
        "is_leader": ("Whether this replica acts.", health.leader),
        "consul_view_trusted": ("Whether what is seen of Consul may be acted upon.", health.view_trusted),
        "remediations_in_flight": ("Runs that are not over.", health.runs),
        "storm_brake": ("Whether the storm brake is on.", health.storm),
        "paused": ("Whether somebody paused remediation.", health.paused),
        "config_last_reload_successful": ("Whether the files are what is in force.", not health.config_stale),
        "config_stale": ("Whether the files hold what could not be taken over.", health.config_stale),
        "clock_ahead_seconds": ("How far our clock is ahead of the wall clock.", health.clock_ahead_s),
    }


def _labelled(name: str, told: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"consulguard_{name}", told, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, float(value))
    return family
