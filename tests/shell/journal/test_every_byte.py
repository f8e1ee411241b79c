"""Every byte of a small journal, flipped, and a cut at every place: a prefix that says so, or refused.

Two journals: one closed cleanly (all in the file), and one as a crash leaves it (a part of it still in the
write-ahead log, the mark behind the end). In the usual run a part of the bytes is flipped, the heads of all pages
among them; with ``CONSULGUARD_EVERY_BYTE=1`` (``make every-byte``) all of them, and every cut is made.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from consulguard.app.codec import encode
from consulguard.app.past import fold
from consulguard.engine import EngineState, step
from consulguard.engine.step import snapshot
from consulguard.errors import ConfigError, StoreCorrupt, StoreUnavailable
from consulguard.events import AnyEvent
from consulguard.journal import Draft, JournalSettings, Mark, SqliteStore, rows
from consulguard.journal.mark import mark_path, write_mark
from consulguard.journal.session import Session

from tests.core.engine.world import World

EVERY_BYTE = bool(os.environ.get("CONSULGUARD_EVERY_BYTE"))
LIMIT_S = 7200 if EVERY_BYTE else 300
QUIET = JournalSettings(mark_every_s=3600.0, free_space=0)
EVENTS = 9
SNAPSHOT_AT = 4
IN_FILE, MARKED = 5, 7  # of the crashed journal: what its file holds, and where its mark stands
FILE, LOG, MARK, INDEX = "j.db", "j.db-wal", "j.db.mark", "j.db-shm"


@dataclass(frozen=True)
class Sample:
    """A journal's files, and what may come of them."""

    files: dict[str, bytes]
    bodies: tuple[bytes, ...]
    states: tuple[bytes, ...]  # after 0, 1, 2 ... entries
    marked: int
    folded: set[tuple[int, int]] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)

    async def judge(self, folder: Path, files: dict[str, bytes], where: str) -> None:
        """Start from these files as the daemon does. Whatever comes is counted; what may not come fails."""
        put(folder, files)
        refused = ""
        try:
            behind, snapshot_, bodies = start(folder / FILE)
        except (StoreCorrupt, StoreUnavailable, ConfigError) as refusal:
            refused = str(refusal)
        if refused:
            assert "\n" not in refused, where
            self.seen["refused"] += 1
            return
        length = len(bodies)
        assert bodies == self.bodies[:length], where
        assert snapshot_ is None or snapshot_[1] == self.states[snapshot_[0]], where
        assert behind or length >= self.marked, where
        self.seen["behind" if behind else "whole" if length == EVENTS else "unmarked"] += 1
        await self.same_state(folder, files, (snapshot_[0] if snapshot_ else 0, length), where)

    async def same_state(self, folder: Path, files: dict[str, bytes], way: tuple[int, int], where: str) -> None:
        """Entries and snapshot are what was written; that their fold is too need be seen once for each way."""
        if way in self.folded:
            return
        put(folder, files)
        async with SqliteStore(folder / FILE, settings=QUIET) as store:
            past = await fold(store)
        assert (past.seq, snapshot(past.state)) == (way[1], self.states[way[1]]), where
        self.folded.add(way)


def put(folder: Path, files: dict[str, bytes]) -> None:
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def start(path: Path) -> tuple[str, tuple[int, bytes] | None, tuple[bytes, ...]]:
    """What the store's thread does for a start: open, newest snapshot, all entries."""
    session = Session(path, ("console",), QUIET, readonly=False)
    session.open()
    try:
        found = session.run(rows.newest_snapshot, "read")
        entries = session.run(lambda con: rows.read(con, 0, 500), "read")
        return session.behind, found, tuple(e.body for e in entries)
    finally:
        session.close()


def events() -> list[AnyEvent]:
    world = World()
    world.to_first_effect()
    return world.events[:EVENTS]


async def sample(folder: Path, *, crashed: bool) -> Sample:
    """Written by the store itself."""
    path = folder / FILE
    state, bodies, states = EngineState(), [], [snapshot(EngineState())]
    files: dict[str, bytes] = {}
    store = SqliteStore(path, settings=QUIET)
    await store.open()
    for number, event in enumerate(events(), 1):
        bodies.append(encode(event))
        await store.append([Draft(at=event.at, kind="event", body=bodies[-1])])
        state, _ = step(state, event)
        states.append(snapshot(state))
        if number == SNAPSHOT_AT:
            await store.save_snapshot(number, states[-1])
        if crashed and number == IN_FILE:  # what was written so far goes into the file, the rest stays in the log
            await store.close()
            await store.open()
        if crashed and number == MARKED:
            seq, digest = await store.last()
            write_mark(mark_path(path), Mark(seq=seq, hash=digest))
    if crashed:
        files = read(folder)
    await store.close()
    return Sample(files or read(folder), tuple(bodies), tuple(states), MARKED if crashed else EVENTS)


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "j.db.lock"}


@pytest.fixture
def quick() -> Iterator[Path]:
    """A folder in memory where there is one: tens of thousands of journals are opened in it."""
    root = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=root) as folder:
        yield Path(folder)


@pytest.fixture(params=["closed", "crashed"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Sample:
    found = await sample(tmp_path, crashed=request.param == "crashed")
    assert (LOG in found.files) == (request.param == "crashed")
    return found


def places(content: bytes, *, zero: int, other: int) -> list[int]:
    """Offsets to try: the head of every page, and of the rest each ``other``-th byte, or each ``zero``-th where
    nothing is written.
    """
    every = {True: zero, False: other}
    return [at for at, byte in enumerate(content) if EVERY_BYTE or at % 4096 < 64 or at % every[byte == 0] == 0]


def flipped(content: bytes, at: int) -> bytes:
    """All bits of a byte at even offsets, one bit at odd ones."""
    hurt = bytearray(content)
    hurt[at] ^= 0x01 if at % 2 else 0xFF
    return bytes(hurt)


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("name", [FILE, LOG, MARK, INDEX])
async def test_a_flipped_byte(journal: Sample, quick: Path, name: str) -> None:
    content = journal.files.get(name, b"")  # a closed journal has no log
    masked = 5 if LOG in journal.files else 2  # most of the file's pages lie in the log in a newer version
    zero, other = {FILE: (197, masked), LOG: (97, 5), MARK: (1, 1), INDEX: (997, 1)}[name]
    for at in places(content, zero=zero, other=other):
        await journal.judge(quick, journal.files | {name: flipped(content, at)}, f"{name}, offset {at}")
    if name == MARK:
        assert journal.seen["behind"] > len(content) - 5
    if name == INDEX:
        assert set(journal.seen) <= {"whole"}  # it is made anew


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("name", [FILE, LOG, MARK])
async def test_a_cut(journal: Sample, quick: Path, name: str) -> None:
    content = journal.files.get(name, b"")
    every = 1 if EVERY_BYTE else {FILE: 211, LOG: 61, MARK: 1}[name]
    for size in range(0, len(content), every):
        await journal.judge(quick, journal.files | {name: content[:size]}, f"{name} cut at {size}")


async def test_a_file_is_gone(journal: Sample, quick: Path) -> None:
    names = sorted(journal.files)
    for bits in range(1, 1 << len(names)):
        left = {name: journal.files[name] for n, name in enumerate(names) if bits >> n & 1}
        if set(left) != {INDEX}:  # it holds nothing, and with nothing left nobody can know
            await journal.judge(quick, left, f"only {sorted(left)}")
