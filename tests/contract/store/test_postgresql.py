"""What a journal in PostgreSQL promises beyond any other: two replicas may reach it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from consulguard.errors import ConfigError, StaleEpoch, StoreSilent, StoreUnavailable
from consulguard.journal import JournalSettings, Mark
from consulguard.journal.postgresql import PostgresStore
from consulguard.journal.sqlite import DEFAULTS

from tests.support.chaos import BLACKHOLE, GONE, Chaos
from tests.support.messages import draft, message
from tests.support.postgresql import RealPostgres
from tests.support.waiting import eventually

pytestmark = pytest.mark.real
Make = Callable[..., PostgresStore]
BROKEN_OFF = (StaleEpoch, StoreUnavailable)
QUICK = JournalSettings(answer_s=1.0)
SOON_S = 20.0
OPENING = ("SET statement_timeout", "pg_is_in_recovery", "pg_try_advisory_lock", "FROM snapshots")


@pytest.fixture
def make(postgres: RealPostgres, schema: str, tmp_path: Path) -> Make:
    def made(
        name: str,
        *,
        known: tuple[Mark, ...] = (),
        options: str = "",
        readonly: bool = False,
        settings: JournalSettings = DEFAULTS,
    ) -> Any:
        (tmp_path / name).mkdir(exist_ok=True)
        dsn = f"{postgres.dsn} {options}"
        store = PostgresStore(tmp_path / name / "j", dsn=lambda: dsn, settings=settings, readonly=readonly)
        return store.shared(take_over=True, known=known, schema=schema)

    return made


async def test_an_earlier_writer_writes_nothing_more(make: Make) -> None:
    async with make("a") as old:
        await old.append([msgspec.structs.replace(draft(0), epoch=1)], [message()])
        [row] = await old.outbox_due("console", 1)
        async with make("b") as new:
            before = await new.last()
            late: list[Callable[[], Awaitable[object]]] = [
                lambda: old.append([msgspec.structs.replace(draft(1), epoch=1)]),
                lambda: old.append([], [message("b")]),
                lambda: old.outbox_sent(row, {"ts": "1"}),
                lambda: old.save_snapshot(1, b"old"),
                lambda: old.compact(1),
            ]
            for write in late:
                with pytest.raises(BROKEN_OFF):
                    await write()
            assert await new.last() == before
            assert await new.load_snapshot() is None
            assert [r.key for r in await new.outbox_due("console", 9)] == [row.key]
            assert await new.append([msgspec.structs.replace(draft(1), epoch=2)]) == 2


async def test_a_writer_that_kept_its_connection_is_refused_by_the_token(
    make: Make, postgres: RealPostgres, schema: str
) -> None:
    async with make("a") as old:
        await old.append([draft(0)])
        await postgres.ask(f"UPDATE {schema}.writer SET token = 'another'")
        with pytest.raises(StaleEpoch, match="another replica has taken the journal over; nothing was written"):
            await old.append([draft(1)])
        assert (await old.last())[0] == 1


async def test_a_follower_reads_beside_the_writer(make: Make) -> None:
    async with make("a") as writer:
        await writer.append([draft(n) for n in range(3)])
        async with make("b", readonly=True) as follower:
            assert [e.seq async for e in follower.entries()] == [1, 2, 3]
            await writer.append([draft(3)])
            assert [e.seq async for e in follower.entries(after=3)] == [4]
            with pytest.raises(StoreUnavailable):
                await follower.append([draft(4)])


@pytest.mark.parametrize("who", ["the same replica", "what another has seen"])
async def test_lost_commits_are_noticed(make: Make, postgres: RealPostgres, schema: str, who: str) -> None:
    """As after a fail-over to a server that had not got them yet."""
    async with make("a") as writer:
        await writer.append([draft(n) for n in range(5)])
        seq, digest = await writer.last()
    await postgres.ask(f"DELETE FROM {schema}.entries WHERE seq > 3")
    known = () if who == "the same replica" else (Mark(seq=seq, hash=digest),)
    async with make("b" if known else "a", known=known) as after:
        assert "ends at entry 3, but entry 5 was acknowledged" in after.behind
        await after.append([draft(9)])
        await after.accept(4)
    async with make("a") as again:
        assert bool(again.behind) is bool(known)  # its own mark still says so


async def test_a_server_that_may_lose_what_it_acknowledged_is_refused(make: Make) -> None:
    with pytest.raises(ConfigError, match="synchronous_commit = off"):
        await make("a", options="options='-c synchronous_commit=off'").open()


async def test_nobody_there(make: Make) -> None:
    store = make("a", options="port=1")
    with pytest.raises(StoreUnavailable, match="PostgreSQL"):
        await store.open()


def journal_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("journal")]


async def no_thread_left(before: list[str]) -> None:
    """One that waited for ever would keep the process from ending."""

    async def look() -> list[str]:
        return journal_threads()

    await eventually(look, lambda now: now == before, within_s=SOON_S)


def silent_at(way: Chaos, said: str) -> asyncio.Event:
    """Set when a client has said it: from then on nothing gets through, in either direction."""
    silent = asyncio.Event()

    def heard(chunk: bytes) -> None:
        if said.encode() in chunk:
            way.set(BLACKHOLE)
            silent.set()

    way.heard = heard
    return silent


def through(way: Chaos) -> str:
    return f"port={way.address.rpartition(':')[2]}"


@pytest.mark.parametrize("said", OPENING)
async def test_a_server_that_falls_silent_while_it_is_opened_is_given_up(
    make: Make, postgres: RealPostgres, said: str
) -> None:
    before = journal_threads()
    async with Chaos(f"tcp://127.0.0.1:{postgres.port}") as way:
        silent = silent_at(way, said)
        with pytest.raises(StoreSilent, match="has not answered for 1 s"):
            await asyncio.wait_for(make("a", options=through(way), settings=QUICK).open(), SOON_S)
        assert silent.is_set()
        await no_thread_left(before)


async def test_a_server_that_lets_nobody_in_is_silent_too(make: Make, postgres: RealPostgres) -> None:
    async with Chaos(f"tcp://127.0.0.1:{postgres.port}", BLACKHOLE) as way:
        with pytest.raises(StoreSilent, match="has not let us in within 5 s"):
            await asyncio.wait_for(make("a", options=through(way)).open(), SOON_S)


async def test_a_network_that_swallows_what_is_asked_is_silence(make: Make, postgres: RealPostgres) -> None:
    """TCP notices it before we do."""
    async with Chaos(f"tcp://127.0.0.1:{postgres.port}") as way, make("a", options=through(way)) as store:
        way.set(GONE)
        with pytest.raises(StoreSilent, match="has not answered"):
            await asyncio.wait_for(store.last(), SOON_S)


async def test_who_asks_a_silent_server_second_is_told_the_same(make: Make, postgres: RealPostgres) -> None:
    """The first one's time is over earlier, and with it the connection."""
    async with (
        Chaos(f"tcp://127.0.0.1:{postgres.port}") as way,
        make("a", options=through(way), settings=QUICK) as store,
    ):
        way.set(BLACKHOLE)
        first = asyncio.create_task(store.last(), name="first")
        await asyncio.sleep(QUICK.answer_s / 2)
        said = await asyncio.gather(first, store.last(), return_exceptions=True)
        assert [type(each) for each in said] == [StoreSilent, StoreSilent]


