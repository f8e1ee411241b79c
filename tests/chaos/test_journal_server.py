"""PostgreSQL goes away under the leader, and comes back: the same one, or another that knows less."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from tests.chaos.conftest import judged
from tests.chaos.world import World
from tests.support.chaos import BLACKHOLE, Chaos
from tests.support.postgresql import RealPostgres, Standby, served

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(480)]
WATCHED_S = 6.0  # in which what fails would have been repaired


@pytest.fixture
def postgres() -> Iterator[RealPostgres]:
    """Of this world alone: it is stopped."""
    with served() as server:
        yield server


async def test_postgresql_is_stopped_and_starts_again(world: World, postgres: RealPostgres) -> None:
    """Nothing is done without a journal; with it again, what was open is taken up."""
    await world.pair()
    load = asyncio.create_task(world.load(random.Random(3)))
    await world.until("something is repaired", lambda: len(world.effects()) > 1)
    await asyncio.to_thread(postgres.stop)
    await world.until("the leader has ended", lambda: any(r.ends for r in world.replicas.values()))
    sent = len(world.notes.lines("sends"))
    await asyncio.sleep(WATCHED_S / 2)
    assert len(world.notes.lines("sends")) == sent
    await asyncio.to_thread(postgres.start)
    await world.until("repairs go on", lambda: len(world.notes.lines("sends")) > sent + 1)
    load.cancel()
    assert {code for each in world.replicas.values() for code in each.ends} <= {70, 74}
    await judged(world)


async def test_a_fail_over_that_lost_the_last_commits(world: World, postgres: RealPostgres) -> None:
    """Promise 18: it is noticed, whoever leads next; nothing is done until a person resumes."""
    async with Chaos(f"tcp://127.0.0.1:{postgres.port}") as stream:
        standby = Standby(int(stream.address.rpartition(":")[2]))
        try:
            await asyncio.to_thread(standby.open)
            a, _ = await world.pair()
            await world.repaired(world.service("fenced"))
            await world.until("its outcome is journaled", lambda: not world.record().open_attempts)
            stream.set(BLACKHOLE)  # it gets no more, and the primary does not wait for it
            await world.repaired(world.service("once"))
            await world.until("what was lost was marked", lambda: not world.record().open_attempts)
            known = world.record().lines[-1].seq
            await asyncio.sleep(1.5)  # a mark is left beside the lease each second
            await asyncio.to_thread(postgres.stop)
            await standby.promote()
            a.wanted = False  # whoever leads next has to know it from the lease, or from having read along
            await world.move_journal(standby.dsn_of(world.name))
            world.lost_commits = True
            assert world.record().lines[-1].seq < known
            await world.led("b")
            before = len(world.notes.lines("sends"))
            await world.fail(world.service("keyed"))
            await asyncio.sleep(WATCHED_S)
            assert len(world.notes.lines("sends")) == before
            assert (await world.replicas["b"].bot.ask("resume"))["ok"]
            await world.until("it is repaired", lambda: world.effects(world.service("keyed")))
            await judged(world)
        finally:
            await asyncio.to_thread(standby.close)
