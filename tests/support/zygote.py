"""Starts consulguard quickly: a process that has imported everything forks. What is forked is the whole program.

As a script it serves orders, one JSON object a line: ``argv``, ``env``, ``cwd``, the files ``stdin``, ``out`` and
``err``, and ``told``, the beginning of the names of two files in which it tells the pid and, in the end, how it
ended.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

TO_THE_GROUP = (signal.SIGTERM, signal.SIGINT)  # who tells how others end must not be ended by these


class Forked:
    """What ``subprocess.Popen`` would be for it, as far as it is needed."""

    def __init__(
        self,
        argv: Sequence[str],
        env: dict[str, str],
        log: Path,
        *,
        err: Path | None = None,
        stdin: Path = Path(os.devnull),
        cwd: Path | None = None,
    ) -> None:
        self._told = log.with_name(f"life-{time.monotonic_ns()}-{threading.get_ident()}")
        self.returncode: int | None = None
        order = {
            "argv": argv,
            "env": env,
            "cwd": str(cwd or Path.cwd()),
            "stdin": str(stdin),
            "out": str(log),
            "err": str(err or log),
            "told": str(self._told),
        }
        server = _server()
        assert server.stdin is not None
        server.stdin.write(json.dumps(order).encode() + b"\n")
        server.stdin.flush()
        self.pid = self._number("pid", 60.0)

    def poll(self) -> int | None:
        if self.returncode is None and (path := self._told.with_suffix(".end")).exists():
            self.returncode = int(path.read_text())
        return self.returncode

    def send_signal(self, what: signal.Signals) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, what)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, within_s: float = 60.0) -> int:
        self.returncode = self._number("end", within_s)
        return self.returncode

    def _number(self, name: str, within_s: float) -> int:
        path, end = self._told.with_suffix(f".{name}"), time.monotonic() + within_s
        while not path.exists():
            assert time.monotonic() < end, f"nothing is told in {path}"
            time.sleep(0.005)
        return int(path.read_text())


@functools.cache
def _server() -> subprocess.Popen[bytes]:
    clean = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}  # for what reads the environment as it is imported
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TO_THE_GROUP)  # what we start is born with it
    try:
        server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, env=clean)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert server.stdin is not None
    atexit.register(server.stdin.close)
    return server


# ---- the script


def serve() -> None:
    for name in (
        "consulguard.cli.run",
        "consulguard.app.service",
        "consulguard.app.chat",
        "consulguard.app.calendar",
        "sqlite3",
        "aiohttp",
    ):
        importlib.import_module(name)
    for group in ("actions", "notifiers", "stores", "leases"):
        for point in entry_points(group=f"consulguard.{group}"):
            point.load()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in iter(sys.stdin.buffer.readline, b""):
        if os.fork() == 0:
            os.close(0)
            os._exit(_watch(json.loads(line)))


def _watch(order: dict[str, Any]) -> int:
    """Its parent: tells how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        _be(order)
    _tell(order["told"], "pid", pid)
    _, status = os.waitpid(pid, 0)
    _tell(order["told"], "end", os.waitstatus_to_exitcode(status))
    return 0


def _be(order: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(order["env"])
    random.seed()
    os.chdir(order["cwd"])
    os.open(order["stdin"], os.O_RDONLY)  # the lowest free number: 0
    sys.stdin = os.fdopen(0, encoding="utf-8")  # what the last one has read ahead was orders
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_THE_GROUP)
    sys.argv = ["consulguard", *order["argv"]]
    from consulguard.cli import main

    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    sys.stdout.flush()
    os._exit(code)


def _tell(told: str, name: str, number: int) -> None:
    aside = Path(f"{told}.{name}.new")
    aside.write_text(str(number))
    aside.rename(f"{told}.{name}")


if __name__ == "__main__":
    serve()
