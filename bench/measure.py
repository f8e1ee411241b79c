"""What all benches measure with: shares of a CPU, memory, percentiles, lag of a loop, and a table."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

TICK_S = 0.01


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of them do not exceed; NaN of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


@dataclass(frozen=True, slots=True)
class Usage:
    """One process, its ended children included, between two looks."""

    cpu: float  # share of one CPU: 1.0 is a whole one
    rss_mb: float  # at the end
    peak_mb: float  # since the process began
    connections: int  # established TCP ones at the end


class Meter:
    """Reads one process."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.restart()

    def restart(self) -> None:
        self._cpu, self._at = self.cpu_s(), time.perf_counter()

    def cpu_s(self) -> float:
        """CPU seconds so far, of the process and of its children that have ended."""
        t = self._process.cpu_times()
        return float(t.user + t.system + t.children_user + t.children_system)

    def read(self) -> Usage:
        seconds = time.perf_counter() - self._at
        rss = self._process.memory_info().rss / 1e6
        links = [c for c in self._process.net_connections("tcp") if c.status == psutil.CONN_ESTABLISHED]
        return Usage((self.cpu_s() - self._cpu) / seconds, rss, _peak_mb(self._process.pid), len(links))


def _peak_mb(pid: int) -> float:
    """The kernel's high-water mark of resident memory."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    return math.nan


class LoopLag:
    """How late the running loop is, looked at every ``TICK_S`` by the clock.

    A block of a second hides a hundred ticks: each of them counts with the lag it would have had, so that the
    percentiles are of time, not of luck.
    """

    def __init__(self) -> None:
        self.lags: list[float] = []

    async def run(self) -> None:
        due = time.perf_counter() + TICK_S
        while True:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            now = time.perf_counter()
            while due <= now:
                self.lags.append(now - due)
                due += TICK_S


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded to be read as text as well."""
    every = [list(head), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in every]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def verdict(kept: bool) -> str:
    return "kept" if kept else "MISSED"
