"""The parts of the chart that are made: its README from the comments of values.yaml, and the Grafana dashboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh
from ruamel.yaml import YAML

CHART = Path(__file__).parents[1] / "helm/consulguard"

WORDS = """# consulguard

{description}

    helm install consulguard helm/consulguard --namespace consulguard --create-namespace \\
      --set consul.address=http://consul-server.consul.svc:8500

From nothing to a first plan, and to two replicas:
[docs/kubernetes.md](../../docs/kubernetes.md). What it needs of Consul's ACLs:
[docs/consul.md](../../docs/consul.md).

- It starts in mode `observe`, without rights in the cluster. Rights follow `rbac.actions`.
- Secrets are only referred to (`existingSecret`), never made.
- A changed configuration restarts the pod; changed playbooks are taken over while it runs.
- `helm uninstall` keeps the volume claim of the journal.
- More than one replica with SQLite is refused: the journal has one writer.

This page is made by `make docs` from `values.yaml`.

| value | default | meaning |
|---|---|---|
"""

KEY = re.compile(r"^(\s*)([A-Za-z][A-Za-z0-9]*):")


def readme() -> str:
    chart = YAML(typ="safe").load(CHART / "Chart.yaml")
    return WORDS.format(description=chart["description"]) + "\n".join(rows()) + "\n"


def rows() -> Iterator[str]:
    """One for each value with a comment that begins with two dashes."""
    path: list[tuple[int, str]] = []
    told = ""
    for line in (CHART / "values.yaml").read_text().splitlines():
        found = KEY.match(line)
        if found is None:
            told = line.strip().removeprefix("# -- ") if line.strip().startswith("# -- ") else ""
            continue
        indent = len(found[1])
        path = [*[p for p in path if p[0] < indent], (indent, found[2])]
        if told:
            yield f"| `{'.'.join(name for _, name in path)}` | {_default(path)} | {told} |"
        told = ""


def _default(path: list[tuple[int, str]]) -> str:
    value: Any = YAML(typ="safe").load(CHART / "values.yaml")
    for _, name in path:
        value = value[name]
    return f"`{json.dumps(value)}`" if value not in ("", [], {}) else "empty"


# ---- the dashboard

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")


def of(metric: str, more: str = "") -> str:
    """The metric of the installations that are picked."""
    return f'consulguard_{metric}{{job=~"$job"{more}}}'


def added(metric: str, by: str) -> str:
    """What a counter rose by within the time that is shown."""
    return f"sum by ({by}) (increase({of(metric)}[$__range]))"


def most(metric: str, *shares: float) -> dict[str, str]:
    """Quantiles of a histogram within the time that is shown."""
    rose = f"sum by (le) (increase({of(f'{metric}_bucket')}[$__range]))"
    return {f"histogram_quantile({share}, {rose})": f"p{share * 100:g}" for share in shares}


# Title, unit, query: one number each.
NOW = (
    ("Acts", "short", f"sum({of('is_leader')})"),
    ("View trusted", "short", f"min({of('consul_view_trusted')})"),
    ("Open incidents", "short", "max(" + of("incidents", ',state="open"') + ")"),
    ("Runs in flight", "short", f"max({of('remediations_in_flight')})"),
    ("Paused", "short", f"max({of('paused')})"),
    ("Storm brake", "short", f"max({of('storm_brake')})"),
    ("Configuration in force", "short", f"min({of('config_last_reload_successful')})"),
    ("Last turn of the loop", "s", f"time() - max({of('heartbeat_timestamp_seconds')})"),
)

Panel = tuple[str, str, dict[str, str]]  # title, unit, query to legend

SERVICES: tuple[Panel, ...] = (
    ("Services by state", "short", {f"count by (state) ({of('service_state')})": "{{state}}"}),
    ("Changes of state", "short", {added("state_transitions_total", "from, to"): "{{from}} to {{to}}"}),
    ("Incidents", "short", {f"max by (state) ({of('incidents')})": "{{state}}"}),
    ("How long incidents last", "s", most("incident_duration_seconds", 0.5, 0.9)),
)
REMEDIATION: tuple[Panel, ...] = (
    ("Runs", "short", {added("remediations_total", "playbook, outcome"): "{{playbook}} {{outcome}}"}),
    ("Held back by guards", "short", {added("remediations_blocked_total", "reason"): "{{reason}}"}),
    ("Verifications", "short", {added("verifications_total", "result"): "{{result}}"}),
    ("Budgets left", "percentunit", {f"min by (budget) ({of('budget_remaining_ratio')})": "{{budget}}"}),
)
PEOPLE: tuple[Panel, ...] = (
    ("Approvals", "short", {added("approvals_total", "decision"): "{{decision}}"}),
    ("Waiting for people", "s", most("approval_wait_seconds", 0.9)),
    ("Messages", "short", {added("notifications_total", "integration"): "{{integration}}"}),
    ("Delivery", "s", most("notification_latency_seconds", 0.9)),
    (
        "Messages that failed",
        "short",
        {f"{added('notifications_failed_total', 'integration, reason')}": "{{integration}}: {{reason}}"},
    ),
)
INSIDE: tuple[Panel, ...] = (
    ("From Consul's word to a decision", "s", most("event_to_decision_seconds", 0.5, 0.99)),
    ("Requests to Consul", "s", most("consul_query_duration_seconds", 0.9)),
    ("Consul answers", "short", {f"min by (instance) ({of('consul_up')})": "{{instance}}"}),
    ("Clock ahead", "s", {f"max by (instance) ({of('clock_ahead_seconds')})": "{{instance}}"}),
)
ROWS = {
    "Services and incidents": SERVICES,
    "Remediation": REMEDIATION,
    "People": PEOPLE,
    "Inside": INSIDE,
}


def dashboard_json() -> str:
    board = (
        dashboard.Dashboard("consulguard")
        .uid("consulguard")
        .description("Made by make docs; change scripts/make_chart.py instead.")
        .tags(["consul", "consulguard"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("job")
            .label("Installation")
            .datasource(SOURCE)
            .query("label_values(consulguard_up, job)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .multi(True)
        )
    )
    board.with_row(dashboard.Row("Now"))
    for title, unit, query in NOW:
        board.with_panel(
            stat.Panel()
            .title(title)
            .unit(unit)
            .datasource(SOURCE)
            .height(4)
            .span(3)
            .with_target(_target(query, ""))
        )
    for name, panels in ROWS.items():
        board.with_row(dashboard.Row(name))
        for title, unit, queries in panels:
            board.with_panel(_graph(title, unit, queries))
    return json.dumps(board.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _graph(title: str, unit: str, queries: dict[str, str]) -> timeseries.Panel:
    panel = timeseries.Panel().title(title).unit(unit).datasource(SOURCE).height(8).span(6)
    for query, legend in queries.items():
        panel.with_target(_target(query, legend))
    return panel


def _target(query: str, legend: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query).legend_format(legend).datasource(SOURCE)
