"""From a flipped check to a HealthChange, on a real Consul under load, beside ``consul watch``. One run."""

from __future__ import annotations

import asyncio
import contextlib
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from consulguard.testing import RealConsul
from consulguard.testing.real_consul import find_binary

from bench.fleet import Fleet, load
from bench.measure import Meter, Usage, percentile, table, verdict
from bench.watchers import HANDLER

SIZES = {"tiny": Fleet(20, 2, 1, 5), "small": Fleet(2_000, 5, 1, 500), "large": Fleet(10_000, 10, 2, 5_000)}
RATE = 100.0  # check writes a second
SECONDS = 60.0
# Consul writes out its whole state after so many entries: that would fall into some windows and not into others.
QUIET = {"raft_snapshot_threshold": 10_000_000}
WARM_S = 5.0  # from the start of something until its window begins
SETTLE_S = 900.0  # the bot's first round through 10,000 services takes minutes
RSS_MB = {"tiny": 150, "small": 150, "large": 512}
OVER_RAW_MS, SERVER_POINTS, BOT_CPU, CONNECTIONS, QUERIES = 10.0, 0.10, 0.05, 20, 1.0  # the goals


@dataclass(frozen=True, slots=True)
class Row:
    """One watcher in its window."""

    name: str
    server: float  # CPU of the server, everything it does
    usage: Usage | None = None
    lags_ms: tuple[float, ...] = ()
    queries: float = math.nan  # a second

    @property
    def p50(self) -> float:
        return percentile(self.lags_ms, 0.5)


class Notes:
    """The file a watcher writes into."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def lags_ms(self, since_ns: int) -> tuple[float, ...]:
        """Of each canary sent since then: from its sending to when it was first seen."""
        first: dict[int, int] = {}
        for sent, seen in (line.split() for line in self.path.read_text().splitlines() if line[:1] != "#"):
            first.setdefault(int(sent), int(seen))
        return tuple((seen - sent) / 1e6 for sent, seen in first.items() if sent >= since_ns)

    def told(self) -> tuple[bool, int, int]:
        """Of the bot: settled, requests so far, instances it knows of."""
        lines = [line for line in self.path.read_text().splitlines() if line.startswith("#")]
        _, settled, requests, instances = lines[-1].split() if lines else ("#", "0", "0", "0")
        return settled == "1", int(requests), int(instances)


class Bench:
    def __init__(self, consul: RealConsul, folder: Path, size: str, seconds: float) -> None:
        self.address = consul.address
        self.fleet, self.seconds = SIZES[size], seconds
        self._folder = folder
        self._server = Meter(consul.agent.pid)

    async def run(self) -> list[Row]:
        """The bot before and in the churn, then everybody else in the same churn."""
        rows: list[Row] = []
        async with self._started("bot", *_module("watchers", "bot", self.address)) as (bot, notes):
            await self._settled(notes)
            rows.append(await self._window("bot, calm", bot, notes))
            async with self._churn():
                rows.append(await self._window("bot", bot, notes))
        async with self._churn():
            rows.append(await self._window("churn alone"))
            for name, words in self._others().items():
                async with self._started(name, *words) as (pid, notes):
                    rows.append(await self._window(name, pid, notes))
        return rows

    def _others(self) -> dict[str, list[str]]:
        binary = str(find_binary())
        watch = [binary, "watch", f"-http-addr={self.address}", "-shell=false", "-type=checks"]
        handler = [sys.executable, "-S", "-E", str(HANDLER)]
        return {
            "raw wake-up": _module("watchers", "raw", self.address),
            "consul watch any": [*watch, "-state=any", *handler],
            "consul watch critical": [*watch, "-state=critical", *handler],
        }

    async def _window(self, name: str, pid: int = 0, notes: Notes | None = None) -> Row:
        await asyncio.sleep(min(WARM_S, self.seconds))
        meter = Meter(pid) if pid else None
        before = notes.told()[1] if notes else 0
        self._server.restart()
        start, since = time.perf_counter(), time.monotonic_ns()
        await asyncio.sleep(self.seconds)
        usage = meter.read() if meter else None
        row = Row(
            name=name,
            server=self._server.read().cpu,
            usage=usage,
            lags_ms=notes.lags_ms(since) if notes else (),
            queries=(notes.told()[1] - before) / (time.perf_counter() - start) if notes else math.nan,
        )
        print(f"  {name}: {len(row.lags_ms)} canaries", file=sys.stderr, flush=True)
        return row

    async def _settled(self, notes: Notes) -> None:
        """Until the bot's first round through the mesh is over."""
        deadline = time.perf_counter() + SETTLE_S
        while not notes.told()[0]:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"the bot has not settled within {SETTLE_S:.0f} s")
            await asyncio.sleep(0.5)

    @contextlib.asynccontextmanager
    async def _churn(self) -> AsyncIterator[None]:
        async with _child(_module("fleet", self.address, str(RATE), *self.fleet.words)):
            yield

    @contextlib.asynccontextmanager
    async def _started(self, name: str, *words: str) -> AsyncIterator[tuple[int, Notes]]:
        notes = Notes(self._folder / f"{name.replace(' ', '-')}.notes")
        async with _child([*words, str(notes.path)]) as pid:
            yield pid, notes


