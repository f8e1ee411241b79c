"""A bot at work on a real Consul, scraped by a real Prometheus: every metric of the docs has been there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from consulguard.testing import RealConsul
from consulguard.testing.ports import free_ports
from ruamel.yaml import YAML

from tests.e2e.support.scene import Scene
from tests.support.prometheus import RealPrometheus, need_prometheus
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]

DOCS = Path(__file__).parents[2] / "docs/metrics.md"
NAMES = re.findall(r"^\| `(consulguard_\w+)` \|.*\| (histogram)?", DOCS.read_text(), re.MULTILINE)
BOARD = DOCS.parents[1] / "helm/consulguard/dashboards/consulguard.json"
ALERTS = DOCS.parents[1] / "helm/consulguard/rules/alerts.yaml"
NOBODY = "http://127.0.0.1:1/api/"  # Slack is away: what could not be told is counted as well


class Watched:
    """The scene, the port of its bot, and the server that scrapes it."""

    def __init__(self, scene: Scene, port: int, server: RealPrometheus) -> None:
        self.scene = scene
        self.port = port
        self.server = server

    async def has(self, query: str, within_s: float = 60.0) -> list[dict[str, object]]:
        """The series of a query, once there are any."""

        async def look() -> list[dict[str, object]]:
            return await asyncio.to_thread(self.server.ask, query)

        try:
            return await eventually(look, bool, within_s=within_s)
        except AssertionError as error:
            raise AssertionError(f"{query}: {error}") from None


@contextlib.asynccontextmanager
async def watched(consul: RealConsul, folder: Path, name: str) -> AsyncIterator[Watched]:
    need_prometheus()
    port = free_ports(1)[0]
    async with Scene(consul, folder, name) as scene:
        scene.book("repair")
        asked = {"approvers": {"users": ["ann"]}, "count": 1, "forbid_self": True, "ttl": "10m"}
        scene.book("asked", mode="approve", approval=asked)
        scene.book("seen", mode="observe")
        for service in ("repair", "asked", "seen"):
            await scene.service(service)
        slack = {"enabled": True, "channel": "C0123456789", "api_url": NOBODY}
        bot = scene.make_bot(server={"listen": f"127.0.0.1:{port}"}, slack=slack)
        bot.start(env={"SLACK_BOT_TOKEN": "xoxb-none"})
        server = RealPrometheus(f"127.0.0.1:{port}")
        try:
            await asyncio.to_thread(server.start)
            await scene.settled()
            yield Watched(scene, port, server)
        finally:
            await asyncio.to_thread(server.close)


async def play(watched: Watched) -> None:
    """One repaired by itself, one after a person agreed, one only looked at."""
    scene = watched.scene
    await scene.fail("repair", "asked", "seen")
    await approve(scene, "asked")
    for service in ("repair", "asked"):
        await scene.until_run(service, "verifying")
    await scene.heal("repair", "asked", "seen")
    for service in ("repair", "asked"):
        await scene.until_run(service, "done")
    await scene.until("all is well", lambda: not scene.incidents())


async def approve(scene: Scene, service: str) -> None:
    text = await scene.until("a question", lambda: scene.record().fact(scene.named(service), "Approval"))
    body = {"command": "approve", "args": {"id": text.split()[-1], "users": ["ann"]}, "who": "ann"}
    connector = aiohttp.UnixConnector(path=str(scene.bot.journal.with_suffix(".sock")))
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.post("http://daemon/v1/command", json=body) as answer:
            assert answer.status == 200, await answer.text()


async def test_every_metric_reaches_prometheus(
    real_consul_module: RealConsul, tmp_path: Path, unique: str
) -> None:
    async with watched(real_consul_module, tmp_path, unique) as seen:
        await play(seen)
        for name, histogram in NAMES:
            await seen.has(f"{name}_count" if histogram else name)
        for query in (*panels(), *alerts()):
            await seen.has(query)
        one = f'service="{seen.scene.named("repair")}"'
        await seen.has(f'consulguard_service_state{{{one},state="passing"}} == 1')
        for count in (
            'remediations_total{playbook="repair",mode="auto",outcome="done"} == 1',
            'remediations_total{playbook="asked",mode="approve",outcome="done"} == 1',
            'remediations_blocked_total{reason="mode"} >= 1',
            'verifications_total{result="passed"} == 2',
            'approvals_total{decision="approved"} == 1',
            'state_transitions_total{from="passing",to="critical"} >= 3',
            "incident_duration_seconds_count >= 3",
            "consul_up == 1",
            "is_leader == 1",
        ):
            await seen.has(f"consulguard_{count}")
        for path, status in (("healthy", 200), ("ready", 200)):
            assert (await get(seen, f"/-/{path}"))[0] == status
        assert await get(seen, f"/v1/health?service={seen.scene.named('repair')}") == (200, "passing")
        assert (await get(seen, "/v1/health?service=nobody"))[0] == 404
        await seen.scene.fail("seen")
        down = f"/v1/health?service={seen.scene.named('seen')}"
        await eventually(lambda: get(seen, down), lambda told: told == (503, "critical"), within_s=60.0)


def panels() -> list[str]:
    """The query of each panel of the dashboard, as Grafana would send it."""
    given = {"$job": "consulguard", "$__range": "1h"}
    found = []
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for variable, value in given.items():
                query = query.replace(variable, value)
            assert "$" not in query
            found.append(query)
    assert len(found) >= 20
    return found


def alerts() -> list[str]:
    """What each alert looks at: its expression without the comparison, which is false while all is well."""
    rules = [rule for group in YAML(typ="safe").load(ALERTS)["groups"] for rule in group["rules"]]
    found = [re.split(r" (?:[<>]=?|==) [0-9.]+", rule["expr"])[0] for rule in rules]
    found = [query.replace('{outcome!="done"}', "") for query in found]  # nothing went wrong here
    return [query for query in found if not query.startswith("absent")]


async def get(seen: Watched, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{seen.port}{path}") as answer:
            told = await answer.json() if answer.content_type == "application/json" else {}
            return answer.status, told.get("state", "")
