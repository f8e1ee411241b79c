"""The journal's disk gives out under the whole daemon: full, or failing to make a commit durable.

A service fails meanwhile that a playbook would repair. The daemon is a process of its own on a real Consul, the
disk a small tmpfs (where none may be mounted: a folder in memory, and the free-space gate instead of its end).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from consulguard.testing import RealConsul, SlackTwin

from tests.e2e.support.case import HTTP, Case
from tests.e2e.support.judge import judge_often
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]
STORE = 74  # how the daemon ends when its journal cannot be written
KIB = 1 << 10
GATE = 256 * KIB


class Disk:
    """A small file system with a file on it that takes what room there is."""

    def __init__(self, folder: Path, min_free: int) -> None:
        self.folder = folder
        self.min_free = min_free
        self._hog = folder / "hog"

    def fill(self) -> None:
        """Down to the last byte, or to less than the gate wants."""
        room = os.statvfs(self.folder)
        leave = self.min_free - min(self.min_free // 2, 4096 * KIB)
        if self.min_free:
            self._write(room.f_bavail * room.f_frsize - leave)
        else:
            with contextlib.suppress(OSError):
                self._write(1 << 30)

    def _write(self, size: int) -> None:
        with self._hog.open("wb", buffering=0) as file:
            for _ in range(0, size, KIB):
                file.write(bytes(KIB))

    def free(self) -> None:
        self._hog.unlink()


@contextlib.contextmanager
def disk(folder: Path, *, gate: bool) -> Iterator[Disk]:
    """``gate``: the daemon keeps some of it free; else only the end of the disk stops it."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False).returncode == 0:
        try:
            yield Disk(folder, GATE if gate else 0)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        room = os.statvfs(memory)
        yield Disk(Path(memory), (room.f_bavail * room.f_frsize - 16384 * KIB) // KIB * KIB)


def configure(case: Case, journal: Path | None = None, slack: SlackTwin | None = None, **more: Any) -> None:
    """Over what the case has configured."""
    config = json.loads(case.bot.config.read_text())
    if journal is not None:
        case.bot.journal = journal
        config["journal"]["path"] = str(journal)
    config["journal"] |= more
    if slack is not None:
        token = case.bot.folder / "token"
        token.write_text(slack.token)
        token.chmod(0o600)
        config["slack"] = {
            "enabled": True,
            "channel": "#incidents",
            "bot_token_file": str(token),
            "api_url": slack.api,
        }
    case.bot.config.write_text(json.dumps(config))


async def until(case: Case, holds: Any, within_s: float = 60.0) -> None:
    async def look() -> object:
        assert case.bot.runs, case.bot.output()
        return holds()

    try:
        await eventually(look, bool, within_s=within_s)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{case.bot.output()}") from None


async def say(case: Case, *verb: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *case.bot.argv(*verb), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


@pytest.mark.parametrize("gate", [True, False], ids=["less than is kept free", "not a byte left"])
async def test_a_full_disk(gate: bool, real_consul_module: RealConsul, tmp_path: Path, unique: str) -> None:
    with disk(tmp_path / "disk", gate=gate) as full:
        async with SlackTwin() as slack, Case(HTTP[0], real_consul_module, tmp_path / "c", unique) as case:
            configure(case, full.folder / "journal.sqlite", slack, min_free=f"{full.min_free // KIB}KiB")
            case.bot.start()
            await until(case, lambda: case.record().events("ViewChanged"))
            full.fill()
            await case.fail()
            await until(case, lambda: any("cannot be written" in m.text for m in slack.messages))
            await until(case, lambda: "cannot be written" in case.bot.output())
            acknowledged = case.record().lines
            code, told = await say(case, "resume")
            assert (code, "while the journal cannot be written" in told) == (1, True), told
            assert (case.recorded(), case.record().lines) == ([], acknowledged)

            full.free()
            await until(case, lambda: len(case.record().lives) == 2)
            assert case.record().lines[: len(acknowledged)] == acknowledged
            (stop,) = [line.body for line in case.record().events("Commanded")]
            assert (stop["command"], stop["who"]) == ("stop", "journal")
            await until(case, lambda: any("written again" in m.text for m in slack.messages))
            await until(case, lambda: "stop by journal" in json.dumps(case.record().messages))
            await until(case, lambda: case.rest() or case.record().fact(case.name, "Next step"))
            assert case.recorded() == []

            assert (await say(case, "resume"))[0] == 0
            await case.comes_to_rest()
            judge_often(case)
            assert len(case.recorded()) == 1


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_a_commit_that_cannot_be_made_durable(
    real_consul_module: RealConsul, tmp_path: Path, unique: str
) -> None:
    """From the n-th fsync on each of them fails: early, on the way, and around the effect."""

    async def one(number: int, nth: int) -> None:
        folder = tmp_path / str(number)
        async with Case(HTTP[0], real_consul_module, folder, f"{unique}-{number}") as case:
            calls = "fsync,fdatasync"
            under = ("strace", "-f", "-qq", "-o", str(folder / "trace"), "-e", f"trace={calls}")
            case.bot.start(under=(*under, "-e", f"inject={calls}:error={errno.errorcode[errno.EIO]}:when={nth}+"))
            await case.fail()
            assert await case.bot.ended(within_s=120.0) == STORE, case.bot.output()
            assert "Traceback" not in case.bot.output()
            case.bot.start()
            await case.comes_to_rest()
            judge_often(case)

    async with asyncio.TaskGroup() as group:
        for number, nth in enumerate((5, 14, 24, 30)):
            group.create_task(one(number, nth))


async def test_yesterdays_copy(real_consul_module: RealConsul, tmp_path: Path, unique: str) -> None:
    """The journal is put back as it was before a repair; its mark knows better."""
    async with Case(HTTP[0], real_consul_module, tmp_path, unique) as case:
        case.bot.start()
        await until(case, lambda: case.record().events("ViewChanged"))
        await case.bot.stop()
        yesterday = case.bot.journal.read_bytes()
        case.bot.start()
        await case.fail()
        await case.comes_to_rest()
        await case.bot.stop()
        case.bot.journal.write_bytes(yesterday)

        await case.fail()
        case.bot.start()
        await until(case, lambda: case.record().events("Commanded"))
        stop = case.record().events("Commanded")[0].body
        assert (stop["command"], stop["who"]) == ("stop", "journal")
        assert "was acknowledged: the rest is lost" in stop["args"]["reason"]
        await until(case, lambda: case.record().fact(case.name, "Next step"))
        assert (len(case.recorded()), case.record().intents) == (1, [])
        assert (await say(case, "resume"))[0] == 0
        await until(case, lambda: len(case.recorded()) == 2)
