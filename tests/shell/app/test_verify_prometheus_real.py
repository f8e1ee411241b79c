"""The daemon verifies by a real Consul and a real Prometheus: verified, failed, inconclusive."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from consulguard.app import configured
from consulguard.app.rights import prometheus_rights
from consulguard.app.service import Service, standing
from consulguard.clock import SystemClock
from consulguard.config import Loaded, load
from consulguard.model import Run, RunState
from consulguard.testing.real_consul import RealConsul

from tests.e2e.support.bot import FAST
from tests.shell.act.support import closed_address, raw
from tests.support.prometheus import RealPrometheus
from tests.support.waiting import eventually

pytestmark = pytest.mark.real
QUERY = 'last_over_time(failing{service="${target.service}"}[10m])'


def playbook(name: str, *steps: dict[str, Any], hopeless: bool = False) -> dict[str, Any]:
    """It switches a flag. ``hopeless``: only the query counts, and not for long."""
    flag = {
        "name": "flag",
        "uses": "consul.kv_put",
        "with": {"key": f"flags/{name}", "value": "off"},
        "undo": {"uses": "consul.kv_put"},
    }
    return {
        "name": name,
        "mode": "auto",
        "match": {"scope": "service", "for": "1s", "matchers": [f'service="{name}"']},
        "steps": [*steps, flag],
        "verify": {
            "within": "3s" if hopeless else "5m",
            "target": {"passing_for": 0 if hopeless else 1},
            "prometheus": {"query": QUERY, "expect": "< 0.05"},
        },
        "on_failure": "undo",
    }


def configuration(folder: Path, consul: str, prometheus: str, *playbooks: dict[str, Any]) -> Loaded:
    (folder / "playbooks").mkdir(exist_ok=True)
    for one in playbooks:
        (folder / "playbooks" / f"{one['name']}.yaml").write_text(json.dumps(one))
    config: dict[str, Any] = FAST | {
        "mode": "auto",
        "consul": {"http_addr": consul},
        "journal": {"path": "state/journal.sqlite"},
        "guards": FAST["guards"]
        | {"storm_min": 1000, "min_start_interval": "0s", "max_open": 9, "max_open_per_node": 9},
        "correlate": FAST["correlate"] | {"group_min": 1000},
        "notify": FAST["notify"] | {"console": False},
        "actions": {"prometheus": {"address": prometheus, "timeout": "30s"}},
    }
    (folder / "consulguard.yaml").write_text(json.dumps(config))
    return load(str(folder / "consulguard.yaml"), env={})


class Shop:
    """Services with one TTL check each; ``fail`` and ``heal`` set it."""

    def __init__(self, consul: str) -> None:
        self._consul = consul

    def fail(self, name: str) -> None:
        check = {"CheckID": name, "Name": "ttl", "TTL": "1h", "Status": "passing"}
        body = {"Name": name, "Port": 1, "Checks": [check]}
        raw(self._consul, "PUT", "/v1/agent/service/register", body)
        raw(self._consul, "PUT", f"/v1/agent/check/fail/{name}")

    def heal(self, name: str) -> None:
        raw(self._consul, "PUT", f"/v1/agent/check/pass/{name}")

    def flag(self, name: str) -> Any:
        return raw(self._consul, "GET", f"/v1/kv/flags/{name}")


@asynccontextmanager
async def at_work(loaded: Loaded) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """A daemon; what is given looks up a service's run."""
    async with standing(loaded) as service:

        async def run_of(name: str) -> Any:
            return _run_of(service, name)

        yield run_of


def _run_of(service: Service, name: str) -> Run | None:
    runs = [r for r in service.daemon.state.runs.values() if r.playbook.id == name and r.effects]
    return runs[-1] if runs else None


def is_in(*states: RunState) -> Callable[[Run | None], bool]:
    return lambda run: run is not None and run.state in states


OVER = is_in(RunState.DONE, RunState.FAILED, RunState.HELD)


GATE = {
    "name": "gate",
    "uses": "prometheus.query",
    "with": {"query": QUERY, "expect": "< 0.05"},
    "retry": {"count": 5, "interval": "2s"},
}


