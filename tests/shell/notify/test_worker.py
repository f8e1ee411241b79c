"""The outbox worker: its pace, its patience, and that nothing is lost or told twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from consulguard.clock import FakeClock, SystemClock
from consulguard.errors import Final, NotifyUnavailable, StoreUnavailable, Temporary
from consulguard.journal import SqliteStore
from consulguard.model import JsonObject, OutboxRow
from consulguard.notify import OutboxSettings, OutboxWorker, Told
from consulguard.notify.slack import SlackNotifier, SlackSettings
from consulguard.testing import RecordingNotifier, SlackTwin

from tests.support.messages import message


class Recorder:
    """Remembers what it was told; raises what it is given to raise."""

    name = "slack"

    def __init__(self) -> None:
        self.rows: list[OutboxRow] = []
        self.raises: list[Exception] = []
        self.hang = False

    async def deliver(self, row: OutboxRow) -> JsonObject | Told:
        self.rows.append(row)
        if self.raises:
            raise self.raises.pop(0)
        if self.hang:
            await asyncio.Event().wait()
        return {"ts": f"{len(self.rows)}"}

    async def close(self) -> None:
        pass


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "j.db", channels=("slack",)) as opened:
        yield opened


@contextlib.asynccontextmanager
async def running(worker: OutboxWorker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def test_one_message_a_second_and_the_pause_it_asks_for(store: SqliteStore) -> None:
    clock, recorder = FakeClock(), Recorder()
    worker = OutboxWorker(store, recorder, clock, lambda: 0.0)
    assert await worker.turn() == 60.0
    await store.append([], [message("a"), message("b")])
    assert await worker.turn() == 1.0
    assert await worker.turn() == 1.0  # too early: nothing is told
    assert [row.key for row in recorder.rows] == ["a"]
    clock.advance(0.75)
    assert await worker.turn() == 0.25
    clock.advance(0.25)
    await worker.turn()
    assert [row.key for row in recorder.rows] == ["a", "b"]
    clock.advance(1.0)
    assert await worker.turn() == 60.0
    assert worker.counts == {"sent": 2, "failed": 0, "given_up": 0}


@pytest.mark.parametrize("luck", [0.0, 0.5, 0.99])
async def test_failures_are_tried_again_ever_more_slowly(store: SqliteStore, luck: float) -> None:
    clock, recorder = FakeClock(), Recorder()
    worker = OutboxWorker(store, recorder, clock, lambda: luck)
    recorder.raises = [Temporary("no"), NotifyUnavailable("no"), RuntimeError("careless plug-in"), Temporary("no")]
    await store.append([], [message("a")])
    for attempt, whole in enumerate((2.0, 4.0, 8.0, 16.0), start=1):
        await worker.turn()
        [row] = await store.outbox_due("slack", 1)
        assert row.retry_at is not None
        assert whole / 2 <= (row.retry_at - clock.now()).total_seconds() <= whole
        assert row.attempts == attempt
        clock.advance(0.9)
        await worker.turn()
        assert len(recorder.rows) == attempt  # not before its time
        clock.advance(whole)
    await worker.turn()
    assert worker.counts == {"sent": 1, "failed": 4, "given_up": 0}
    assert (await store.outbox_counts())["slack/sent"] == 1


async def test_a_limit_of_the_channel_stops_all_of_it_and_one_of_a_message_only_that(store: SqliteStore) -> None:
    clock, recorder = FakeClock(), Recorder()
    worker = OutboxWorker(store, recorder, clock, lambda: 0.0)
    await store.append([], [message("a"), message("b")])
    recorder.raises = [NotifyUnavailable("slow down", retry_after_s=30)]
    await worker.turn()
    clock.advance(29)
    assert await worker.turn() == pytest.approx(1.0)
    clock.advance(1)
    recorder.raises = [NotifyUnavailable("unsure", retry_after_s=600, for_all=False, ref={"unsure": 2})]
    await worker.turn()
    clock.advance(1)
    await worker.turn()
    assert [row.key for row in recorder.rows] == ["a", "b", "a"]
    clock.advance(600)
    await worker.turn()
    assert recorder.rows[-1].ref == {"unsure": 2}


async def test_a_final_refusal_rests_until_there_is_news(store: SqliteStore) -> None:
    clock, recorder = FakeClock(), Recorder()
    worker = OutboxWorker(store, recorder, clock, lambda: 0.0)
    recorder.raises = [Final("never")]
    await store.append([], [message("a", 1, thread=("x",))])
    await worker.turn()
    clock.advance(3600)
    assert await worker.turn() == 60.0
    await store.append([], [message("a", 2, thread=("y",))])
    await worker.turn()
    assert recorder.rows[-1].message.thread == ("x", "y")
    assert worker.counts == {"sent": 1, "failed": 0, "given_up": 1}


async def test_a_channel_that_hangs_is_given_up_after_its_time(store: SqliteStore) -> None:
    recorder = Recorder()
    recorder.hang = True
    worker = OutboxWorker(store, recorder, FakeClock(), lambda: 0.0, OutboxSettings(timeout_s=0.01))
    await store.append([], [message("a")])
    await worker.turn()
    [row] = await store.outbox_due("slack", 1)
    assert row.attempts == 1


async def test_a_poke_wakes_it_and_news_are_coalesced(store: SqliteStore) -> None:
    recorder = Recorder()
    worker = OutboxWorker(store, recorder, SystemClock(), lambda: 0.0, OutboxSettings(interval_s=0.05))
    async with running(worker):
        for version in range(1, 30):
            await store.append([], [message("a", version, thread=(f"{version}",))])
            worker.poke()
        await until(lambda: bool(recorder.rows) and recorder.rows[-1].message.version == 29)
    assert len(recorder.rows) < 29
    assert [line for row in recorder.rows for line in row.message.thread] == [f"{v}" for v in range(1, 30)]


class Fragile:
    """A store that fails as often as it is told to."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.down = False

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable("the disk is full")

    async def outbox_due(self, channel: str, limit: int) -> list[OutboxRow]:
        self._check()
        return await self._store.outbox_due(channel, limit)

    async def outbox_sent(
        self, row: OutboxRow, ref: JsonObject, *, lines: int | None = None, done: bool = True
    ) -> None:
        self._check()
        await self._store.outbox_sent(row, ref, lines=lines, done=done)

    async def outbox_failed(self, row: OutboxRow, reason: str, retry_at: object, ref: object = None) -> None:
        self._check()


