"""What a run costs and what a restart costs: the journal's commits beside bare SQLite, a thousand runs of three
steps by the whole daemon on a twin, and a journal of a million records taken up again.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from consulguard.app.codec import effect_of, encode, event_of
from consulguard.app.past import fold
from consulguard.app.service import Service, standing
from consulguard.clock import SystemClock
from consulguard.config import Loaded
from consulguard.engine import EngineState, step
from consulguard.engine.step import snapshot
from consulguard.events import AnyEvent, Do, Resulted, ViewChanged, Woke
from consulguard.journal import Draft, SqliteStore
from consulguard.model import RunState, View

from bench.house import house
from bench.measure import Meter, percentile, table, verdict
from bench.storm import ask, twin

COMMITS_S, REPLAYED_S, READY_S = 200.0, 50_000.0, 5.0  # the goals
STEPS = 3
AT_ONCE = 20  # services that fail at the same time
RECORDS_PER_SNAPSHOT = 5_000
REPAIR = """
name: repair
mode: auto
match: {role: root_cause, scope: instance, states: [critical], for: 0s, matchers: ['service=~"svc.*"']}
steps:
  - {name: note, uses: consul.kv_put, with: {key: "bench/${target.instance}", value: noted}}
  - {name: act, uses: consul.kv_put, with: {key: "bench/${target.instance}", value: acted}}
  - {name: tidy, uses: consul.kv_put, with: {key: "bench/${target.instance}", value: tidied}}
