"""The servers a world stands on: one of each for all scenes of a file."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from consulguard.testing import RealConsul

from tests.chaos import onlooker
from tests.chaos.check import check, counted
from tests.chaos.notes import now
from tests.chaos.world import Servers, World
from tests.support.postgresql import RealPostgres


def calls(address: str, token: str = "") -> Any:
    """Asks Consul directly."""

    async def call(method: str, path: str, body: Any = None) -> Any:
        headers = {"X-Consul-Token": token} if token else {}
        async with (
            aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.request(method, address + path, json=body) as answer,
        ):
            text = await answer.text()
            if answer.status != 200:
                if answer.status == 404 and method == "GET":
                    return None
                raise RuntimeError(f"{path}: {answer.status} {text[:200]}")
            return json.loads(text) if text.strip() else None

    return call


@pytest.fixture
async def servers(quick_consul: RealConsul, postgres: RealPostgres, unique: str) -> Servers:
    """Consul keeps the lease; a database of its own keeps the journal."""
    call = calls(quick_consul.address)
    return Servers(consul=quick_consul.address, call=call, dsn=await postgres.database(unique))


@pytest.fixture
async def world(servers: Servers, tmp_path: Path, unique: str) -> AsyncIterator[World]:
    look = onlooker.in_consul(servers.call, f"consulguard/{unique}")
    async with World(servers, tmp_path, unique, look=look) as made:
        yield made


async def taken_away(
    world: World, take: Callable[[], Awaitable[object]], *, renew_s: float, after_s: float
) -> None:
    """The leader's lease goes: it notices within a renewal, and nobody has it again before ``after_s``."""
    a, _ = await world.pair()
    await world.repaired(world.service("fenced"))
    began = now()
    await take()
    await world.until("a has noticed", lambda: "lease_lost" in a.bot.output())
    assert now() - began < renew_s + 2.0
    await world.until("somebody has it again", lambda: len(world.epochs()) > 1)
    gains = [line["t"] for line in world.notes.lines("lease") if line["holder"]]
    assert gains[1] - began >= after_s - 0.5  # the onlooker's next look
    await world.led()
    await world.repaired(world.service("once"))
    await judged(world)


async def judged(world: World, *, epochs: int = 2) -> Path:
    """The end of a scene: everything held, and there was something to hold."""
    books = await world.close_books()
    assert check(books) == [], books
    there = counted(books)
    assert there["epochs"] >= epochs, there
    assert there["effects"] > 0 < there["told"], there
    return books
