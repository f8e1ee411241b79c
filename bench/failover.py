"""From the end of a leader until another leads, and until it may act: real daemons, default leases and settling.

``kill -9`` at a random moment of the leader's renewals, and SIGTERM, in turn; a pair's roles change with each. The
moment at which another leads is the one its journal has for the gain of the lease. From then on it reads the mesh
anew and acts when its view has been settled for ``watch.settle`` (30 s).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consulguard.testing import RealConsul
from tests.e2e.support.pair import Pair
from tests.e2e.support.roles import Roles
from tests.e2e.support.shared import Journal
from tests.support.kube import RealKube, find_apiserver, find_etcd
from tests.support.postgresql import RealPostgres
from tests.support.zookeeper import Ensemble

from bench.measure import percentile, table, verdict

GOALS = {"consul": 45.0, "kubernetes": 20.0, "zookeeper": 15.0}
HAND_OVER_S = 2.0
STOOD_BY_S = 30.0  # a process that has just begun is still busy with its libraries
RENEWALS_S = 5.0  # a kill comes within so long: at least one renewal of every backend
PAIRS = {"tiny": 1, "small": 6, "large": 12}  # of each backend
ROUNDS = {"tiny": 1, "small": 5, "large": 10}  # crashes, and hand-overs, of each pair
PER_PAIR = 9  # connections to PostgreSQL
TICK_MS = 2000  # ZooKeeper's own default, in which it counts sessions


@dataclass
class Found:
    """Seconds."""

    leads: list[float] = field(default_factory=list)
    acts: list[float] = field(default_factory=list)
    handed: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Nowhere:
    address: str = "http://127.0.0.1:9"  # nothing is to be repaired


async def measure(size: str, pairs: int) -> dict[str, Found]:
    found: dict[str, Found] = {}
    starts = asyncio.Semaphore(3)
    async with _servers(pairs) as (consul, postgres, leases), asyncio.TaskGroup() as group:
        for backend, coordinate in leases.items():
            found[backend] = Found()
            for number in range(pairs):
                name = f"{backend}{number}"
                given = {**coordinate, "key": f"consulguard/{name}"}
                roles = _roles(consul, postgres, name, given)
                group.create_task(_rounds(roles, starts, ROUNDS[size], found[backend]))
    return found


async def _rounds(
    entering: contextlib.AbstractAsyncContextManager[Roles], starts: asyncio.Semaphore, rounds: int, found: Found
) -> None:
    async with entering as roles:
        async with starts:
            await roles.begin()
        for _ in range(rounds):
            await _some_time()
            found.leads.append(await roles.end_of_leader(signal.SIGKILL))
            found.acts.append(await roles.acts())
            await _some_time()
            found.handed.append(await roles.end_of_leader(signal.SIGTERM))


async def _some_time() -> None:
    """The other one has stood by for a while, and the leader's renewals come when they come."""
    await asyncio.sleep(STOOD_BY_S + random.uniform(0.0, RENEWALS_S))


@contextlib.asynccontextmanager
async def _roles(
    consul: RealConsul, postgres: RealPostgres, name: str, coordinate: dict[str, Any]
) -> AsyncIterator[Roles]:
    journal = Journal(await postgres.database(name))
    with tempfile.TemporaryDirectory(prefix="cg-") as folder:
        pair = Pair(consul, journal, Path(folder), Nowhere(), coordinate=coordinate, watch={"settle": "30s"})
        try:
            yield Roles(pair)
        finally:
            await pair.end()


@contextlib.asynccontextmanager
async def _servers(pairs: int) -> AsyncIterator[tuple[RealConsul, RealPostgres, dict[str, dict[str, Any]]]]:
    """What there is to lead by; a backend whose server is not installed is left out."""
    with contextlib.ExitStack() as stack:
        consul, ensemble, kube = RealConsul(), Ensemble(tick_ms=TICK_MS), RealKube()
        postgres = RealPostgres(connections=20 + PER_PAIR * pairs * len(GOALS))
        served: list[Any] = [consul, postgres, ensemble]
        with_kube = find_apiserver() is not None and find_etcd() is not None
        for server in [*served, kube] if with_kube else served:
            stack.callback(server.close)
            await asyncio.to_thread(server.open)
        leases: dict[str, dict[str, Any]] = {
            "consul": {"backend": "consul"},
            "zookeeper": {"backend": "zookeeper", "zookeeper": {"hosts": list(ensemble.hosts)}},
        }
        if with_kube:
            where = {"namespace": "default", "kubeconfig": kube.kubeconfig()}
            leases["kubernetes"] = {"backend": "kubernetes", "kubernetes": where}
        yield consul, postgres, leases


def report(found: dict[str, Found]) -> str:
    head = ("lease", "crashes", "leads p50 / worst", "goal", "verdict", "may act p50 / worst")
    head += ("hand-overs", "p50 / worst", "goal", "verdict")
    rows = []
    for backend, goal in GOALS.items():
        if backend not in found:
            rows.append((backend, "no kube-apiserver", *[""] * (len(head) - 2)))
            continue
        seen = found[backend]
        kept, quick = max(seen.leads) <= goal, max(seen.handed) <= HAND_OVER_S
        crash = (str(len(seen.leads)), _spread(seen.leads), f"<= {goal:.0f} s", verdict(kept), _spread(seen.acts))
        handed = (str(len(seen.handed)), _spread(seen.handed), f"<= {HAND_OVER_S:.0f} s", verdict(quick))
        rows.append((backend, *crash, *handed))
    return f"failover: default leases, watch.settle 30 s\n\n{table(head, rows)}"


def _spread(values: Sequence[float]) -> str:
    return f"{percentile(values, 0.5):.1f} s / {percentile(values, 1.0):.1f} s"


def main(size: str, seconds: float | None, pairs: int | None = None) -> None:
    print(report(asyncio.run(measure(size, pairs or PAIRS[size]))))
