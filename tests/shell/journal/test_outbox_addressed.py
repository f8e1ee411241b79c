"""A message waits for those it is for, and for its time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from consulguard.journal import SqliteStore
from consulguard.model import Message, OutboxRow

from tests.support.messages import START, message

SOON, LATER = START + timedelta(minutes=1), START + timedelta(hours=1)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "j.db", channels=("one", "two")) as opened:
        yield opened


def to(given: Message, *channels: str, **holds) -> Message:
    return msgspec.structs.replace(given, channels=channels, holds=holds)


async def due(store: SqliteStore, channel: str) -> list[OutboxRow]:
    return await store.outbox_due(channel, 10)


async def test_only_those_it_is_for_get_it(store):
    await store.append([], [to(message("a"), "one"), message("b"), to(message("c"), "nobody")])
    assert [row.key for row in await due(store, "one")] == ["a", "b"]
    assert [row.key for row in await due(store, "two")] == ["b"]


async def test_a_held_message_says_until_when_and_takes_up_newer_versions(store):
    await store.append([], [to(message("a"), "one", one=LATER)])
    await store.append([], [to(message("a", 2, thread=("x",)), "one", one=SOON)])
    (row,) = await due(store, "one")
    assert (row.retry_at, row.message.version, row.message.thread) == (LATER, 2, ("x",))


async def test_what_is_over_before_anybody_was_told_is_not_told(store):
    await store.append([], [to(message("a"), "one", one=LATER)])
    await store.append([], [to(message("a", 2, severity="resolved"), "one", one=LATER)])
    assert await due(store, "one") == []
    await store.append([], [to(message("a", 3), "one")])  # it is back, and nobody is muted any more
    (row,) = await due(store, "one")
    assert (row.retry_at, row.message.version) == (None, 3)


async def test_who_was_told_hears_the_end_even_if_late(store):
    await store.append([], [to(message("a"), "one")])
    (row,) = await due(store, "one")
    await store.outbox_sent(row, {"ts": "1"})
    await store.append([], [to(message("a", 2), "one", one=SOON)])
    await store.append([], [to(message("a", 3, severity="resolved"), "one", one=LATER)])
    (row,) = await due(store, "one")
    assert (row.retry_at, row.message.severity) == (SOON, "resolved")


async def test_a_failed_delivery_is_not_mistaken_for_a_held_one(store):
    await store.append([], [to(message("a"), "one")])
    (row,) = await due(store, "one")
    await store.outbox_failed(row, "no answer", SOON)  # it may have arrived
    await store.append([], [to(message("a", 2, severity="resolved"), "one")])
    (row,) = await due(store, "one")
    assert row.message.severity == "resolved"


async def test_a_reminder_of_the_same_version_adds_its_line(store):
    await store.append([], [to(message("a"), "one")])
    (row,) = await due(store, "one")
    await store.outbox_sent(row, {"ts": "1"})
    await store.append([], [to(message("a", thread=("Reminder",)), "one")])
    (row,) = await due(store, "one")
    assert (row.message.thread, row.ref) == (("Reminder",), {"ts": "1"})
