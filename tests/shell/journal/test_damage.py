"""Bytes flip, files are cut, old copies come back: refused, or a prefix that says so. Never another state."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from consulguard.errors import ConfigError, StoreCorrupt, StoreUnavailable
from consulguard.journal import JournalSettings, SqliteStore

from tests.support.messages import draft, message

SETTINGS = JournalSettings(mark_every_s=3600.0)
BODIES = [draft(n, size=90).body for n in range(1, 41)]


async def write(path: Path, *, upto: int = 40, compacted: bool = False) -> None:
    async with SqliteStore(path, settings=SETTINGS) as store:
        for n in range((await store.last())[0] + 1, upto + 1):
            await store.append([draft(n, size=90)], [message(version=n)])
            if n in (10, 20):
                await store.save_snapshot(n, b"state %d" % n)
        if compacted:
            await store.compact(10)


async def state(path: Path) -> tuple[str, str, list[bytes], object]:
    """What a start would see: ``refused``, or whether it is behind, the entries and the snapshot."""
    try:
        async with SqliteStore(path, settings=SETTINGS) as store:
            report = await store.verify()
            snapshot = await store.load_snapshot()
            bodies = [entry.body async for entry in store.entries()]
            return ("ok" if report.ok else "unsound", store.behind, bodies, snapshot)
    except (StoreCorrupt, StoreUnavailable, ConfigError):
        return ("refused", "", [], None)


def copy(source: Path, target: Path) -> Path:
    target.mkdir(exist_ok=True)
    for name in target.iterdir():
        name.unlink()
    for each in source.parent.glob(source.name + "*"):
        shutil.copy(each, target / each.name)
    return target / source.name


def judge(seen: tuple[str, str, list[bytes], object], whole: list[bytes], where: str) -> None:
    verdict, behind, bodies, snapshot = seen
    if verdict == "refused":
        return
    assert bodies == whole[: len(bodies)], where
    assert snapshot in (None, (10, b"state 10"), (20, b"state 20")), where
    assert behind or len(bodies) == len(whole), where
    assert verdict == "unsound" or (not behind and snapshot == (20, b"state 20")), where


@pytest.mark.parametrize("compacted", [False, True])
async def test_one_flipped_byte_never_makes_another_state(tmp_path: Path, compacted: bool) -> None:
    path = tmp_path / "j.db"
    await write(path, compacted=compacted)
    whole = BODIES[10:] if compacted else BODIES
    pristine = path.read_bytes()
    offsets = [*range(0, 100, 3), *range(101, len(pristine), 997 if compacted else 499)]
    for offset in offsets:
        hurt = copy(path, tmp_path / "hurt")
        data = bytearray(pristine)
        data[offset] ^= 0x41
        hurt.write_bytes(data)
        judge(await state(hurt), whole, f"offset {offset}")


async def test_a_cut_file_never_makes_another_state(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await write(path)
    pristine = path.read_bytes()
    for size in [0, 1, 99, *range(512, len(pristine), 1531)]:
        hurt = copy(path, tmp_path / "hurt")
        hurt.write_bytes(pristine[:size])
        judge(await state(hurt), BODIES, f"cut at {size}")


async def test_a_hurt_write_ahead_log_is_told_by_the_mark(tmp_path: Path) -> None:
    path, live = tmp_path / "j.db", tmp_path / "live"
    store = SqliteStore(path, settings=JournalSettings(mark_every_s=0.0))
    await store.open()
    for n in range(1, 41):
        await store.append([draft(n, size=90)])
    await store.save_snapshot(20, b"state 20")
    copy(path, live)  # as a crash would leave it: all commits in the log
    await store.close()
    pristine = (live / "j.db-wal").read_bytes()
    lost = 0
    for offset in range(0, len(pristine), 2111):
        hurt = copy(live / "j.db", tmp_path / "hurt")
        data = bytearray(pristine)
        data[offset] ^= 0x41
        hurt.with_name("j.db-wal").write_bytes(data)
        verdict, behind, bodies, _ = await state(hurt)
        if verdict != "refused":
            assert bodies == BODIES[: len(bodies)]
            assert behind or len(bodies) == 40, f"offset {offset}"
            lost += bool(behind)
    assert lost > 5


async def test_an_old_copy_is_told_until_a_person_accepts_it(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await write(path, upto=5)
    old = path.read_bytes()
    await write(path, upto=9)
    path.write_bytes(old)
    for _ in range(2):  # going on does not make it good
        async with SqliteStore(path) as store:
            assert "entry 9 was acknowledged" in store.behind
            assert "entry 9 was acknowledged" in (await store.verify()).reason
    async with SqliteStore(path) as store:
        await store.append([draft(n) for n in range(100, 110)])
        assert store.behind
    async with SqliteStore(path) as store:
        assert "replaced or restored" in store.behind
        await store.accept(15)
        assert store.behind == ""
    async with SqliteStore(path) as store:
        assert store.behind == ""
        assert (await store.verify()).ok


async def test_a_journal_without_its_mark_or_a_mark_without_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await write(path, upto=3)
    mark = path.with_name("j.db.mark")
    kept = mark.read_bytes()
    mark.unlink()
    async with SqliteStore(path) as store:
        assert "mark" in store.behind
    mark.write_bytes(b"{nonsense")
    async with SqliteStore(path) as store:
        assert "not a mark" in store.behind
    mark.write_bytes(kept)
    path.unlink()
    async with SqliteStore(path) as store:
        assert "entry 3 was acknowledged" in store.behind


async def edit(path: Path, statement: str) -> None:
    con = sqlite3.connect(path)
    with con:
        con.execute(statement)
    con.close()


@pytest.mark.parametrize(
    ("statement", "bad", "reason"),
    [
        ("UPDATE entries SET body = 'forged' WHERE seq = 25", 25, "changed"),
        ("UPDATE entries SET body = X'00' WHERE seq = 25", 25, "changed"),
        ("UPDATE entries SET kind = 'mark' WHERE seq = 25", 25, "changed"),
        ("UPDATE entries SET at = at + 1 WHERE seq = 25", 25, "changed"),
        ("UPDATE entries SET epoch = 9 WHERE seq = 25", 25, "changed"),
        ("UPDATE entries SET version = 2 WHERE seq = 25", 25, "changed"),
        ("UPDATE entries SET at = 'noon' WHERE seq = 25", 25, "changed"),
        ("UPDATE entries SET at = 9000000000000000000 WHERE seq = 25", 25, "changed"),
        ("DELETE FROM entries WHERE seq = 25", 25, "missing"),
        ("UPDATE entries SET seq = 41 WHERE seq = 25", 25, "missing"),
    ],
)
async def test_an_edited_entry_is_named(tmp_path: Path, statement: str, bad: int, reason: str) -> None:
    path = tmp_path / "j.db"
    await write(path)
    await edit(path, statement)
    with pytest.raises(StoreCorrupt, match=f"entry {bad}"):
        await SqliteStore(path, settings=SETTINGS).open()
    async with SqliteStore(path, readonly=True, settings=SETTINGS) as store:
        report = await store.verify()
        assert (report.ok, report.first_bad_seq) == (False, bad)
        assert reason in report.reason
        got = []
        with pytest.raises(StoreCorrupt):
            async for entry in store.entries():
                got.append(entry.body)
        assert got == BODIES[: len(got)]


async def test_a_hurt_snapshot_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await write(path, compacted=True)
    await edit(path, "UPDATE snapshots SET body = X'00' WHERE seq = 20")
    async with SqliteStore(path, settings=SETTINGS) as store:
        assert await store.load_snapshot() == (10, b"state 10")
        assert "snapshot at entry 20" in (await store.verify()).reason
    await edit(path, "UPDATE snapshots SET body = X'00'")
    with pytest.raises(StoreCorrupt, match="none of its snapshots"):
        await SqliteStore(path, settings=SETTINGS).open()


async def test_what_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"not a database at all, but long enough to be read as one" * 40)
    other = tmp_path / "other.db"
    await edit(other, "CREATE TABLE mine (a)")
    for path in (garbage, other):
        before = path.read_bytes()
        for readonly in (False, True):
            with pytest.raises(StoreCorrupt):
                await SqliteStore(path, readonly=readonly).open()
        assert path.read_bytes() == before
    with pytest.raises(StoreUnavailable, match="no journal at"):
        await SqliteStore(tmp_path / "none.db", readonly=True).open()
    with pytest.raises(StoreUnavailable):
        await SqliteStore(tmp_path).open()


async def test_a_newer_schema_is_read_but_not_written(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await write(path, upto=3)
    await edit(path, "PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match=r"newer consulguard \(schema 99"):
        await SqliteStore(path).open()
    async with SqliteStore(path, readonly=True) as store:
        assert len([entry async for entry in store.entries()]) == 3


async def test_an_unreadable_message_costs_that_message_only(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with SqliteStore(path, settings=SETTINGS) as store:
        await store.append([draft(1)], [message("a"), message("b", thread=("x",))])
    await edit(path, "UPDATE outbox SET message = X'7B7D' WHERE key = 'a'")
    async with SqliteStore(path, settings=SETTINGS) as store:
        assert [row.key for row in await store.outbox_due("console", 10)] == ["b"]
        await store.append([], [message("a", 2, thread=("y",))])
        assert {row.key: row.message.thread for row in await store.outbox_due("console", 10)} == {
            "a": ("y",),
            "b": ("x",),
        }