verify: {within: 60s, target: {passing_for: 1}}
"""
FREE: dict[str, Any] = {
    "max_open": 1_000,
    "max_open_per_node": 1_000,
    "max_share": "100%",
    "min_healthy": "0%",
    "min_start_interval": "0s",
    "budget_per_service_per_hour": 1_000,
    "budget_total_per_hour": 1_000_000,
    "match_cap": 1_000,
    "storm_min": 1_000_000,
    "hold_down": "0s",
    "root_settle": "0s",
    "min_looks": 1,
}
PACES: dict[str, dict[str, Any]] = {
    "watch": {"settle": "1s"},
    "health": {"recovery": "0s"},
    "correlate": {"resolve": "0s", "group_min": 1_000_000},
    "guards": FREE,
    "notify": {"console": True, "group_wait": "0s"},
}
SIZES = {"tiny": (20, 20_000), "small": (1_000, 1_000_000), "large": (1_000, 1_000_000)}


# ---- commits


@dataclass(frozen=True, slots=True)
class Commits:
    journal: float  # a second
    bare: float


async def commits(seconds: float = 5.0) -> Commits:
    """One entry a commit, by the journal and by bare SQLite (WAL, synchronous=FULL), in turns on the same disk."""
    with tempfile.TemporaryDirectory(prefix="consulguard-bench-") as folder:
        con = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        con.execute("PRAGMA journal_mode = WAL")
        con.execute("PRAGMA synchronous = FULL")
        con.execute("CREATE TABLE entries (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        body = encode(_quiet(0))
        counts, spent = [0, 0], [0.0, 0.0]
        async with SqliteStore(Path(folder) / "journal.db") as store:
            while sum(spent) < seconds:
                began = time.perf_counter()
                for _ in range(50):
                    await store.append([Draft(at=SystemClock().now(), kind="event", body=body)])
                halfway = time.perf_counter()
                for _ in range(50):
                    con.execute("INSERT INTO entries (body) VALUES (?)", (body,))
                for which, end in enumerate((halfway - began, time.perf_counter() - halfway)):
                    counts[which], spent[which] = counts[which] + 50, spent[which] + end
        con.close()
    return Commits(counts[0] / spent[0], counts[1] / spent[1])


# ---- runs


@dataclass(slots=True)
class Runs:
    runs: int
    done: int = 0
    seconds: float = 0.0
    entries: int = 0
    waits: tuple[float, ...] = ()  # the fact that let an attempt go -> its effect begins, seconds
    cpu: float = 0.0
    rss_mb: float = 0.0
    stepped: float = 0.0  # of its records a second, read and stepped from the very first
    states: int = 0


async def runs(number: int) -> Runs:
    """Fail, be repaired by three steps, pass, be verified: ``number`` services, some at once."""
    found = Runs(number)
    async with twin(number, 1, 100) as (address, process):
        with house(address, playbook=REPAIR, **PACES) as loaded, contextlib.redirect_stdout(io.StringIO()):
            await _runs(loaded, process, found)
            await _replay_runs(loaded, found)
    return found


async def _runs(loaded: Loaded, process: asyncio.subprocess.Process, found: Runs) -> None:
    meter = Meter(os.getpid())
    async with standing(loaded) as service:
        await _until(
            lambda: service.daemon.state.view.settled and service.daemon.state.view.instances >= found.runs
        )
        meter.restart()
        began, before = time.perf_counter(), service.daemon.seq
        over: set[str] = set()
        for first in range(0, found.runs, AT_ONCE):
            await _wave(service, process, (first, min(found.runs, first + AT_ONCE)), over)
        found.seconds = time.perf_counter() - began
        found.entries, used = service.daemon.seq - before, meter.read()
        found.done, found.cpu, found.rss_mb = len(over), used.cpu, used.peak_mb
        found.waits = await _waits(service)


async def _wave(
    service: Service, process: asyncio.subprocess.Process, span: tuple[int, int], over: set[str]
) -> None:
    """These fail, and pass again when all their steps are done; returns when their runs are verified."""
    first, last = span
    await ask(process, f"flip {first}:{last} critical")
    await _until(lambda: _reached(service, over, RunState.VERIFYING) >= last)
    await ask(process, f"flip {first}:{last} passing")
    await _until(lambda: _reached(service, over, RunState.DONE) >= last)
    over |= {r.id for r in service.daemon.state.runs.values() if r.state is RunState.DONE}


def _reached(service: Service, over: set[str], state: RunState) -> int:
    """Runs that were seen done, and those that are in ``state`` or past it."""
    there = (state, RunState.DONE)
    return len(over | {r.id for r in service.daemon.state.runs.values() if r.state in there})


async def _until(holds: Any, within_s: float = 120.0) -> None:
    end = time.perf_counter() + within_s
    while not holds():
        if time.perf_counter() > end:
            raise TimeoutError("the bench does not come on; see its log")
        await asyncio.sleep(0.01)


async def _waits(service: Service) -> tuple[float, ...]:
    """From the journal: an intent is as old as the event that made it; a result says when its effect began."""
    decided, waits = {}, []
    async for entry in service.store.entries():
        if entry.kind == "intent":
            effect = effect_of(entry.body)
            assert isinstance(effect, Do)
            decided[effect.intent.id] = entry.at
        elif isinstance(event := event_of(entry.body), Resulted):
            result = event.result
            waits.append((result.started_at - decided[result.intent_id]).total_seconds())
    return tuple(waits)


async def _replay_runs(loaded: Loaded, found: Runs) -> None:
    store = SqliteStore(loaded.resolve(loaded.config.journal.path), readonly=True)
    await store.open()
    began, count, state = time.perf_counter(), 0, EngineState()
    async for entry in store.entries():
        count += 1
        if entry.kind == "event":
            state, _ = step(state, event_of(entry.body))
    found.stepped = count / (time.perf_counter() - began)
    await store.close()


# ---- a restart


@dataclass(slots=True)
class Restart:
    records: int
    file_mb: float = 0.0
    ready_s: float = 0.0
    read: float = 0.0  # a second: read, chain proved, decoded
    rss_mb: float = 0.0


def restart(records: int) -> Restart:
    """A journal of ``records`` whose newest snapshot is as old as one ever gets, opened by a fresh process."""
    with tempfile.TemporaryDirectory(prefix="consulguard-bench-") as folder:
        path = Path(folder) / "journal.db"
        asyncio.run(_fill(path, records))
        found = Restart(records, file_mb=path.stat().st_size / 1e6)
        words = [sys.executable, "-m", "bench.runs", str(path)]
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
        found.ready_s, found.read, found.rss_mb = (float(word) for word in done.stdout.split())
    return found


def _quiet(number: int) -> AnyEvent:
    """What a journal is full of when nothing is wrong: the view's heartbeat and the engine's own deadlines."""
    at = _START + timedelta(seconds=number)
    if number % 2:
        return Woke(at=at)
    return ViewChanged(
        at=at, view=View(trusted=True, settled=True, as_of=at, services=100, instances=500, nodes=50)
    )


_START = SystemClock().now()


async def _fill(path: Path, records: int) -> None:
    async with SqliteStore(path) as store:
        state, newest = EngineState(), records - RECORDS_PER_SNAPSHOT
        for first in range(0, records, RECORDS_PER_SNAPSHOT):
            events = [_quiet(n) for n in range(first, min(records, first + RECORDS_PER_SNAPSHOT))]
            await store.append([Draft(at=e.at, kind="event", body=encode(e)) for e in events])
            for event in events if first < newest else ():
                state, _ = step(state, event) if first >= newest - RECORDS_PER_SNAPSHOT else (state, ())
            if first == newest - RECORDS_PER_SNAPSHOT:
                await store.save_snapshot(first + len(events), snapshot(state))


async def take_up(path: Path) -> None:
    """Prints seconds until the state stands, records read and proved a second, and the highest RSS in MB."""
    began = time.perf_counter()
    async with SqliteStore(path) as store:
        await fold(store)
        ready, again, count = time.perf_counter() - began, time.perf_counter(), 0
        peak = Meter(os.getpid()).read().peak_mb
        async for entry in store.entries(limit=500_000):
            event_of(entry.body)
            count += 1
        print(ready, count / (time.perf_counter() - again), peak)


# ---- report


def report(wrote: Commits, ran: Runs, again: Restart) -> str:
    waits = [f"{percentile(ran.waits, share) * 1e3:.1f} ms" for share in (0.5, 0.99)]
    rows = [
        ("journal commits a second", f"{wrote.journal:,.0f}", ">= 200", verdict(wrote.journal >= COMMITS_S)),
        ("bare SQLite, synchronous=FULL, in the same run", f"{wrote.bare:,.0f}", "", ""),
        (f"runs of {STEPS} steps done", f"{ran.done:,} of {ran.runs:,}", "all", verdict(ran.done == ran.runs)),
        ("runs a second, entries a second", _pace(ran), "", ""),
        ("decision to dispatch, p50 / p99", " / ".join(waits), "", ""),
        ("CPU / highest RSS of the bot meanwhile", f"{ran.cpu:.0%} / {ran.rss_mb:.0f} MB", "", ""),
        ("their records stepped again, a second", f"{ran.stepped:,.0f}", "", ""),
        ("records read, proved and decoded, a second", f"{again.read:,.0f}", ">= 50,000", _kept(again)),
        (
            f"ready with {again.records:,} records ({again.file_mb:.0f} MB)",
            f"{again.ready_s:.2f} s",
            "<= 5 s",
            _soon(again),
        ),
        ("RSS then", f"{again.rss_mb:.0f} MB", "", ""),
    ]
    return (
        f"runs: what they cost, and what a restart costs\n\n{table(('what', 'measured', 'goal', 'verdict'), rows)}"
    )


def _pace(ran: Runs) -> str:
    return f"{ran.done / ran.seconds:.1f}, {ran.entries / ran.seconds:.0f}"


def _kept(again: Restart) -> str:
    return verdict(again.read >= REPLAYED_S)


def _soon(again: Restart) -> str:
    return verdict(again.ready_s <= READY_S)


def main(size: str, seconds: float | None) -> None:
    number, records = SIZES[size]
    wrote = asyncio.run(commits(seconds or 5.0))
    ran = asyncio.run(runs(number))
    print(report(wrote, ran, restart(records)))


if __name__ == "__main__":
    asyncio.run(take_up(Path(sys.argv[1])))