def _module(name: str, *words: str) -> list[str]:
    return [sys.executable, "-m", f"bench.{name}", *words]


@contextlib.asynccontextmanager
async def _child(words: list[str]) -> AsyncIterator[int]:
    """A process for the time of the block; one that has ended by then has failed."""
    process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.DEVNULL)
    try:
        yield process.pid
        if process.returncode is not None:
            raise RuntimeError(f"{' '.join(words[:4])} ended with {process.returncode}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def run(size: str, seconds: float) -> list[Row]:
    async with RealConsul(config=QUIET) as consul:
        took = await load(consul.address, SIZES[size])
        print(f"  loaded {SIZES[size].all_checks:,} checks in {took:.0f} s", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="consulguard-bench-") as folder:
            return await Bench(consul, Path(folder), size, seconds).run()


# ---- the report


def report(rows: list[Row], size: str, seconds: float) -> str:
    by_name = {row.name: row for row in rows}
    raw, base = by_name["raw wake-up"], by_name["churn alone"]
    told = [_cells(row, raw, base) for row in rows if row.name != "churn alone"]
    head = (
        "watcher",
        "p50 ms",
        "p99 ms",
        "over raw p50",
        "CPU",
        "RSS MB",
        "peak MB",
        "server CPU +",
        "conns",
        "queries/s",
    )
    fleet = f"{SIZES[size].all_checks:,} checks, {RATE:.0f} check writes/s, windows of {seconds:.0f} s"
    title = f"detect: {fleet}; server CPU of the churn alone: {base.server:.0%}"
    goals = table(("goal", "measured", "wanted", "verdict"), _goals(by_name, size))
    return f"{title}\n\n{table(head, told)}\n\n{goals}"


def _cells(row: Row, raw: Row, base: Row) -> list[str]:
    usage = row.usage
    lags = [f"{row.p50:.1f}", f"{percentile(row.lags_ms, 0.99):.1f}", f"{row.p50 - raw.p50:+.1f}"]
    calm = row.name.endswith("calm")
    return [
        row.name,
        *(["-"] * 3 if calm else lags),
        f"{usage.cpu:.1%}" if usage else "-",
        f"{usage.rss_mb:.0f}" if usage else "-",
        f"{usage.peak_mb:.0f}" if usage else "-",
        "-" if calm else f"{(row.server - base.server) * 100:+.1f} points",
        str(usage.connections) if usage else "-",
        f"{row.queries:.2f}" if row.name.startswith("bot") else "-",
    ]


def _goals(rows: dict[str, Row], size: str) -> list[tuple[str, str, str, str]]:
    bot, calm, raw, base = (rows[name] for name in ("bot", "bot, calm", "raw wake-up", "churn alone"))
    peer = rows["consul watch any"]
    over, added, theirs = bot.p50 - raw.p50, bot.server - base.server, peer.server - base.server
    used, still = bot.usage, calm.usage
    assert used is not None
    assert still is not None
    times = f"consul watch adds {theirs * 100:+.1f}" + (f", {theirs / added:.1f}x" if added > 0 else "")
    links = max(used.connections, still.connections)
    return [
        _goal("p50 over the raw wake-up", f"{over:+.1f} ms", f"<= {OVER_RAW_MS:.0f} ms", over <= OVER_RAW_MS),
        _goal("server CPU added", f"{added * 100:+.1f} points; {times}", "<= 10 points", added <= SERVER_POINTS),
        _goal("bot CPU", f"{used.cpu:.1%}", f"<= {BOT_CPU:.0%}", used.cpu <= BOT_CPU),
        _goal("bot RSS, highest", f"{used.peak_mb:.0f} MB", f"<= {RSS_MB[size]} MB", used.peak_mb <= RSS_MB[size]),
        _goal("connections", str(links), f"<= {CONNECTIONS}", links <= CONNECTIONS),
        _goal("queries/s, calm", f"{calm.queries:.2f}", f"<= {QUERIES:.0f}", calm.queries <= QUERIES),
    ]


def _goal(name: str, measured: str, wanted: str, kept: bool) -> tuple[str, str, str, str]:
    return name, measured, wanted, verdict(kept)


def main(size: str, seconds: float | None) -> None:
    seconds = seconds or SECONDS
    print(report(asyncio.run(run(size, seconds)), size, seconds))
