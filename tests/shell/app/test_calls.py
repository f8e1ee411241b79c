"""What is told of measured calls, and what becomes of it when Prometheus goes away: against a small server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from consulguard.act import Prometheus
from consulguard.app.calls import MISSES, CallSettings, CallWatch
from consulguard.events import CallsMeasured
from consulguard.testing import FakeClock

SETTINGS = CallSettings(query="q", caller="from", callee="to", failing=0.1, every_s=15.0)


class Scene:
    def __init__(self) -> None:
        self.series: list[tuple[dict[str, str], Any]] = []
        self.status = 200
        self.told: list[CallsMeasured] = []

    def shows(self, **shares: float) -> None:
        """By callee, all called by a."""
        self.series = [({"from": "a", "to": name}, share) for name, share in shares.items()]

    async def answer(self, request: web.Request) -> web.Response:
        result = [{"metric": labels, "value": [0, str(value)]} for labels, value in self.series]
        body = {"status": "success", "data": {"resultType": "vector", "result": result}}
        return web.Response(text=json.dumps(body), status=self.status)

    async def emit(self, event: CallsMeasured) -> None:
        self.told.append(event)

    def news(self) -> list[dict[str, float | None]]:
        found, self.told = self.told, []
        return [{rate.callee: rate.failed for rate in event.rates} for event in found]


@pytest.fixture
async def scene() -> AsyncIterator[tuple[Scene, CallWatch]]:
    made = Scene()
    app = web.Application()
    app.router.add_post("/api/v1/query", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield made, CallWatch(Prometheus(address=f"http://127.0.0.1:{port}"), SETTINGS, FakeClock(), made.emit)
    finally:
        await runner.cleanup()


async def test_only_what_has_changed_is_told(scene: tuple[Scene, CallWatch]) -> None:
    made, watch = scene
    made.shows(b=0.0, c=0.3)
    await watch.look()
    assert made.news() == [{"b": 0.0, "c": 0.3}]
    made.shows(b=0.05, c=0.4)
    await watch.look()
    assert made.news() == []
    made.shows(b=0.1, c=0.8)
    await watch.look()
    assert made.news() == [{"b": 0.1, "c": 0.8}]
    made.shows(b=0.06)
    await watch.look()
    assert made.news() == [{"c": None}]
    made.shows(b=0.04)
    await watch.look()
    assert made.news() == [{"b": 0.04}]


async def test_without_answers_nothing_is_known_and_then_all_is_told_again(scene: tuple[Scene, CallWatch]) -> None:
    made, watch = scene
    made.shows(b=0.5)
    await watch.look()
    made.news()
    made.status = 503
    for _ in range(MISSES - 1):
        await watch.look()
    assert made.told == []
    await watch.look()
    (lost,) = made.told
    assert "503" in lost.lost
    made.news()
    await watch.look()
    assert made.told == []
    made.status = 200
    await watch.look()
    assert made.news() == [{"b": 0.5}]


@pytest.mark.parametrize(
    ("labels", "value"),
    [
        ({"from": "a"}, 0.5),
        ({"from": "a", "to": ""}, 0.5),
        ({"from": "a", "to": "x" * 300}, 0.5),
        ({"from": "a", "to": "b"}, "NaN"),
        ({"from": "a", "to": "b"}, 1.5),
        ({"from": "a", "to": "b"}, -0.1),
        ({"from": "a", "to": "b"}, "+Inf"),
    ],
)
async def test_what_is_no_share_between_two_services_is_left_out(
    scene: tuple[Scene, CallWatch], labels: dict[str, str], value: Any
) -> None:
    made, watch = scene
    made.series = [(labels, value), ({"from": "a", "to": "c"}, 0.2)]
    await watch.look()
    assert made.news() == [{"c": 0.2}]
