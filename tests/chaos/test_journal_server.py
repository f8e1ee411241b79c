"""PostgreSQL goes away under the leader, and comes back: the same one, or another that knows less."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from consulguard.testing import RealConsul

from tests.chaos import onlooker
from tests.chaos.conftest import calls, database, judged
from tests.chaos.world import Servers, World
from tests.support.chaos import BLACKHOLE, Chaos
from tests.support.postgresql import RealPostgres, Standby, need_postgres

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(480)]
WATCHED_S = 6.0  # in which what fails would have been repaired


@pytest.fixture
def primary() -> Iterator[RealPostgres]:
    need_postgres()
    server = RealPostgres()
    try:
        server.open()
        yield server
    finally:
        server.close()


@pytest.fixture
async def mortal(
    chaos_consul: RealConsul, primary: RealPostgres, tmp_path: Path, unique: str
) -> AsyncIterator[World]:
    """A world whose database server is its own."""
    call, dsn = calls(chaos_consul.address), await database(primary, unique)
    look = onlooker.in_consul(call, f"consulguard/{unique}")
    servers = Servers(consul=chaos_consul.address, call=call, dsn=dsn)
    async with World(servers, tmp_path, unique, look=look) as made:
        yield made


async def test_postgresql_is_stopped_and_starts_again(mortal: World, primary: RealPostgres) -> None:
    """Nothing is done without a journal; with it again, what was open is taken up."""
    await mortal.pair()
    load = asyncio.create_task(mortal.load(random.Random(3)))
    await mortal.until("something is repaired", lambda: len(mortal.effects()) > 1)
    await asyncio.to_thread(primary.stop)
    await mortal.until("the leader has ended", lambda: any(r.ends for r in mortal.replicas.values()))
    sent = len(mortal.notes.lines("sends"))
    await asyncio.sleep(WATCHED_S / 2)
    assert len(mortal.notes.lines("sends")) == sent
    await asyncio.to_thread(primary.start)
    await mortal.until("repairs go on", lambda: len(mortal.notes.lines("sends")) > sent + 1)
    load.cancel()
    assert {code for each in mortal.replicas.values() for code in each.ends} <= {70, 74}
    await judged(mortal)


async def test_a_fail_over_that_lost_the_last_commits(mortal: World, primary: RealPostgres) -> None:
    """Promise 18: it is noticed, whoever leads next; nothing is done until a person resumes."""
    async with Chaos(f"tcp://127.0.0.1:{primary.port}") as stream:
        standby = Standby(int(stream.address.rpartition(":")[2]))
        try:
            await asyncio.to_thread(standby.open)
            a, _ = await mortal.pair()
            await mortal.repaired(mortal.service("fenced"))
            await mortal.until("its outcome is journaled", lambda: not mortal.record().open_attempts)
            stream.set(BLACKHOLE)  # it gets no more, and the primary does not wait for it
            await mortal.repaired(mortal.service("once"))
            await mortal.until("what was lost was marked", lambda: not mortal.record().open_attempts)
            known = mortal.record().lines[-1].seq
            await asyncio.sleep(1.5)  # a mark is left beside the lease each second
            await asyncio.to_thread(primary.stop)
            await standby.promote()
            a.wanted = False  # whoever leads next has to know it from the lease, or from having read along
            await mortal.move_journal(standby.dsn.replace("dbname=postgres", f"dbname={mortal.name}"))
            mortal.lost_commits = True
            assert mortal.record().lines[-1].seq < known
            await mortal.led("b")
            before = len(mortal.notes.lines("sends"))
            await mortal.fail(mortal.service("keyed"))
            await asyncio.sleep(WATCHED_S)
            assert len(mortal.notes.lines("sends")) == before
            assert (await mortal.replicas["b"].bot.ask("resume"))["ok"]
            await mortal.until("it is repaired", lambda: mortal.effects(mortal.service("keyed")))
            await judged(mortal)
        finally:
            await asyncio.to_thread(standby.close)
