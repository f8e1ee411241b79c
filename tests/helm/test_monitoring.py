"""Alerts and the dashboard, as far as that is known without data; with data: tests/e2e/test_observability.py."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from tests.helm import support
from tests.support.prometheus import need_prometheus

ALERTS = support.CHART / "rules/alerts.yaml"
CASES = support.HERE / "alerts.test.yaml"
BOARD = support.CHART / "dashboards/consulguard.json"
SCHEMA = support.HERE / "schemas/dashboard.jsonschema.json"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    need_prometheus()
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=100)


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def test_every_alert_fires_when_it_should_and_not_before() -> None:
    done = promtool("test", "rules", str(CASES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_two_in_which_it_does_not() -> None:
    named = {rule["alert"] for group in read(ALERTS)["groups"] for rule in group["rules"]}
    cases = [case for test in read(CASES)["tests"] for case in test["alert_rule_test"]]
    for alert in named:
        fires = [bool(c.get("exp_alerts")) for c in cases if c["alertname"] == alert]
        assert fires.count(True) >= 1, alert
        assert fires.count(False) >= 2, alert
    assert {c["alertname"] for c in cases} == named


def test_the_operators_rule_holds_the_same_groups_as_the_file() -> None:
    assert support.only("everything", "PrometheusRule")["spec"] == read(ALERTS)
    monitor = support.only("everything", "ServiceMonitor")["spec"]
    service = support.only("everything", "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in [p["name"] for p in service["spec"]["ports"]]


def wrong(board: Any) -> list[str]:
    schema = json.loads(SCHEMA.read_text())
    checker = jsonschema.validators.validator_for(schema)(schema)
    return [error.message for error in checker.iter_errors(board)]


def test_the_dashboard_is_one_for_grafana() -> None:
    board = json.loads(BOARD.read_text())
    assert wrong(board) == []
    ids = support.documents(
        support.objects("everything")["ConfigMap", "", "guard-dashboard"]["data"]["consulguard.json"]
    )
    assert ids == [board]


@pytest.mark.parametrize("flaw", [{"refresh": 5}, {"panles": []}, {"panels": [{"gridPos": {"x": "a"}}]}])
def test_a_flaw_in_a_dashboard_would_be_found(flaw: dict[str, Any]) -> None:
    assert wrong(json.loads(BOARD.read_text()) | flaw)
