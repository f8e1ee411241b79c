"""Coalescing, over any interleaving of news, deliveries, partial deliveries and failures."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from consulguard.journal import SqliteStore
from consulguard.model import Message, OutboxRow
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.messages import START, message

KEYS = ("a", "b")
STEP = st.one_of(
    st.tuples(st.just("news"), st.sampled_from(KEYS), st.integers(0, 3)),
    st.tuples(st.just("repeat"), st.sampled_from(KEYS), st.just(0)),
    st.tuples(st.just("take"), st.just(""), st.just(0)),
    st.tuples(st.just("tell"), st.just(""), st.integers(0, 4)),
    st.tuples(st.just("fail"), st.just(""), st.integers(0, 1)),
)


@settings(max_examples=60)
@given(st.lists(STEP, max_size=25))
def test_every_line_is_told_once_in_order_and_the_newest_version_last(steps: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder), steps))


async def play(folder: Path, steps: list[tuple[str, str, int]]) -> None:
    versions = dict.fromkeys(KEYS, 0)
    given_lines: dict[str, list[str]] = {key: [] for key in KEYS}
    told: dict[str, list[str]] = {key: [] for key in KEYS}
    shown = dict.fromkeys(KEYS, 0)
    latest: dict[str, Message] = {}
    taken: OutboxRow | None = None

    async def tell(row: OutboxRow, lines: int) -> None:
        lines = min(lines, len(row.message.thread))
        told[row.key] += row.message.thread[:lines]
        shown[row.key] = row.message.version
        done = lines == len(row.message.thread)
        await store.outbox_sent(row, {"v": shown[row.key]}, lines=lines, done=done)

    async with SqliteStore(folder / "j.db") as store:
        for what, key, number in steps:
            if what == "news":
                versions[key] += 1
                lines = tuple(f"{key} {versions[key]}.{n}" for n in range(number))
                given_lines[key] += lines
                latest[key] = message(key, versions[key], thread=lines)
                await store.append([], [latest[key]])
            elif what == "repeat" and versions[key]:
                await store.append([], [latest[key], message(key, versions[key] - 1, thread=("old",))])
            elif what == "take":
                rows = await store.outbox_due("console", 1)
                taken = rows[0] if rows else None
            elif what == "tell" and taken is not None:
                await tell(taken, number)
                taken = None
            elif what == "fail" and taken is not None:
                await store.outbox_failed(taken, "no", START if number else None)
                taken = None
        versions = {key: version + 1 for key, version in versions.items()}
        await store.append([], [message(*each) for each in versions.items()])  # wakes up what was given up
        while rows := await store.outbox_due("console", 5):
            await tell(rows[0], 2)
        assert told == given_lines
        assert shown == versions
        assert await store.outbox_counts() == {"console/sent": 2, "dropped": 0}
