"""A command that never ends and does not listen, with a child of the same kind."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

_DEAF = "from signal import *; signal(SIGTERM, SIG_IGN); print(1, flush=True); import time; time.sleep(3600)"
_COMMAND = """#!{python} -IS
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-IS", "-c", {deaf!r}], stdout=subprocess.PIPE)
child.stdout.readline()
with open({pids!r} + ".new", "w") as out:
    out.write(str(os.getpid()) + " " + str(child.pid))
os.rename({pids!r} + ".new", {pids!r})
time.sleep(3600)
"""


class Hanging:
    def __init__(self, folder: Path) -> None:
        self._pids = folder / "hanging.pids"
        command = folder / "hang"
        command.write_text(_COMMAND.format(python=sys.executable, deaf=_DEAF, pids=str(self._pids)))
        command.chmod(stat.S_IRWXU)
        self.path = str(command)

    def step(self, **more: Any) -> dict[str, Any]:
        return {"name": "hang", "uses": "exec.run", "with": {"argv": [self.path], "idempotent": False}, **more}

    def family(self) -> list[int]:
        """The command and its child, as soon as both are there."""
        return [int(pid) for pid in self._pids.read_text().split()] if self._pids.exists() else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