async def test_what_was_told_is_not_told_again_when_the_store_comes_back(store: SqliteStore) -> None:
    fragile, recorder, clock = Fragile(store), Recorder(), FakeClock()

    class Breaking(Recorder):
        async def deliver(self, row: OutboxRow) -> JsonObject | Told:
            fragile.down = True
            return await recorder.deliver(row)

    worker = OutboxWorker(fragile, Breaking(), clock, lambda: 0.0)
    await store.append([], [message("a")])
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await worker.turn()
        clock.advance(5)
    fragile.down = False
    assert await worker.turn() == 60.0
    assert len(recorder.rows) == 1
    [count] = [n for state, n in (await store.outbox_counts()).items() if state == "slack/sent"]
    assert count == 1


async def test_a_store_that_is_away_does_not_end_the_worker(store: SqliteStore) -> None:
    fragile, recorder = Fragile(store), Recorder()
    fragile.down = True
    settings = OutboxSettings(backoff_s=0.01, interval_s=0.01)
    worker = OutboxWorker(fragile, recorder, SystemClock(), lambda: 0.0, settings)
    await store.append([], [message("a")])
    async with running(worker):
        await asyncio.sleep(0.05)
        assert recorder.rows == []
        fragile.down = False
        await until(lambda: len(recorder.rows) == 1)


async def test_all_the_way_to_slack_through_failures_and_a_restart(tmp_path: Path) -> None:
    """Two incidents, many versions, answers lost and calls refused: one message each, every step once in order."""
    settings = OutboxSettings(interval_s=0.01, backoff_s=0.01)
    async with SlackTwin() as slack:
        slack.http_error(503, 2)
        slack.fail("internal_error")
        for life in range(2):
            notifier = SlackNotifier(SlackSettings(channel="#incidents", base_url=slack.api), lambda: slack.token)
            async with SqliteStore(tmp_path / "j.db", channels=("slack",)) as store:
                worker = OutboxWorker(store, notifier, SystemClock(), lambda: 0.5, settings)
                async with running(worker):
                    for version in range(life * 5 + 1, life * 5 + 6):
                        news = [message(key, version, thread=(f"{key} {version}",)) for key in ("a", "b")]
                        await store.append([], news)
                        worker.poke()
                        await asyncio.sleep(0.02)
                    async with asyncio.timeout(20):
                        while (await store.outbox_counts()).get("slack/sent") != 2:
                            await asyncio.sleep(0.02)
            await notifier.close()
            slack.http_error(500)
        posts = slack.parents()
        assert sorted(post.text for post in posts) == ["[CRITICAL] a v10", "[CRITICAL] b v10"]
        for post in posts:
            said = [
                line for reply in slack.thread(post.ts) for line in reply.blocks[0]["text"]["text"].split("\n")
            ]
            assert said == [f"{post.text[11]} {version}" for version in range(1, 11)]


async def test_a_plain_notifier_is_enough(store: SqliteStore) -> None:
    notifier = RecordingNotifier("slack")
    worker = OutboxWorker(store, notifier, FakeClock(), lambda: 0.0)
    await store.append([], [message("a", thread=("x",))])
    await worker.turn()
    assert [row.message.thread for row in notifier.rows] == [("x",)]
    assert (await store.outbox_counts())["slack/sent"] == 1


async def test_retry_times_survive_a_restart(tmp_path: Path) -> None:
    clock, recorder = FakeClock(), Recorder()
    async with SqliteStore(tmp_path / "j.db", channels=("slack",)) as store:
        await store.append([], [message("a")])
        recorder.raises = [NotifyUnavailable("later", retry_after_s=40)]
        await OutboxWorker(store, recorder, clock, lambda: 0.0).turn()
    async with SqliteStore(tmp_path / "j.db", channels=("slack",)) as store:
        [row] = await store.outbox_due("slack", 1)
        assert row.retry_at == clock.now() + timedelta(seconds=40)
        assert await OutboxWorker(store, recorder, clock, lambda: 0.0).turn() == pytest.approx(40.0)
