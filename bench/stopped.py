"""What a leader does that stood still with a step prepared: SIGSTOP for 5, 20 and 60 s, with the default lease.

Real daemons, each pair with a Consul of its own and a database in one PostgreSQL. The lease's time is the default
with Consul (14 s): after 5 s the leader still has it and goes on; after 20 s it has run out, by its own clock, and
Consul has not yet given it to anybody; after 60 s the other replica leads and has done the step.

The target is fenced: it refuses an older epoch than it has seen, and does nothing for an attempt that it knows. It
notes as well what it would have done without. In a quarter of the pairs the dead-man switch is as shipped, in the
others it is off, so that nothing but the lease stands in the way. A tenth as many runs more stop the leader later,
with its request already on the wire: there only the fence can help, and the figures show that it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.e2e.support.stopping import Seen, Stopping, stopping
from tests.support.postgresql import RealPostgres

from bench.measure import percentile, table, verdict

SECONDS = (5.0, 20.0, 60.0)
WIRE_EVERY = 10
PAIRS = 16
DEAD_MAN_EVERY = 4  # pairs: in the others the switch is off
STARTS = 4  # pairs that start at the same time
PER_PAIR = 9  # connections to PostgreSQL: both daemons', and ours
RUNS = {"tiny": 3, "small": 60, "large": 1_000}


def planned(runs: int) -> list[tuple[float, bool]]:
    """How long each time, and whether the request is on the wire, as after every tenth. The first one is last."""
    queue: list[tuple[float, bool]] = []
    for number in range(1, runs + 1):
        queue.append((SECONDS[number % len(SECONDS)], False))
        if number % WIRE_EVERY == 0:
            queue.append((SECONDS[number // WIRE_EVERY % len(SECONDS)], True))
    return queue[::-1]


async def measure(runs: int, pairs: int, seconds: float | None) -> tuple[list[Seen], int]:
    """What was seen, and how many runs had no end. ``seconds``: no run begins later."""
    queue = planned(runs)
    seen: list[Seen] = []
    broken: list[AssertionError] = []
    starts = asyncio.Semaphore(STARTS)
    postgres = RealPostgres(connections=20 + PER_PAIR * pairs)
    await asyncio.to_thread(postgres.open)
    try:
        async with asyncio.TaskGroup() as group:
            if seconds is not None:
                asyncio.get_running_loop().call_later(seconds, queue.clear)
            for number in range(pairs):
                group.create_task(_pair(postgres, number, starts, _Work(queue, seen, broken)))
    finally:
        postgres.close()
    return seen, len(broken)


@dataclass(frozen=True)
class _Work:
    """What is to be done, what was seen, and what was broken off with a leader that had stood."""

    queue: list[tuple[float, bool]]
    seen: list[Seen]
    broken: list[AssertionError]

    async def one(self, made: Stopping) -> None:
        seconds, wire = self.queue.pop()
        try:
            self.seen.append(await made.run(seconds, wire=wire))
        except AssertionError as error:
            if made.stood:
                self.broken.append(error)
            else:  # nothing was seen: once more
                self.queue.append((seconds, wire))
            raise
        if len(self.seen) % 50 == 0:
            print(f"  {len(self.seen):,} runs", file=sys.stderr, flush=True)


async def _pair(postgres: RealPostgres, number: int, starts: asyncio.Semaphore, work: _Work) -> None:
    """Run by run, as long as there are any; with servers made anew where a run was broken off."""
    for life in itertools.count():
        try:
            async with contextlib.AsyncExitStack() as stack:
                name, dead_man = f"p{number}x{life}", number % DEAD_MAN_EVERY == 0
                async with starts:
                    made = await stack.enter_async_context(stopping(postgres, name, dead_man=dead_man))
                while work.queue:
                    await work.one(made)
                return
        except (AssertionError, OSError) as error:
            print(f"  pair {number} begins again: {error}", file=sys.stderr, flush=True)


def report(seen: Sequence[Seen], left: int, took_s: float, pairs: int) -> str:
    head = (
        *("stopped for", "runs", "lease went on", "ended as it woke", "effects", "of an old epoch", "twice"),
        *("old epoch, unfenced", "twice, unfenced", "stop to effect p50 / worst"),
    )
    rows = []
    for wire in (False, True):
        for seconds in SECONDS:
            some = [one for one in seen if one.wire == wire and one.seconds == seconds]
            rows.append(_cells(f"{seconds:.0f} s" + (", request on the wire" if wire else ""), some))
    bad = left + sum(one.stale_effects + one.repeated + abs(one.effects - 1) for one in seen)
    prepared = sum(not one.wire for one in seen)
    title = f"stopped: {prepared:,} runs with a step prepared, by {pairs} pairs in {took_s / 60:.0f} minutes"
    goal = f"old-epoch effects, effects twice or missing behind the fence, and runs without an end: {bad}; goal: 0"
    return f"{title}\n\n{table(head, rows)}\n\n{goal}; {verdict(bad == 0)}"


def _cells(name: str, some: Sequence[Seen]) -> list[str]:
    took = [one.took_s for one in some]
    counts = [
        *(len(some), sum(one.new_leader for one in some), sum(one.died for one in some)),
        *(sum(one.effects for one in some), max((one.stale_effects for one in some), default=0)),
        *(max((one.repeated for one in some), default=0), sum(one.stale for one in some)),
        sum(one.again and not one.stale for one in some),
    ]
    waits = f"{percentile(took, 0.5):.1f} s / {percentile(took, 1.0):.1f} s" if took else ""
    return [name, *(f"{count:,}" for count in counts), waits]


def main(size: str, seconds: float | None, runs: int | None = None, pairs: int | None = None) -> None:
    runs = runs or RUNS[size]
    pairs = min(pairs or PAIRS, runs)
    began = time.monotonic()
    seen, left = asyncio.run(measure(runs, pairs, seconds))
    print(report(seen, left, time.monotonic() - began, pairs))
