"""Two real daemons, one lease in a real Consul, one journal in a real PostgreSQL: one acts at a time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from consulguard.journal import BODY_VERSION, Draft
from consulguard.journal.postgresql import PostgresStore
from consulguard.testing import RealConsul

from tests.e2e.support.bot import Bot
from tests.e2e.support.journal import Record
from tests.e2e.support.pair import Pair
from tests.e2e.support.receiver import Receiver, recorded
from tests.e2e.support.shared import Journal
from tests.support.chaos import BLACKHOLE, GONE, NONE, Chaos, Fault
from tests.support.postgresql import RealPostgres

pytestmark = [pytest.mark.real, pytest.mark.slow]
SNAPSHOTS = b"FROM snapshots"
SILENT = {  # what is asked until then; who only reads along does not ask the first
    "opened": (b"pg_is_in_recovery",),
    "replayed": (b"pg_is_in_recovery", SNAPSHOTS, SNAPSHOTS),  # the chain is checked from the newest one on before
}


class Recorded(Pair):
    """With a target that keeps what was done to it, and one service that fails."""

    def __init__(self, *given: Any, name: str, **sections: Any) -> None:
        super().__init__(*given, **sections)
        self.name = name
        self.recording = self.folder / "recording"

    async def begun(self, failpoint: str = "") -> tuple[Bot, Bot]:
        """a, which leads and has settled, and b, which has been started. The fail-point is a's."""
        first, second = self.make("a", self.name), self.make("b", self.name)
        first.start(failpoint)
        await self.until("a leads", lambda: len(self.epochs()) == 1 and self.settled_at())
        second.start()
        return first, second

    def effects(self) -> list[dict[str, Any]]:
        return [line for line in recorded(self.recording) if line["effect"]]


@pytest.fixture
async def pair(
    quick_consul: RealConsul, postgres: RealPostgres, tmp_path: Path, unique: str
) -> AsyncIterator[Recorded]:
    journal = Journal(await postgres.database(unique))
    recording = tmp_path / "recording"
    lease = {"backend": "consul", "key": f"consulguard/{unique}", "ttl": "4s"}
    async with Receiver(recording, lambda attempt: attempt in journal.record().attempts, careful=True) as target:
        made = Recorded(quick_consul, journal, tmp_path, target, name=unique, coordinate=lease)
        await made.register(unique)
        yield made
        await made.end()
        await made.call(f"/v1/agent/service/deregister/{unique}")


async def test_the_leader_dies_with_an_effect_prepared(pair: Recorded) -> None:
    """kill -9 between intent and effect: the other one does it once, under the same attempt id."""
    first, _ = await pair.begun("act.before_send:kill")
    await pair.fail(pair.name)
    await first.died()
    await pair.until("b has done it", pair.effects)
    [effect] = pair.effects()
    old, new = pair.epochs()
    assert old < new == effect["epoch"]
    assert effect["journaled"]
    assert pair.record().attempts == [effect["attempt"]]
    await pair.heal(pair.name)
    await pair.until("it is verified", lambda: not pair.record().open_attempts)
    assert len(pair.effects()) == 1


async def test_the_leader_is_stopped_with_an_effect_prepared(pair: Recorded) -> None:
    """SIGSTOP between intent and effect, for longer than the lease lasts. What it then knows it does not do."""
    first, _ = await pair.begun("act.before_send:stop")
    await pair.fail(pair.name)
    await pair.until("a is stopped", lambda: first.stopped)
    await pair.until("b has done it", pair.effects)
    first.signal(signal.SIGCONT)
    await pair.until("a stands by again", lambda: "lease_lost" in first.output())
    await asyncio.sleep(1.0)  # for what should not come
    old, new = pair.epochs()[:2]
    assert old < new
    assert {effect["epoch"] for effect in pair.effects()} == {new}
    assert len(pair.effects()) == 1
    late = [line for line in pair.record().lines if line.epoch < new and line.seq > _gained(pair.record(), new)]
    assert late == []


