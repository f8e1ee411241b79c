"""The HTTP door: what each address answers, and to whom it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import msgspec
import pytest
from consulguard.serve import Health, HttpDoor, Metrics, ServiceHealth, Sights
from consulguard.testing.ports import free_ports

HEALTH = Health(
    alive=True,
    turned_at=1.0,
    ready=True,
    leader=True,
    view_trusted=True,
    incidents={"open": 2},
    runs=0,
    storm=False,
    paused=False,
    budgets=(("total", 0.5),),
)
SERVICES = (
    ServiceHealth(service="web", datacenter="dc1", state="passing"),
    ServiceHealth(service="pay", datacenter="dc1", state="critical", incident="inc-1"),
    ServiceHealth(service="slow", datacenter="dc1", state="warning"),
    ServiceHealth(service="dark", datacenter="dc1", state="unknown"),
    ServiceHealth(service="twice", datacenter="dc1", state="passing"),
    ServiceHealth(service="twice", datacenter="dc2", state="critical"),
)


class Door:
    def __init__(self) -> None:
        self.health = HEALTH
        self.reloaded = 0
        self.wrong = ""
        self.sights = Sights(
            health=lambda: self.health,
            services=lambda name: [s for s in SERVICES if name in ("", s.service)],
            metrics=Metrics(),
            reload=self.reload,
        )

    async def reload(self) -> str:
        self.reloaded += 1
        return self.wrong

    async def ask(self, path: str, method: str = "GET", **more: Any) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session:
            async with session.request(method, f"http://127.0.0.1:{self.port}{path}", **more) as answer:
                return answer.status, await answer.text()

    async def open(self) -> None:
        self.port = free_ports(1)[0]
        self._door = HttpDoor(f"127.0.0.1:{self.port}", self.sights)
        await self._door.start()

    async def close(self) -> None:
        await self._door.stop()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    await door.open()
    yield door
    await door.close()


async def test_healthy_fails_only_when_the_loop_is_stuck(door: Door) -> None:
    door.health = msgspec.structs.replace(HEALTH, ready=False, leader=False, view_trusted=False)
    assert await door.ask("/-/healthy") == (200, "ok\n")
    door.health = msgspec.structs.replace(HEALTH, alive=False)
    assert await door.ask("/-/healthy") == (503, "the loop is stuck\n")


async def test_ready_tells_leader_from_standby(door: Door) -> None:
    assert await door.ask("/-/ready") == (200, "leader\n")
    door.health = msgspec.structs.replace(HEALTH, leader=False)
    assert await door.ask("/-/ready") == (200, "standby\n")
    door.health = msgspec.structs.replace(HEALTH, ready=False)
    assert await door.ask("/-/ready") == (503, "starting\n")


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("?service=web", 200, '"passing"'),
        ("?service=slow", 200, '"warning"'),
        ("?service=pay", 503, '"inc-1"'),
        ("?service=dark", 503, '"unknown"'),
        ("?service=twice", 503, '"dc2"'),
        ("?service=nobody", 404, "no such service"),
        ("?service=", 400, "NAME"),
        ("", 400, "NAME"),
        ("?service=web&x=1", 400, "NAME"),
        (f"?service={'a' * 300}", 400, "NAME"),
    ],
)
async def test_a_monitor_asks_about_one_service(door: Door, query: str, status: int, word: str) -> None:
    answered, text = await door.ask(f"/v1/health{query}")
    assert answered == status
    assert word in text


async def test_reload_answers_when_it_is_done(door: Door) -> None:
    assert await door.ask("/-/reload", "POST") == (200, "ok\n")
    door.wrong = "a.yaml:2: stepz"
    assert await door.ask("/-/reload", "POST") == (500, "a.yaml:2: stepz\n")
    assert door.reloaded == 2


async def test_reload_is_a_post_of_no_browser_and_only_where_it_is_offered(door: Door) -> None:
    assert (await door.ask("/-/reload"))[0] == 405
    assert (await door.ask("/-/reload", "POST", headers={"Origin": "null"}))[0] == 403
    closed = Door()
    closed.sights = replace(closed.sights, reload=None)
    await closed.open()
    assert (await closed.ask("/-/reload", "POST"))[0] == 403
    await closed.close()
    assert door.reloaded + closed.reloaded == 0


async def test_metrics_say_how_things_are(door: Door) -> None:
    _, text = await door.ask("/metrics")
    lines = text.splitlines()
    assert 'consulguard_incidents{state="open"} 2.0' in lines
    assert 'consulguard_budget_remaining_ratio{budget="total"} 0.5' in lines
    assert 'consulguard_service_state{datacenter="dc1",service="pay",state="critical"} 1.0' in lines
    assert "consulguard_config_last_reload_successful 1.0" in lines
