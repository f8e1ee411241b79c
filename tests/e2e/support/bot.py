"""The bot as its own process, with short timings, for tests that kill it and read its journal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.support.zygote import Forked

SETTLE_S = 1
FAST: dict[str, dict[str, Any]] = {
    "watch": {"settle": f"{SETTLE_S}s"},
    "health": {"recovery": "1s"},
    "correlate": {"resolve": "1s"},
    "guards": {"hold_down": "1s", "root_settle": "1s", "min_start_interval": "1s", "min_looks": 1},
    "notify": {"group_wait": "1s"},
    "server": {"dead_man": {"loop_lag": "60s", "append": "60s", "silence": "120s"}},  # a busy machine is no fault
}


class Bot:
    """``sections`` go over ``FAST``. One folder holds configuration, playbooks, journal and output."""

    def __init__(self, folder: Path, address: str, /, *playbooks: dict[str, Any], **sections: Any) -> None:
        self.folder = folder
        self.journal = folder / "state" / "journal.sqlite"
        self.config = folder / "consulguard.yaml"
        self._log = folder / "bot.log"
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._armed = False  # with a fail-point, it may die of that when it is asked to end
        (folder / "playbooks").mkdir(parents=True)
        for playbook in playbooks:
            (folder / "playbooks" / f"{playbook['name']}.yaml").write_text(json.dumps(playbook))
        config: dict[str, Any] = {
            "mode": "auto",
            "consul": {"http_addr": address},
            "playbooks": {"dir": "playbooks"},
            "journal": {"path": str(self.journal)},
            **FAST,
        }
        for name, section in sections.items():
            merged = {**config.get(name, {}), **section} if isinstance(section, dict) else section
            config[name] = merged
        self.config.write_text(json.dumps(config))

    # ---- life

    def argv(self, *verb: str) -> list[str]:
        """A verb with this configuration."""
        return [sys.executable, "-m", "consulguard", *verb, "-c", str(self.config)]

    def start(
        self,
        failpoint: str = "",
        under: Sequence[str] = (),
        env: dict[str, str] | None = None,
        stdout: int | None = None,
    ) -> None:
        """Start it; with a fail-point it will die, stop or block there.

        ``under``: a command that runs it. ``stdout``: for its messages, apart from its log. With any of these, or
        an environment, it is a new process; else it is forked from one that has imported everything.
        """
        assert self._process is None, "it runs already"
        self._armed = bool(failpoint)
        extra = {"CONSULGUARD_FAILPOINT": failpoint} if failpoint else {}
        if not under and not env and stdout is None:
            self._process = Forked(["run", "-c", str(self.config)], environment() | extra, self._log)
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*under, *self.argv("run")],
                env=environment() | extra | (env or {}),
                stdin=subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
            )

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ended_with(self) -> int | None:
        """The exit code of the process that was started last; None while it runs, or where there is none."""
        return self._process.poll() if self._process is not None else None

    async def died(self, within_s: float = 90.0) -> None:
        """Wait until its fail-point has killed it."""
        assert await self._ended(within_s) == -signal.SIGKILL, self.output()
        self._process = None

    async def ended(self, within_s: float = 90.0) -> int:
        """Wait until it has ended by itself; its exit code."""
        code = await self._ended(within_s)
        self._process = None
        return code

    def forget(self) -> None:
        """It has ended by itself, as was to be expected: it may be started again."""
        assert not self.runs
        self._process = None

    def signal(self, which: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(which)

    @property
    def stopped(self) -> bool:
        """Whether SIGSTOP has it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return self.runs and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        return False

    async def kill(self) -> None:
        """SIGKILL, wherever it is."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM and a clean end; fine when it does not run."""
        if self._process is not None and self._process.poll() is not None:
            code, self._process = self._process.returncode, None
            assert code == -signal.SIGKILL, f"it ended by itself with {code}: {self.output()}"
            return
        code = await self._end(signal.SIGTERM)
        fine = {0, None, -signal.SIGTERM}  # the last: before it could listen
        assert code in fine | ({-signal.SIGKILL} if self._armed else set()), self.output()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def _end(self, how: signal.Signals) -> int | None:
        if self._process is None:
            return None
        self._process.send_signal(how)
        try:
            return await self._ended(60.0)  # what is under way may take its time to end
        finally:
            self._kill_all(self._process.pid)
            self._process.wait()
            self._process = None

    @staticmethod
    def _kill_all(pid: int) -> None:
        """Also what runs under ``under``."""
        with contextlib.suppress(psutil.NoSuchProcess):
            started = psutil.Process(pid)
            for process in (*started.children(recursive=True), started):
                process.kill()

    async def _ended(self, within_s: float) -> int:
        assert self._process is not None
        end = time.monotonic() + within_s
        while (code := self._process.poll()) is None:
            assert time.monotonic() < end, f"it did not end within {within_s:g} s: {self.output()}"
            await asyncio.sleep(0.02)
        return code

    # ---- looking

    async def ask(self, *verb: str) -> Any:
        """The JSON answer of another verb with the same configuration."""
        with tempfile.TemporaryDirectory() as name:
            out, err = Path(name) / "out", Path(name) / "err"
            words = [*verb, "-c", str(self.config), "-o", "json"]
            code = await asyncio.to_thread(lambda: Forked(words, environment(), out, err=err).wait())
            assert code == 0, (verb, code, err.read_text())
            return json.loads(out.read_text())

    def output(self) -> str:
        """The end of what it has written."""
        return self._log.read_text(errors="replace")[-6000:] if self._log.exists() else ""


def environment() -> dict[str, str]:
    """Ours without what would change how the bot behaves."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("CONSUL_", "CONSULGUARD_"))}
