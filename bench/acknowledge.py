"""How soon Slack gets its acknowledgement while the daemon's loop is at work, beside a bare aiohttp handler.

People say ``/consulguard status`` through the Slack twin, ``CROWD`` at a time, by both doors. The loop is kept
busy as a deciding daemon keeps it: turns of ``TURN_S`` seconds that nobody interrupts, with as much time between
them. What is measured is the whole way from the twin and back, in one process with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from aiohttp import web
from consulguard.clock import SystemClock
from consulguard.serve.slack import Inbox, SlackHttpDoor, SlackSocket
from consulguard.testing.slack_people import SlackPeople
from consulguard.testing.slack_state import SlackUser
from consulguard.testing.slack_twin import SlackTwin

from bench.measure import percentile, table

COUNTS = {"tiny": 40, "small": 2000, "large": 20_000}
CROWD = 10
TURN_S = 0.02

Ask = Callable[[], Awaitable[None]]


async def _busy() -> None:
    while True:
        end = time.perf_counter() + TURN_S
        while time.perf_counter() < end:
            pass
        await asyncio.sleep(TURN_S)


async def _latencies(ask: Ask, count: int) -> list[float]:
    """Seconds of each of ``count`` questions."""
    found: list[float] = []

    async def person() -> None:
        while len(found) < count:
            began = time.perf_counter()
            await ask()
            found.append(time.perf_counter() - began)

    busy = asyncio.create_task(_busy())
    await asyncio.gather(*(person() for _ in range(CROWD)))
    busy.cancel()
    return found[:count]


@contextlib.asynccontextmanager
async def _served(routes: list[web.RouteDef]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _bare() -> AsyncIterator[Ask]:
    async def ok(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    async with _served([web.post("/", ok)]) as url, aiohttp.ClientSession() as session:

        async def ask() -> None:
            async with session.post(url, data=b"x" * 500) as answer:
                await answer.read()

        yield ask


def _inbox() -> Inbox:
    inbox = Inbox(lambda envelope: inbox.done())
    return inbox


@contextlib.asynccontextmanager
async def _socket() -> AsyncIterator[Ask]:
    twin = SlackTwin()
    people = SlackPeople(twin)
    ann = twin.add_user("ann")
    async with twin:
        door = asyncio.create_task(SlackSocket(_inbox(), lambda: people.app_token, twin.api, connections=2).run())
        await people.connected(2)
        yield lambda: _said(people, ann)
        door.cancel()
        await asyncio.gather(door, return_exceptions=True)


@contextlib.asynccontextmanager
async def _http() -> AsyncIterator[Ask]:
    twin = SlackTwin()
    people = SlackPeople(twin)
    ann = twin.add_user("ann")
    clock = SystemClock()
    door = SlackHttpDoor(_inbox(), lambda: (people.secret,), lambda: clock.now().timestamp(), since=0.0)
    async with twin, _served(door.routes()) as people.door:
        yield lambda: _said(people, ann)


async def _said(people: SlackPeople, who: SlackUser) -> None:
    await people.command(who, "status")


async def measured(count: int) -> str:
    rows, base = [], 0.0
    for name, way in (("bare aiohttp handler", _bare), ("signed HTTP", _http), ("Socket Mode", _socket)):
        async with way() as ask:
            took = await _latencies(ask, count)
        base = base or percentile(took, 0.99)
        shares = [f"{percentile(took, share) * 1e3:.1f} ms" for share in (0.5, 0.99, 1.0)]
        rows.append((name, *shares, f"{percentile(took, 0.99) / base:.1f}x"))
    title = f"acknowledge: {count:,} commands, {CROWD} at a time, the loop busy in turns of {TURN_S * 1e3:.0f} ms"
    return f"{title}\n\n{table(('door', 'p50', 'p99', 'longest', 'p99 to the bare one'), rows)}"


def main(size: str, seconds: float | None) -> None:
    print(asyncio.run(measured(COUNTS[size])))
