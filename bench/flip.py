"""What one flip costs in fleets of different size: remembered, its facts read, judged; and when it passes again.

The fleets are power-law graphs, three instances of each service, and a few old failures, as many in each fleet. A
popular service has the more callers the larger the fleet is, and whatever flips leans on some of these.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from consulguard.correlate import Book, learn, remember, update
from consulguard.correlate.keys import service_key
from consulguard.model import Observation, State, Status, Target, Trouble
from consulguard.policy import CorrelatePolicy
from consulguard.testing.ranking import facts_of

from bench.correlation.meshes import power_law
from bench.measure import percentile, table

FLEETS = {"tiny": (20, 40), "small": (100, 1_000, 10_000), "large": (100, 1_000, 10_000, 30_000)}
FLIPS = {"tiny": 3, "small": 60, "large": 60}
UNITS, OLD = 3, 5
START = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = CorrelatePolicy(infer=True)
ROWS = ("it fails", "a minute later", "it passes")


@dataclass(slots=True)
class Fleet:
    """A daemon's memory of a fleet."""

    topology: dict[str, Any]
    book: Book = field(default_factory=Book)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    at: datetime = START

    @staticmethod
    def of(services: int) -> Fleet:
        calls = power_law(services)
        instances = {f"{s}-{n}": s for s in calls for n in range(UNITS)}
        hosts = max(services // 10, 3)
        fleet = Fleet(
            {
                "services": list(calls),
                "edges": [[caller, callee] for caller, callees in calls.items() for callee in callees],
                "instances": instances,
                "nodes": {i: f"node-{n % hosts}" for n, i in enumerate(instances)},
                "zones": {f"node-{n}": f"zone-{n % 3}" for n in range(hosts)},
                "unchecked": [],
            }
        )
        learn(fleet.book, facts_of(fleet.topology), fleet.at)
        for service in list(calls)[-OLD:]:
            fleet.see(service, Status.CRITICAL)
        fleet.judge(3_600)
        return fleet

    def see(self, service: str, status: Status) -> None:
        """One instance of it."""
        instance = f"{service}-0"
        here = Target(dc="dc1", service=service, node=self.topology["nodes"][instance], instance=instance)
        remember(self.book, [Observation(target=here, check="http", status=status, at=self.at)])
        if status is Status.PASSING:
            del self.troubles[here.key]
        else:
            trouble = Trouble(target=here, state=State.CRITICAL, since=self.at, not_passing_since=self.at)
            self.troubles[here.key] = trouble

    def read(self, service: str) -> None:
        """Its facts, as the daemon reads them of what flips."""
        fact = self.book.graph.fact(service_key(Target(dc="dc1", service=service)))
        if fact is not None:
            learn(self.book, [msgspec.structs.replace(fact, at=self.at)], self.at)

    def judge(self, after_s: float) -> None:
        self.at += timedelta(seconds=after_s)
        update(self.book, self.troubles, self.at, POLICY)


def flip(fleet: Fleet, service: str) -> list[float]:
    """CPU milliseconds: it fails, fails still, and passes."""
    spent = []
    for status, after_s in ((Status.CRITICAL, 1.0), (None, 60.0), (Status.PASSING, 1.0)):
        start = time.process_time()
        if status is not None:
            fleet.see(service, status)
            fleet.read(service)
        fleet.judge(after_s)
        spent.append((time.process_time() - start) * 1e3)
    fleet.judge(1_200)  # forgotten
    return spent


def measure(sizes: Sequence[int], flips: int) -> dict[int, list[Sequence[float]]]:
    """By size and row, the milliseconds of each flip; the fleets in turns, the first flip of each not counted."""
    fleets = {size: Fleet.of(size) for size in sizes}
    spent: dict[int, list[list[float]]] = {size: [] for size in sizes}
    dice = random.Random("flip")
    for _ in range(flips + 1):
        for size, fleet in fleets.items():
            young = fleet.topology["services"][size // 2 : -OLD]
            spent[size].append(flip(fleet, dice.choice(young)))
    return {size: list(zip(*told[1:], strict=True)) for size, told in spent.items()}


def report(sizes: Sequence[int], flips: int) -> str:
    found = measure(sizes, flips)
    rows = []
    for n, what in enumerate(ROWS):
        base = statistics.median(found[sizes[0]][n])
        for size in sizes:
            middle = statistics.median(found[size][n])
            ratio, high = f"{middle / base if base else 1:.1f}x", percentile(found[size][n], 0.95)
            rows.append((what, f"{size:,}", f"{middle:.2f} ms", f"{high:.2f} ms", ratio))
    head = ("one instance flips", "services", "CPU, p50", "p95", f"p50 to that of {sizes[0]:,}")
    return f"flip: {flips} flips in each fleet, {OLD} old failures stand\n\n{table(head, rows)}"


def main(size: str, seconds: float | None) -> None:
    print(report(FLEETS[size], FLIPS[size]))
