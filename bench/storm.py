"""Everything fails at once: 100,000 checks of a twin turn critical while the whole daemon runs in ``auto``."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from consulguard.app.service import Service, standing
from consulguard.config import Loaded

from bench.house import house
from bench.measure import LoopLag, Meter, percentile, table, verdict

BRAKE_S, LAG_S, MESSAGES = 5.0, 0.25, 3  # the goals
PACES = {
    "watch": {"settle": "2s"},
    "guards": {"hold_down": "1s", "root_settle": "1s"},
    "notify": {"console": True, "group_wait": "5s"},
}


@dataclass(frozen=True, slots=True)
class Size:
    services: int
    instances: int
    nodes: int

    @property
    def checks(self) -> int:
        return self.services * self.instances


SIZES = {"tiny": Size(20, 5, 10), "small": Size(500, 20, 100), "large": Size(2_000, 50, 1_000)}


@dataclass(slots=True)
class Outcome:
    checks: int
    seen_s: float = float("nan")  # flip -> all of them are known to be critical
    brake_s: float = float("nan")
    lags: tuple[float, ...] = ()
    seconds: float = 0.0
    intents: int = 0
    messages: int = 0
    cpu: float = 0.0
    calm_mb: float = 0.0
    rss_mb: float = 0.0
    peak_mb: float = 0.0


async def run(size: Size, seconds: float) -> Outcome:
    """Load, start, let it settle, flip, and look for ``seconds``."""
    async with twin(size.services, size.instances, size.nodes) as (address, process):
        with house(address, **PACES) as loaded, contextlib.redirect_stdout(io.StringIO()):
            return await _storm(loaded, process, size, seconds)


async def _storm(loaded: Loaded, process: asyncio.subprocess.Process, size: Size, seconds: float) -> Outcome:
    result = Outcome(size.checks, seconds=seconds)
    lag, meter = LoopLag(), Meter(os.getpid())
    async with standing(loaded) as service, asyncio.TaskGroup() as group:
        while not (service.daemon.state.view.settled and service.daemon.state.view.instances >= size.checks):
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)
        result.calm_mb = meter.read().rss_mb
        meter.restart()
        ticker = group.create_task(lag.run())
        await ask(process, f"flip {size.checks} critical")
        await _look(service, result, time.perf_counter(), seconds)
        ticker.cancel()
        used = meter.read()
        result.cpu, result.rss_mb, result.peak_mb = used.cpu, used.rss_mb, used.peak_mb
        result.intents = [e.kind async for e in service.store.entries()].count("intent")
        result.messages = sum((await service.store.outbox_counts()).values())
    result.lags = tuple(lag.lags)
    return result


async def _look(service: Service, result: Outcome, start: float, seconds: float) -> None:
    while (passed := time.perf_counter() - start) < seconds:
        state = service.daemon.state
        if state.storm.on and result.brake_s != result.brake_s:
            result.brake_s = passed
        if len(state.health.troubles) >= result.checks and result.seen_s != result.seen_s:
            result.seen_s = passed
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def twin(services: int, instances: int, nodes: int) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A Consul twin as a process of its own: its address, and itself for ``ask``."""
    words = [sys.executable, "-m", "bench.twin", *(str(n) for n in (services, instances, nodes))]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe)
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip(), process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def ask(process: asyncio.subprocess.Process, line: str) -> None:
    """Returns when the twin has changed its catalog; whoever blocks on it is woken just then."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n".encode())
    await process.stdout.readline()


def report(found: Outcome) -> str:
    p99 = percentile(found.lags, 0.99)
    rows = [
        ("checks that turn critical at once", f"{found.checks:,}", "", ""),
        ("all of them in the state after", f"{found.seen_s:.1f} s", "", ""),
        ("brake on after", f"{found.brake_s:.2f} s", f"<= {BRAKE_S:.0f} s", verdict(found.brake_s <= BRAKE_S)),
        ("loop lag p50", f"{percentile(found.lags, 0.5) * 1e3:.1f} ms", "", ""),
        ("loop lag p99", f"{p99 * 1e3:.0f} ms", f"<= {LAG_S * 1e3:.0f} ms", verdict(p99 <= LAG_S)),
        ("loop lag max", f"{max(found.lags, default=0) * 1e3:.0f} ms", "", ""),
        ("actions", str(found.intents), "0", verdict(found.intents == 0)),
        ("messages", str(found.messages), f"<= {MESSAGES}", verdict(found.messages <= MESSAGES)),
        ("CPU of the bot", f"{found.cpu:.0%}", "", ""),
        ("RSS before / at the end / highest", _memory(found), "", ""),
    ]
    title = f"storm: the {found.seconds:.0f} s after the flip, the whole daemon in auto"
    return f"{title}\n\n{table(('what', 'measured', 'goal', 'verdict'), rows)}"


def _memory(found: Outcome) -> str:
    return f"{found.calm_mb:.0f} / {found.rss_mb:.0f} / {found.peak_mb:.0f} MB"


def main(size: str, seconds: float | None) -> None:
    print(report(asyncio.run(run(SIZES[size], seconds or 30.0))))