async def test_what_a_newer_version_has_written_is_read_and_not_gone_on_from(pair: Recorded) -> None:
    """In a rolling upgrade: the effect is done, a newer one has led since, and the older one gains the lease."""
    first, second = await pair.begun("act.after_send:kill")
    await pair.until("b stands by", lambda: pair.stands_by("b"))
    await pair.fail(pair.name)
    await first.died()
    newer = PostgresStore(pair.folder / "newer", dsn=lambda: pair.journal.dsn).shared(take_over=True)
    async with newer:
        said = b'{"event": "Resharded", "at": "2026-01-01T00:00:00Z", "ring": ["x"]}'
        at, epoch = datetime.now(UTC), pair.epochs()[-1]
        last = await newer.append([Draft(at=at, kind="event", body=said, epoch=epoch, version=BODY_VERSION + 1)])
    assert await second.ended() == 78
    assert "written by a newer consulguard" in second.output()
    assert "upgrade" in second.output()
    record = pair.record()
    assert record.lines[-1].seq == last, "it has written nothing"
    assert len(record.open_attempts) == 1
    assert len(pair.effects()) == 1
    tail = await second.ask("journal", "tail", "-n", "1")
    assert [(line["seq"], line["body"]["event"]) for line in tail] == [(last, "Resharded")]


async def test_a_clean_end_hands_over(pair: Recorded) -> None:
    first, _ = await pair.begun()
    await pair.until("b stands by", lambda: pair.stands_by("b"))
    await first.stop()
    await pair.until("b leads", lambda: len(pair.epochs()) == 2)
    assert pair.epochs() == sorted(set(pair.epochs()))


@pytest.mark.parametrize("when", SILENT)
async def test_a_journal_that_says_nothing_is_left_to_the_other(
    pair: Recorded, postgres: RealPostgres, when: str
) -> None:
    """Who has gained the lease and gets no answer from PostgreSQL does not keep it, nor end."""
    async with Chaos(f"tcp://127.0.0.1:{postgres.port}") as way:
        silent = _silent(way, BLACKHOLE, SILENT[when])
        first, second = _through(pair, way), pair.make("b", pair.name)
        first.start()
        await pair.until("a gets no answer", silent.is_set)
        second.start()
        await pair.fail(pair.name)
        await pair.until("b has done it", pair.effects)
        await pair.until("a stands by again", lambda: pair.stands_by("a"))
        [led] = pair.epochs()
        assert [effect["epoch"] for effect in pair.effects()] == [led]
        way.heard = lambda chunk: None
        way.set(NONE)
        await pair.heal(pair.name)
        await second.stop()
        await pair.until("a leads after all", lambda: len(pair.epochs()) == 2)
        assert len(pair.effects()) == 1


async def test_a_journal_that_says_nothing_ends_the_only_replica(pair: Recorded, postgres: RealPostgres) -> None:
    """Whoever starts it again would tell people each time, of what had not begun."""
    del pair.sections["coordinate"]
    async with Chaos(f"tcp://127.0.0.1:{postgres.port}") as way:
        _silent(way, GONE, SILENT["replayed"])
        only = _through(pair, way)
        only.start()
        assert await only.ended() == 74
        assert "PostgreSQL has not answered" in only.output()
        assert "the journal cannot be written" not in only.output()


def _silent(way: Chaos, how: Fault, after: tuple[bytes, ...]) -> asyncio.Event:
    """Set when all of it was heard, in this order: from then on nothing gets through."""
    silent, left = asyncio.Event(), list(after)

    def heard(chunk: bytes) -> None:
        if left and left[0] in chunk:
            del left[0]
            if not left:
                way.set(how)
                silent.set()

    way.heard = heard
    return silent


def _through(pair: Recorded, way: Chaos) -> Bot:
    """Replica a, whose journal is behind a proxy."""
    dsn = pair.folder / "through"
    dsn.write_text(f"{pair.journal.dsn} port={way.address.rpartition(':')[2]}")
    dsn.chmod(0o600)
    pair.sections["journal"] = {"store": "postgresql", "dsn_file": str(dsn)}
    made = pair.make("a", pair.name)
    del pair.sections["journal"]
    return made


def _gained(record: Record, epoch: int) -> int:
    return next(line.seq for line in record.events("LeaseChanged") if line.body["held"] and line.epoch == epoch)


async def test_replicas_with_a_file_each_do_not_start(quick_consul: RealConsul, tmp_path: Path) -> None:
    bot = Bot(
        tmp_path / "bot", quick_consul.address, coordinate={"backend": "consul"}, playbooks={"allow_empty": True}
    )
    bot.start()
    assert await bot.ended() == 78
    assert "the other one could not read what this one has begun" in bot.output()
    assert "journal.store: postgresql" in bot.output()
