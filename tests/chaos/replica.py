"""One daemon of a world: its process, its own way to each server, and what it says of its lease."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.notes import Notes
from tests.e2e.support.bot import Bot
from tests.support.chaos import BLACKHOLE, NONE, Chaos
from tests.support.wall import Wall

SAID = re.compile(r"(lease_gained|lease_lost|lease_released)\W+.*?epoch=(\d+)")
AGAIN_S = 1.0  # until whoever supervises it starts it again
EXPECTED = {0: "asked to end", 70: "dead-man switch", 74: "no journal", -signal.SIGKILL: "killed"}
WAYS = ("consul", "postgres", "zookeeper")


class Replica:
    """``ways``: the proxies to consul, postgres and (several) zookeeper."""

    def __init__(self, name: str, folder: Path, notes: Notes) -> None:
        self.name, self.folder, self._notes = name, folder, notes
        self.ways: dict[str, list[Chaos]] = {}
        self.bot: Bot
        self.env: dict[str, str] = {}
        self.wall: Wall | None = None
        self.wanted = False  # whether it is started again when it has ended by itself
        self.up = False  # its process was started and has not been seen to end
        self.frozen = False
        self.ends: list[int] = []
        self._read = 0
        self._due: float | None = None

    def start(self, failpoint: str = "") -> None:
        self.wanted, self.up, self._due = True, True, None
        self._notes.add("lives", replica=self.name, what="start")
        self.bot.start(failpoint, env=self.env)

    async def supervise(self, now: float) -> None:
        """What it has said since the last time; started again a second after it has ended."""
        self._listen()
        code = self.bot.ended_with()
        if code is not None:
            await self.bot.ended()
            self._listen()
            self.up = False
            self.ends.append(code)
            self._notes.add("lives", replica=self.name, what="end", code=code, fine=code in EXPECTED)
            self.frozen, self._due = False, now + AGAIN_S
        if self.wanted and self._due is not None and now >= self._due:
            self.start()

    def freeze(self) -> None:
        self._fault("freeze")
        self.frozen = True
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)
        self.frozen = False
        self._fault("thaw")

    def kill(self) -> None:
        self._fault("kill")
        self._signal(signal.SIGKILL)

    def end(self) -> None:
        """In good order; started again by whoever supervises."""
        self._fault("term")
        self._signal(signal.SIGTERM)

    def cut(self, *ways: str) -> None:
        """Silence in both directions: no end, no reset."""
        self._fault(f"cut {ways}")
        for proxy in self._proxies(ways):
            proxy.set(BLACKHOLE)

    def mend(self, *ways: str) -> None:
        for proxy in self._proxies(ways):
            proxy.set(NONE)
        self._fault(f"mend {ways}")

    def jump(self, seconds: int) -> None:
        """Its wall clock, and only its."""
        assert self.wall is not None
        self._fault(f"clock {seconds:+d}")
        self.wall.set(seconds)

    async def finish(self) -> None:
        """For good, whatever state it is in. Returns when whoever supervises has seen it end."""
        self.wanted = False
        self._signal(signal.SIGKILL)
        while self.up:
            await asyncio.sleep(0.02)

    def measure(self) -> dict[str, Any]:
        """Memory and open files now; nothing while it does not run."""
        with contextlib.suppress(psutil.NoSuchProcess, AssertionError):
            process = psutil.Process(self.bot.pid)
            return {"rss": process.memory_info().rss, "fds": process.num_fds(), "began": process.create_time()}
        return {}

    def sockets(self) -> set[tuple[str, int]]:
        """Where its TCP connections lead, and what it listens on."""
        found: set[tuple[str, int]] = set()
        with contextlib.suppress(psutil.NoSuchProcess, AssertionError):
            for each in psutil.Process(self.bot.pid).net_connections("inet"):
                place = each.laddr if each.status == psutil.CONN_LISTEN else each.raddr
                found |= {(place.ip, place.port)} if place else set()
        return found

    def _proxies(self, ways: tuple[str, ...]) -> list[Chaos]:
        return [proxy for way in ways or WAYS for proxy in self.ways.get(way, ())]

    def _signal(self, which: signal.Signals) -> None:
        if self.bot.runs:
            self.bot.signal(which)

    def _fault(self, what: str) -> None:
        self._notes.add("faults", replica=self.name, what=what)

    def _listen(self) -> None:
        path = self.folder / "bot.log"
        if not path.exists():
            return
        with path.open("rb") as log:
            log.seek(self._read)
            whole, _, _ = log.read().rpartition(b"\n")
        self._read += len(whole) + bool(whole)
        for line in whole.decode(errors="replace").splitlines():
            if said := SAID.search(line):
                self._notes.add("said", replica=self.name, what=said[1], epoch=int(said[2]))