async def test_the_figures_decide(
    real_consul_module: RealConsul, prometheus: RealPrometheus, tmp_path: Path, unique: str
) -> None:
    """Four services fail. One has a gate before its step; the others are verified, failed and inconclusive."""
    gated, good, bad, unknown = (f"{unique}-{word}" for word in ("gated", "good", "bad", "unknown"))
    series = {name: f'failing{{service="{name}"}}' for name in (gated, good, bad)}
    prometheus.exporter.samples |= dict.fromkeys(series.values(), 0.31)
    for name in series.values():
        prometheus.shows(name, 0.31)
    playbooks = [playbook(gated, GATE), playbook(good), *(playbook(n, hopeless=True) for n in (bad, unknown))]
    shop = Shop(real_consul_module.address)
    for name in (gated, good, bad, unknown):
        shop.fail(name)
    loaded = configuration(tmp_path, real_consul_module.address, prometheus.address, *playbooks)
    async with at_work(loaded) as run_of:
        await eventually(lambda: run_of(good), is_in(RunState.VERIFYING), within_s=60)
        shop.heal(good)
        waiting = await eventually(lambda: run_of(gated), lambda r: r is not None and r.attempt > 1, within_s=60)
        assert "is not < 0.05" in "".join(waiting.log)
        assert shop.flag(gated) is None
        assert (await run_of(good)).good_looks == 0
        prometheus.exporter.samples |= {series[gated]: 0.01, series[good]: 0.01}
        await eventually(lambda: run_of(gated), is_in(RunState.VERIFYING), within_s=60)
        shop.heal(gated)
        ended = [
            await eventually(lambda name=name: run_of(name), OVER, within_s=60)
            for name in (gated, good, bad, unknown)
        ]
    states = [run and run.state for run in ended]
    assert states == [RunState.DONE, RunState.DONE, RunState.FAILED, RunState.HELD], ended
    assert any(f'service="{bad}"}} is not < 0.05 after 3 s; undoing' in line for line in ended[2].log), ended[2]
    assert ended[3].reason == "inconclusive after 3 s: no data: the query gives nothing"
    flags = [shop.flag(name) is not None for name in (gated, good, bad, unknown)]
    assert flags == [True, True, False, True], "only what failed is undone"


async def test_where_prometheus_is_away_a_gate_stays_shut_and_a_verification_is_inconclusive(
    real_consul_module: RealConsul, tmp_path: Path, unique: str
) -> None:
    gated, blind = f"{unique}-gated", f"{unique}-blind"
    shop = Shop(real_consul_module.address)
    for name in (gated, blind):
        shop.fail(name)
    gate = {key: value for key, value in GATE.items() if key != "retry"}
    playbooks = (playbook(gated, gate), playbook(blind, hopeless=True))
    loaded = configuration(tmp_path, real_consul_module.address, closed_address(), *playbooks)
    async with at_work(loaded) as run_of:
        ended = [await eventually(lambda name=name: run_of(name), OVER, within_s=60) for name in (gated, blind)]
    assert [run and run.state for run in ended] == [RunState.FAILED, RunState.HELD]
    assert all(run is not None and "Prometheus cannot be asked" in run.reason for run in ended)
    assert [shop.flag(name) is None for name in (gated, blind)] == [True, False]


def test_a_playbook_that_asks_is_refused_where_nobody_can_be_asked(tmp_path: Path) -> None:
    verified, gated, neither = playbook("verified"), playbook("gated", GATE), playbook("neither")
    for one in (gated, neither):
        one["verify"].pop("prometheus")
    for address, usable in (("", {"neither"}), ("http://127.0.0.1:9090", {"verified", "gated", "neither"})):
        loaded = configuration(tmp_path, "http://127.0.0.1:1", address, verified, gated, neither)
        given, broken = configured(loaded, SystemClock().now())
        assert {p.id for p in given.playbooks} == usable
        assert {"it asks Prometheus, and actions.prometheus.address is not set"} >= {e.message for e in broken}


async def test_check_says_whether_prometheus_answers(prometheus: RealPrometheus, tmp_path: Path) -> None:
    found = {}
    for address in ("", closed_address(), prometheus.address):
        loaded = configuration(tmp_path, "http://127.0.0.1:1", address)
        found[address] = [(f.area, f.ok) for f in await prometheus_rights(loaded, 10.0)]
    assert list(found.values()) == [[], [("prometheus", False)], [("prometheus", True)]]
