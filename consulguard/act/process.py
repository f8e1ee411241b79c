"""One child process with its own group: no shell, a fixed environment, bounded output, and a certain end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

KEEP = 4096  # bytes kept of each of stdout and stderr
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/"}
DRAIN_S = 0.2  # output still on its way when the process ends
POLL_S = 0.02


_LIVE: set[int] = set()  # process groups at work


def kill_all() -> None:
    """SIGKILL to every command at work: for who ends without waiting, and leaves nobody to watch them."""
    for group in tuple(_LIVE):
        _signal(group, signal.SIGKILL)


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended. ``code`` is None when the deadline did it; negative: by that signal."""

    code: int | None
    stdout: str
    stderr: str


class _Pipe:
    """Reads a pipe to its end and keeps the first ``KEEP`` bytes; a grandchild may hold it open for ever."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        os.set_blocking(self._read, False)
        self._kept = bytearray()
        self.ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._read, self._ready)

    def _ready(self) -> None:
        try:
            chunk = os.read(self._read, 65536)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            asyncio.get_running_loop().remove_reader(self._read)
            self.ended.set()
        elif (room := KEEP - len(self._kept)) > 0:
            self._kept += chunk[:room]

    def close_write(self) -> None:
        if self.write >= 0:
            os.close(self.write)
            self.write = -1

    def close(self) -> None:
        self.close_write()
        asyncio.get_running_loop().remove_reader(self._read)
        os.close(self._read)

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")


async def run(argv: Sequence[str], extra: Mapping[str, str], *, timeout_s: float, grace_s: float) -> Ended:
    """Run ``argv`` to its end or to the deadline; then, or when cancelled, its whole process group is ended.

    Raises OSError when it cannot be started.
    """
    out, err = _Pipe(), _Pipe()
    process: asyncio.subprocess.Process | None = None
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out.write,
            stderr=err.write,
            cwd="/",
            env={**ENVIRONMENT, **extra},
            start_new_session=True,
        )
        out.close_write()
        err.close_write()
        _LIVE.add(process.pid)
        code = await _wait(process, timeout_s, grace_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await out.ended.wait()
                await err.ended.wait()
        return Ended(code=code, stdout=out.text(), stderr=err.text())
    finally:
        if process is not None:
            _LIVE.discard(process.pid)
        out.close()
        err.close()


async def _wait(process: asyncio.subprocess.Process, timeout_s: float, grace_s: float) -> int | None:
    over = False
    try:
        async with asyncio.timeout(timeout_s):
            await process.wait()
        over = True
        return process.returncode
    except TimeoutError:
        return None
    finally:
        if not over:
            await _end_group(process, grace_s)


async def _end_group(process: asyncio.subprocess.Process, grace_s: float) -> None:
    """SIGTERM, then SIGKILL after ``grace_s``, to the process and all it started that did not leave its group."""
    gone = False
    try:
        _signal(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await _gone(process.pid)
                gone = True
    finally:  # also when we are cancelled a second time
        if not gone:
            _signal(process.pid, signal.SIGKILL)
    await process.wait()


async def _gone(group: int) -> None:
    while True:
        if not _signal(group, 0):
            return
        await asyncio.sleep(POLL_S)


def _signal(group: int, what: int) -> bool:
    """False when nobody of the group is left."""
    try:
        os.killpg(group, what)
    except ProcessLookupError:
        return False
    except PermissionError:  # someone of the group runs as another user: there is somebody
        return True
    return True
