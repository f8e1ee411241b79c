"""What every store promises: a file, and a schema of a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from consulguard.errors import StaleEpoch, StoreUnavailable
from consulguard.journal import Draft, JournalSettings, SqliteStore, Store
from consulguard.journal.postgresql import PostgresStore
from consulguard.model import Message, Offer

from tests.support.messages import START, draft, incident, message

Maker = Callable[[], Store]
SETTINGS = JournalSettings(chunk=7, outbox_pending=5, outbox_kept=6, thread_lines=8)
CHANNELS = ("console", "slack")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def make(request: pytest.FixtureRequest, tmp_path: Path, schema: str) -> Maker:
    """Gives a store on the same data each time it is called."""
    path = tmp_path / "j.db"
    if request.param == "sqlite":
        return lambda: SqliteStore(path, channels=CHANNELS, settings=SETTINGS)
    dsn = request.getfixturevalue("postgres").dsn

    def made() -> Store:
        store = PostgresStore(path, dsn=lambda: dsn, channels=CHANNELS, settings=SETTINGS)
        return store.shared(take_over=False, schema=schema)

    return made


@pytest.fixture
async def store(make: Maker) -> AsyncIterator[Store]:
    made = make()
    await made.open()
    yield made
    await made.close()


# ---- entries


async def test_entries_come_back_as_they_were_given(store: Store) -> None:
    drafts = [draft(n, kind=kind) for n, kind in enumerate(("event", "intent", "message", "mark"))]
    assert await store.append(drafts) == 4
    entries = [entry async for entry in store.entries()]
    assert [entry.seq for entry in entries] == [1, 2, 3, 4]
    for entry, given in zip(entries, drafts, strict=True):
        assert (entry.at, entry.kind, entry.body, entry.epoch, entry.version) == (
            given.at,
            given.kind,
            given.body,
            given.epoch,
            given.version,
        )
    assert [entry.previous for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]
    assert await store.last() == (4, entries[-1].hash)


async def test_sequence_goes_on_over_a_restart(make: Maker) -> None:
    for start in (0, 10, 20):
        store = make()
        await store.open()
        assert store.behind == ""
        assert await store.append([draft(n) for n in range(start, start + 10)]) == start + 10
        await store.close()
    store = make()
    await store.open()
    assert [entry.body async for entry in store.entries()] == [draft(n).body for n in range(30)]
    assert (await store.verify()).ok
    await store.close()


@pytest.mark.parametrize("after", [0, 1, 7, 19, 20, 25])
@pytest.mark.parametrize("limit", [None, 0, 1, 7, 8, 100])
async def test_entries_after_and_limit(store: Store, after: int, limit: int | None) -> None:
    await store.append([draft(n) for n in range(20)])
    got = [entry.seq async for entry in store.entries(after, limit)]
    assert got == list(range(after + 1, 21))[:limit]


async def test_nothing_to_append_is_fine(store: Store) -> None:
    assert await store.append([]) == 0
    assert await store.append([draft(0)]) == 1
    assert await store.append([], [message()]) == 1
    assert [entry.seq async for entry in store.entries()] == [1]


@pytest.mark.parametrize(
    "bad",
    [
        Draft(at=START.replace(tzinfo=None), kind="event", body=b""),
        Draft(at=START, kind="event", body=b"", epoch=2**70),
    ],
)
async def test_a_draft_that_cannot_be_written_writes_nothing(store: Store, bad: Draft) -> None:
    with pytest.raises(ValueError):
        await store.append([draft(0), bad], [message()])
    assert await store.last() == (0, "0" * 64)
    assert await store.outbox_due("console", 10) == []
    assert await store.append([draft(1)]) == 1


def of_epoch(*epochs: int) -> list[Draft]:
    return [msgspec.structs.replace(draft(n), epoch=epoch) for n, epoch in enumerate(epochs)]


@pytest.mark.parametrize("late", [(1,), (2, 3, 1), (1, 5), (3, 2)])
async def test_an_older_epoch_appends_nothing(store: Store, late: tuple[int, ...]) -> None:
    await store.append(of_epoch(0, 1, 1, 2))
    before = await store.last()
    with pytest.raises(StaleEpoch, match=r"of epoch \d comes after one of epoch \d.*nothing was written"):
        await store.append(of_epoch(*late), [message()])
    assert await store.last() == before
    assert await store.outbox_due("console", 10) == []
    assert await store.append(of_epoch(2, 3)) == 6
    assert [entry.epoch async for entry in store.entries()] == [0, 1, 1, 2, 2, 3]


async def test_epochs_do_not_fall_over_a_restart(make: Maker) -> None:
    first = make()
    await first.open()
    await first.append(of_epoch(4))
    await first.close()
    second = make()
    await second.open()
    with pytest.raises(StaleEpoch):
        await second.append(of_epoch(3))
    assert await second.append(of_epoch(4)) == 2
    await second.close()


async def test_a_closed_store_refuses(make: Maker) -> None:
    store = make()
    with pytest.raises(StoreUnavailable):
        await store.append([draft(0)])
    await store.open()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.last()


async def test_only_one_may_have_it_open(store: Store, make: Maker) -> None:
    second = make()
    with pytest.raises(StoreUnavailable, match=r"in use by process \d+"):
        await second.open()
    await second.close()
    assert await store.append([draft(0)]) == 1


# ---- snapshots and compaction


async def test_the_newest_snapshot_is_loaded(store: Store) -> None:
    assert await store.load_snapshot() is None
    await store.append([draft(n) for n in range(10)])
    for seq in (3, 6, 9):
        await store.save_snapshot(seq, b"state %d" % seq)
    assert await store.load_snapshot() == (9, b"state 9")


async def test_a_snapshot_needs_its_entry(store: Store) -> None:
    await store.append([draft(0)])
    with pytest.raises(ValueError):
        await store.save_snapshot(2, b"state")
    assert await store.append([draft(1)]) == 2


async def test_compaction_keeps_what_the_older_snapshot_needs(make: Maker) -> None:
    store = make()
    await store.open()
    await store.append([draft(n) for n in range(40)])
    assert await store.compact(40) == 0  # without two snapshots nothing may go
    await store.save_snapshot(20, b"a")
    assert await store.compact(40) == 0
    await store.save_snapshot(30, b"b")
    assert await store.compact(12) == 12
    assert await store.compact(40) == 8
    assert [entry.seq async for entry in store.entries()] == list(range(21, 41))
    assert (await store.verify()).ok
    await store.close()
    store = make()
    await store.open()
    assert (store.behind, await store.load_snapshot()) == ("", (30, b"b"))
    assert await store.append([draft(40)]) == 41
    assert (await store.verify()).entries == 21
    await store.close()


# ---- outbox


async def test_a_message_goes_to_every_channel(store: Store) -> None:
    await store.append([draft(0)], [message(thread=("one",))])
    for channel in ("console", "slack"):
        [row] = await store.outbox_due(channel, 10)
        assert (row.channel, row.key, row.message.version, row.message.thread) == (channel, "inc-1", 1, ("one",))
        assert (row.ref, row.attempts, row.retry_at) == ({}, 0, None)
    assert await store.outbox_due("pager", 10) == []


async def test_sent_rows_rest_until_there_is_news_and_keep_their_reference(make: Maker) -> None:
    store = make()
    await store.open()
    await store.append([], [message(version=1, thread=("one",))])
    [row] = await store.outbox_due("slack", 10)
    await store.outbox_sent(row, {"channel": "C1", "ts": "1.2"})
    assert await store.outbox_due("slack", 10) == []
    await store.close()
    store = make()
    await store.open()
    await store.append([], [message(version=2, thread=("two",))])
    [row] = await store.outbox_due("slack", 10)
    assert (row.ref, row.message.thread, row.told) == ({"channel": "C1", "ts": "1.2"}, ("two",), 1)
    await store.close()


async def test_a_repeat_changes_nothing(store: Store) -> None:
    await store.append([], [message(version=2, thread=("one",))])
    await store.append([], [message(version=2, thread=("one",)), message(version=1, thread=("zero",))])
    [row] = await store.outbox_due("slack", 10)
    assert (row.message.version, row.message.thread) == (2, ("one",))
    await store.outbox_sent(row, {})
    await store.append([], [message(version=2, thread=("one",))])
    assert await store.outbox_due("slack", 10) == []


async def test_news_that_come_while_telling_stay_pending(store: Store) -> None:
    await store.append([], [message(version=1, thread=("one", "two"))])
    [row] = await store.outbox_due("slack", 10)
    await store.append([], [message(version=2, thread=("three",))])
    await store.outbox_sent(row, {"ts": "1"}, lines=1)
    [row] = await store.outbox_due("slack", 10)
    assert (row.message.version, row.message.thread, row.told) == (2, ("two", "three"), 1)


async def test_failures_wait_and_final_ones_rest(store: Store) -> None:
    later = START + timedelta(hours=1)
    await store.append([], [message("a"), message("b")])
    first, second = await store.outbox_due("slack", 10)
    await store.outbox_failed(first, "no", later, {"unsure": 1})
    assert [row.key for row in await store.outbox_due("slack", 10)] == ["b", "a"]
    [_, row] = await store.outbox_due("slack", 10)
    assert (row.attempts, row.retry_at, row.ref) == (1, later, {"unsure": 1})
    await store.outbox_failed(second, "never", None)
    assert [row.key for row in await store.outbox_due("slack", 10)] == ["a"]
    assert await store.outbox_counts() == {
        "console/pending": 2,
        "slack/failed": 1,
        "slack/pending": 1,
        "dropped": 0,
    }
    await store.append([], [message("a", 2), message("b", 2)])
    by_key = {row.key: row for row in await store.outbox_due("slack", 10)}
    assert (by_key["a"].retry_at, by_key["b"].retry_at) == (later, None)  # news do not hurry a waiting channel


async def test_too_many_waiting_drop_the_oldest_resolved_first(store: Store) -> None:
    for number in range(4):
        severity = "resolved" if number in (2, 3) else "critical"
        await store.append([], [message(f"k{number}", severity=severity)])
    await store.append([], [message(f"k{number}") for number in range(4, 8)])
    keys = [row.key for row in await store.outbox_due("slack", 100)]
    assert keys == ["k1", "k4", "k5", "k6", "k7"]
    assert (await store.outbox_counts())["dropped"] == 6  # three on each of the two channels


async def test_a_flood_of_thread_lines_leaves_out_the_oldest(store: Store) -> None:
    for version in range(1, 12):
        await store.append([], [message(version=version, thread=(f"line {version}",))])
    [row] = await store.outbox_due("slack", 10)
    assert row.message.thread == tuple(f"line {version}" for version in range(4, 12))
    assert (row.skipped, row.told) == (3, 3)
    await store.outbox_sent(row, {}, lines=8)
    await store.append([], [message(version=12, thread=("line 12",))])
    [row] = await store.outbox_due("slack", 10)
    assert (row.skipped, row.told, row.message.thread) == (0, 11, ("line 12",))


async def test_verify_tells_the_mark_and_accept_names_the_end(store: Store) -> None:
    await store.append([draft(n) for n in range(3)])
    await store.save_snapshot(3, b"state")
    report = await store.verify()
    assert (report.ok, report.entries, report.reason) == (True, 3, "")
    assert report.mark is not None
    assert (report.mark.seq, report.mark.hash) == await store.last()
    with pytest.raises(ValueError):
        await store.accept(2)
    await store.accept(3)


# ---- much at once


def incident_news(number: int, version: int = 1, *, severity: str = "critical", asks: bool = False) -> Message:
    told = message(f"inc-{number}", version, severity=severity, thread=(f"{number}.{version}",))
    offers = (Offer(id=f"{number}", verb="approve"),) if asks else ()
    return msgspec.structs.replace(told, incident=incident(), offers=offers)


async def keys_due(store: Store, channel: str = "slack") -> list[str]:
    return [row.key for row in await store.outbox_due(channel, 20)]


async def test_a_crowd_is_what_nobody_was_told_of_and_asks_nobody(store: Store) -> None:
    await store.append([], [incident_news(1), message("storm"), incident_news(2, asks=True), incident_news(3)])
    [first, *_] = await store.outbox_due("slack", 1)
    await store.outbox_sent(first, {"ts": "1"})
    await store.append([], [incident_news(1, 2)])
    assert await store.outbox_crowd("slack", 2, START) == []
    assert [row.key for row in await store.outbox_crowd("slack", 0, START)] == ["inc-3"]
    assert await store.outbox_crowd("pager", 0, START) == []


async def test_what_is_told_together_rests_until_it_has_news(store: Store) -> None:
    await store.append([], [incident_news(n) for n in (1, 2, 3)])
    folded = await store.outbox_crowd("slack", 1, START)
    await store.append([], [incident_news(2, 2)])  # news that came meanwhile are not taken along
    await store.outbox_add("slack", message("summary-1"), folded=folded)
    assert await keys_due(store) == ["inc-2", "summary-1"]
    assert await keys_due(store, "console") == ["inc-1", "inc-2", "inc-3"]
    await store.append([], [incident_news(1, 2), incident_news(3, 2, severity="resolved")])
    assert sorted(await keys_due(store)) == ["inc-1", "inc-2", "summary-1"]
    [row] = [row for row in await store.outbox_due("slack", 20) if row.key == "inc-1"]
    assert (row.message.version, row.message.thread) == (2, ("1.1", "1.2"))


async def test_what_is_added_waits_as_long_as_it_is_told_to(store: Store) -> None:
    later = START + timedelta(hours=1)
    await store.outbox_add("slack", message("board", title="one"), not_before=later)
    [row] = await store.outbox_due("slack", 5)
    assert row.retry_at == later
    assert await store.outbox_due("console", 5) == []
    await store.outbox_sent(row, {"ts": "1"})
    await store.outbox_add("slack", message("board", title="one"))
    assert await store.outbox_due("slack", 5) == []  # it reads the same
    await store.outbox_add("slack", message("board", title="two"))
    [row] = await store.outbox_due("slack", 5)
    assert (row.ref, row.message.title, row.retry_at) == ({"ts": "1"}, "two", None)


async def test_the_open_ones_are_counted_and_the_first_few_shown(make: Maker) -> None:
    store = make()
    await store.open()
    await store.append([], [incident_news(n) for n in (1, 2, 3)] + [message("storm")])
    await store.outbox_add("slack", message("board"))
    await store.append([], [incident_news(1, 2, severity="resolved")])
    await store.close()
    store = make()
    await store.open()
    found = await store.outbox_open("slack", "board", 1)
    assert (found.total, [row.key for row in found.rows]) == (2, ["inc-2"])
    assert found.board is not None
    assert found.board.message == message("board")
    nothing = await store.outbox_open("pager", "board", 1)
    assert (nothing.total, nothing.rows, nothing.board) == (0, (), None)
    await store.close()


async def test_what_a_route_holds_is_neither_in_a_crowd_nor_open_here(store: Store) -> None:
    later = START + timedelta(hours=1)
    held = msgspec.structs.replace(incident_news(1), holds={"slack": later})
    await store.append([], [held, incident_news(2)])
    assert [row.key for row in await store.outbox_crowd("slack", 0, START)] == ["inc-2"]
    assert [row.key for row in await store.outbox_crowd("slack", 1, later)] == ["inc-1", "inc-2"]
    assert (await store.outbox_open("slack", "board", 5)).total == 1