async def test_an_opening_that_nobody_waits_for_any_more_ends(make: Make, postgres: RealPostgres) -> None:
    before = journal_threads()
    async with Chaos(f"tcp://127.0.0.1:{postgres.port}") as way:
        silent = silent_at(way, "SET statement_timeout")
        opening = asyncio.create_task(make("a", options=through(way)).open(), name="opening")
        await asyncio.wait_for(silent.wait(), SOON_S)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await no_thread_left(before)


async def test_a_server_process_that_is_stopped_is_given_up(make: Make, postgres: RealPostgres) -> None:
    """It has taken the question, and the kernel keeps its connection: only the time tells."""
    async with make("a", settings=QUICK) as store:
        await store.append([draft(0)])
        text = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'consulguard process {} %' {}"
        [(pid,)] = await postgres.ask(text.format(os.getpid(), "ORDER BY backend_start DESC LIMIT 1"))
        os.kill(int(str(pid)), signal.SIGSTOP)
        try:
            with pytest.raises(StoreSilent):
                await asyncio.wait_for(store.append([draft(1)]), SOON_S)
            with pytest.raises(StoreUnavailable, match="must be reopened"):
                await asyncio.wait_for(store.append([draft(1)]), SOON_S)
        finally:
            os.kill(int(str(pid)), signal.SIGCONT)
    async with make("a") as again:
        assert (await again.last())[0] in (1, 2)  # nobody knew


async def test_a_server_that_comes_back(tmp_path: Path) -> None:
    server = RealPostgres()
    try:
        server.open()
        store = PostgresStore(tmp_path / "j", dsn=lambda: server.dsn)
        async with store:
            await store.append([draft(n) for n in range(5)])
            server.stop()
            with pytest.raises(StoreUnavailable):
                await store.append([draft(5)])
            server.start()
            with pytest.raises(StoreUnavailable, match="must be reopened"):
                await store.append([draft(5)])
        async with store:
            assert store.behind == ""
            assert (await store.verify()).entries == 5
    finally:
        server.close()
