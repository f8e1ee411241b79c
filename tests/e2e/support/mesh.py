"""The Connect mesh a -> b -> c with c's backend as a process of its own, which a command can start again."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from contextlib import suppress
from pathlib import Path

from tests.support.mesh import ConnectMesh

BACKEND = Path(__file__).with_name("backend.py")
# The command outlives nobody: what it starts leaves its session, as a service manager's child would.
_START = """#!{python} -IS
import subprocess, sys
child = subprocess.Popen([sys.executable, {backend!r}, {port!r}], start_new_session=True,
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
with open({pids!r}, "a") as out:
    out.write(str(child.pid) + "\\n")
"""


class RealChain(ConnectMesh):
    """``command`` starts c's backend; each pid is kept in ``pids``, so that nothing is left behind."""

    def __init__(self, address: str, folder: Path) -> None:
        super().__init__(address, log_folder=folder)
        self._pids = folder / "pids"
        self._command = folder / "start-c"
        text = _START.format(
            python=sys.executable, backend=str(BACKEND), port=str(self.nodes["c"].port), pids=str(self._pids)
        )
        self._command.write_text(text)
        self._command.chmod(stat.S_IRWXU)

    @property
    def command(self) -> str:
        return str(self._command)

    @property
    def starts(self) -> int:
        """How often c's backend was started."""
        return len(self._pids.read_text().split()) if self._pids.exists() else 0

    async def ready(self, within_s: float = 60.0) -> None:
        """The base class has started a backend of its own for c: it gives way to the real one."""
        await self.nodes["c"].stop()
        await self.restore("c")
        await super().ready(within_s)

    async def restore(self, name: str) -> None:
        if name != "c":
            await super().restore(name)
            return
        process = await asyncio.create_subprocess_exec(self.command)
        assert await process.wait() == 0

    async def kill(self, name: str) -> None:
        """kill -9 for c's process; the others stop listening."""
        if name != "c":
            await super().kill(name)
            return
        for pid in self._pids.read_text().split() if self._pids.exists() else ():
            with suppress(ProcessLookupError, FileNotFoundError):  # that one is gone
                if BACKEND.name in Path(f"/proc/{pid}/cmdline").read_text(errors="replace"):
                    os.kill(int(pid), signal.SIGKILL)

    async def stop(self) -> None:
        await self.kill("c")
        await super().stop()
