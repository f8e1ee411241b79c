"""A service that is slow only for its caller: a real Consul sees nothing, a real Prometheus does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from consulguard.app.service import standing
from consulguard.config import load
from consulguard.testing.real_consul import RealConsul

from tests.e2e.support.bot import FAST
from tests.shell.act.support import closed_address, raw
from tests.support.prometheus import RealPrometheus
from tests.support.waiting import eventually

pytestmark = pytest.mark.real
QUERY = "last_over_time(calls_failed[10m])"


def configuration(folder: Path, consul: str, prometheus: str) -> Any:
    calls = {"query": QUERY, "caller": "source", "callee": "destination", "every": "1s"}
    config: dict[str, Any] = FAST | {
        "consul": {"http_addr": consul},
        "journal": {"path": "state/journal.sqlite"},
        "watch": {"settle": "1s", "depends_on": {"front": ["ledger", "mail"]}},
        "correlate": {"resolve": "1s", "calls": calls},
        "actions": {"prometheus": {"address": prometheus}},
        "playbooks": {"allow_empty": True},
    }
    path = folder / "consulguard.yaml"
    path.write_text(json.dumps(config))
    return load(path)


def register(consul: str, name: str) -> None:
    check = {"CheckID": name, "Name": "ttl", "TTL": "1h", "Status": "passing"}
    raw(consul, "PUT", "/v1/agent/service/register", {"Name": name, "ID": name, "Port": 1, "Checks": [check]})


async def test_calls_accuse_a_service_whose_own_check_passes(
    real_consul_module: RealConsul, prometheus: RealPrometheus, tmp_path: Path
) -> None:
    consul = real_consul_module.address
    for name in ("front", "ledger", "mail"):
        register(consul, name)
    measured = {"ledger": 0.75, "mail": 0.0}
    for name, share in measured.items():
        sample = f'calls_failed{{source="front",destination="{name}"}}'
        prometheus.exporter.samples[sample] = share
        await asyncio.to_thread(prometheus.shows, sample, share)
    async with standing(configuration(tmp_path, consul, prometheus.address)) as service:
        await service.daemon.seen_all.wait()
        raw(consul, "PUT", "/v1/agent/check/fail/front")

        async def why() -> tuple[str, ...]:
            incidents = service.daemon.state.book.incidents.values()
            return next((i.why for i in incidents if i.root.name == "ledger"), ())

        told = await eventually(why, bool, within_s=60.0)
        assert "75% of front's calls to ledger fail (Prometheus)." in told


async def test_a_prometheus_that_is_away_is_no_data(real_consul_module: RealConsul, tmp_path: Path) -> None:
    async with standing(configuration(tmp_path, real_consul_module.address, closed_address())) as service:
        await service.daemon.seen_all.wait()
        assert service.daemon.state.book.calls == {}
