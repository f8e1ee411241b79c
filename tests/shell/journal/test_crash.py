"""The process dies, the disk fills up, a second process comes: nothing acknowledged is lost."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from consulguard.errors import StoreFull, StoreUnavailable
from consulguard.journal import JournalSettings, SqliteStore

from tests.support.messages import draft

ROOT = Path(__file__).parents[3]


@contextmanager
def writer(
    path: Path, *, batch: int = 5, size: int = 0, max_file: int = 0, under: Sequence[str] = (), batches: int = 0
) -> Iterator[subprocess.Popen[str]]:
    def limit() -> None:
        if max_file:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_file, max_file))

    process = subprocess.Popen(
        [*under, sys.executable, "-m", "tests.shell.journal.writer", *map(str, (path, batch, size, batches))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_acks(process: subprocess.Popen[str], count: int) -> int:
    assert process.stdout is not None
    acked = 0
    for line in process.stdout:
        if line.startswith("ack "):
            acked = int(line.split()[1])
            count -= 1
        if count == 0:
            break
    return acked


async def test_kill_in_mid_append_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    acked = 0
    for acks in (1, 3, 17, 40):
        with writer(path) as process:
            acked = read_acks(process, acks)
            process.send_signal(signal.SIGKILL)
            assert process.stdout is not None
            acked = max([acked, *(int(line.split()[1]) for line in process.stdout if line.startswith("ack "))])
        async with SqliteStore(path) as store:
            assert store.behind == ""
            assert (await store.verify()).ok
            bodies = [entry.body async for entry in store.entries()]
            assert len(bodies) >= acked
            assert len(bodies) <= acked + 5  # one unacknowledged commit at most
            assert bodies == [draft(n).body for n in range(1, len(bodies) + 1)]
            [row] = await store.outbox_due("console", 10)
            assert row.told + len(row.message.thread) == len(bodies) // 5


async def test_a_full_disk_stops_the_journal_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with writer(path, batch=20, size=400, max_file=300_000) as process:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 4
    lines = out.splitlines()
    assert lines[-1] == "still refused"
    assert lines[-2].startswith("failed append: ")
    acked = max(int(line.split()[1]) for line in lines if line.startswith("ack "))
    async with SqliteStore(path) as store:
        assert store.behind == ""
        bodies = [entry.body async for entry in store.entries()]
        assert acked <= len(bodies) <= acked + 20
        assert bodies == [draft(n, size=400).body for n in range(1, len(bodies) + 1)]
        await store.append([draft(9)])


async def test_a_second_process_is_refused_and_told_the_pid(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with SqliteStore(path):
        with writer(path) as process:
            out, _ = process.communicate(timeout=60)
            assert process.returncode == 3
            assert f"in use by process {os.getpid()}" in out
            assert str(path) in out


async def test_a_reader_looks_on_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with writer(path) as process:
        read_acks(process, 3)
        store = SqliteStore(path, readonly=True)
        await store.open()
        first = await store.last()
        while read_acks(process, 1) <= first[0]:  # some were said before and lie in the pipe
            pass
        assert await store.last() > first
        assert (await store.verify()).ok
        assert store.behind == ""
        with pytest.raises(StoreUnavailable, match="read only"):
            await store.append([draft(0)])
        await store.close()


async def test_little_space_is_seen_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with pytest.raises(StoreFull, match="nothing was written"):
        await SqliteStore(path, settings=JournalSettings(free_space=1 << 62)).open()
    assert not path.exists()
    async with SqliteStore(path) as store:
        assert await store.append([draft(0)]) == 1


def at_fsync(what: str, folder: Path) -> list[str]:
    """strace's fault injection: the n-th (or n-th and later) call that makes data durable goes wrong."""
    calls = "fsync,fdatasync"
    return [
        "strace",
        "-f",
        "-qq",
        "-o",
        str(folder / "trace"),
        "-e",
        f"trace={calls}",
        "-e",
        f"inject={calls}:{what}",
    ]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("number", [3, 8, 11, 14, 17, 20])
async def test_an_error_from_the_nth_fsync_on(tmp_path: Path, number: int) -> None:
    path = tmp_path / "j.db"
    with writer(path, under=at_fsync(f"error=EIO:when={number}+", tmp_path)) as process:
        out, _ = process.communicate(timeout=60)
    lines = out.splitlines()
    acked = max([0, *(int(line.split()[1]) for line in lines if line.startswith("ack "))])
    assert lines[-1] == "still refused" or lines[-1].startswith("refused open")
    async with SqliteStore(path) as store:
        assert (store.behind, (await store.verify()).ok) == ("", True)
        bodies = [entry.body async for entry in store.entries()]
        assert len(bodies) in (acked, acked + 5)  # a commit that failed may be there or not: it is unknown
        assert bodies == [draft(n).body for n in range(1, len(bodies) + 1)]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_death_at_every_fsync_of_a_way(tmp_path: Path) -> None:
    """From making the journal to closing it, with snapshots, killed once at each call that makes data durable."""
    number = 0
    while True:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "j.db"
        with writer(path, batches=5, under=at_fsync(f"signal=KILL:when={number}", folder)) as process:
            out, _ = process.communicate(timeout=60)
        lines = out.splitlines()
        acked = max([0, *(int(line.split()[1]) for line in lines if line.startswith("ack "))])
        async with SqliteStore(path) as store:
            assert (store.behind, (await store.verify()).ok) == ("", True), number
            bodies = [entry.body async for entry in store.entries()]
            assert len(bodies) in (acked, acked + 5), number
            assert bodies == [draft(n).body for n in range(1, len(bodies) + 1)]
            snapshot = await store.load_snapshot()
            assert snapshot is None or snapshot == (snapshot[0], b"state %d" % snapshot[0])
        if process.returncode == 0:
            assert lines[-1] == "closed"
            break
    assert number > 20
