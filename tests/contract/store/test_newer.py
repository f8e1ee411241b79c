"""A journal that a newer consulguard has written: it can be read, and is not written to."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from consulguard.errors import ConfigError
from consulguard.journal import BODY_VERSION, SqliteStore, Store
from consulguard.journal.postgresql import PostgresStore

from tests.support.messages import draft
from tests.support.postgresql import RealPostgres

NEWER = msgspec.structs.replace(draft(2), version=BODY_VERSION + 1, body=b'{"event": "Resharded"}')
Make = Callable[..., Store]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def make(request: pytest.FixtureRequest, tmp_path: Path, schema: str) -> Make:
    path = tmp_path / "j.db"
    if request.param == "sqlite":
        return lambda readonly=False: SqliteStore(path, readonly=readonly)
    dsn = request.getfixturevalue("postgres").dsn

    def made(readonly: bool = False) -> Store:
        store = PostgresStore(path, dsn=lambda: dsn, readonly=readonly)
        return store.shared(take_over=True, schema=schema)

    return made


@pytest.fixture(params=["entries", "tables"])
async def newer(request: pytest.FixtureRequest, make: Make, tmp_path: Path, schema: str) -> int:
    """Where the journal ends; a newer consulguard has changed its entries, or its tables."""
    store = make()
    await store.open()
    last = await store.append([draft(1), NEWER if request.param == "entries" else draft(2)])
    await store.close()
    if request.param == "tables" and isinstance(store, SqliteStore):
        with sqlite3.connect(tmp_path / "j.db") as con:
            con.execute("PRAGMA user_version = 99")
        con.close()
    elif request.param == "tables":
        postgres: RealPostgres = request.getfixturevalue("postgres")
        await postgres.ask(f"INSERT INTO {schema}.migrations (version) VALUES (99)")
    return last


async def test_it_is_not_written_to(make: Make, newer: int) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"written by a newer consulguard .*: upgrade"):
            await make().open()
    reader = make(readonly=True)
    await reader.open()
    assert (await reader.last())[0] == newer
    await reader.close()


async def test_it_can_be_read_and_proved(make: Make, newer: int) -> None:
    reader = make(readonly=True)
    await reader.open()
    assert [entry.seq async for entry in reader.entries()] == [1, newer]
    report = await reader.verify()
    assert (report.ok, report.entries) == (True, 2)
    await reader.close()


@pytest.mark.real
async def test_its_writer_is_not_shut_out_by_an_older_one(
    postgres: RealPostgres, schema: str, tmp_path: Path
) -> None:
    def made(name: str) -> PostgresStore:
        return PostgresStore(tmp_path / name, dsn=lambda: postgres.dsn).shared(take_over=True, schema=schema)

    async with made("newer") as writer:
        await writer.append([NEWER])
        steps: list[Callable[[], Awaitable[object]]] = [made("older").open, made("older").open]
        for step in steps:
            with pytest.raises(ConfigError, match="newer consulguard"):
                await step()
        assert await writer.append([msgspec.structs.replace(NEWER, at=draft(3).at)]) == 2
