"""The servers a world stands on: one of each for all scenes of a file."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from consulguard.testing import RealConsul

from tests.chaos import onlooker
from tests.chaos.check import check, counted
from tests.chaos.world import Servers, World
from tests.support.consul import need_consul
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


@pytest.fixture(scope="module")
def chaos_consul() -> Iterator[RealConsul]:
    need_consul()
    server = RealConsul(config={"session_ttl_min": "1s"})
    server.open()
    yield server
    server.close()


@pytest.fixture
async def servers(chaos_consul: RealConsul, postgres: RealPostgres, unique: str) -> Servers:
    """Consul keeps the lease; a database of its own keeps the journal."""
    dsn = await database(postgres, unique)
    return Servers(consul=chaos_consul.address, call=calls(chaos_consul.address), dsn=dsn)


async def database(postgres: RealPostgres, name: str) -> str:
    """A new one; how to get there."""
    await postgres.ask(f"CREATE DATABASE {name}")
    return postgres.dsn.replace("dbname=postgres", f"dbname={name}")


@pytest.fixture
async def world(servers: Servers, tmp_path: Path, unique: str) -> AsyncIterator[World]:
    look = onlooker.in_consul(servers.call, f"consulguard/{unique}")
    async with World(servers, tmp_path, unique, look=look) as made:
        yield made


async def judged(world: World, *, epochs: int = 2) -> Path:
    """The end of a scene: everything held, and there was something to hold."""
    books = await world.close_books()
    assert check(books) == [], books
    there = counted(books)
    assert there["epochs"] >= epochs, there
    assert there["effects"] > 0 < there["told"], there
    return books
