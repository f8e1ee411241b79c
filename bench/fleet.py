"""A fleet in a real Consul's catalog, and the writes that keep it moving.

``python -m bench.fleet ADDRESS RATE SERVICES INSTANCES CHECKS NODES`` writes until it is terminated.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

import aiohttp
import msgspec

CANARY = "canary "  # a check's output: this, and the monotonic nanoseconds at which it was sent
OPS = 64  # of one transaction, as 1.8.7 limits them
FLIPS = 0.02  # of the churn's writes turn a check critical
BACK = 0.024  # turn one back, while there is one: more, or ever more would be critical
HEALTHY = 'HTTP GET http://10.0.0.1:8080/healthz: 200 OK Output: {"status":"UP","components":{"db":"UP","n":%d}}'

Ops = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Fleet:
    services: int
    instances: int
    checks: int
    nodes: int

    @property
    def all_checks(self) -> int:
        return self.services * self.instances * self.checks + self.nodes

    @property
    def canaries(self) -> int:
        """The first services are the canaries', so that no other write touches them."""
        return max(2, self.services // 4)

    @property
    def words(self) -> list[str]:
        return [str(n) for n in astuple(self)]

    def node(self, service: int, instance: int) -> str:
        return f"node-{(service * self.instances + instance) % self.nodes:05}"

    def check(self, service: int, instance: int, number: int, status: str, output: str) -> dict[str, Any]:
        name = f"svc-{service:05}"
        return {
            "Node": self.node(service, instance),
            "CheckID": f"{name}-{instance}-c{number}",
            "Name": f"Service '{name}' check {number}",
            "Status": status,
            "Output": output,
            "ServiceID": f"{name}-{instance}",
            "Type": "http",
        }

    def transactions(self) -> Iterator[Ops]:
        """Everything, at most ``OPS`` operations at a time; nodes first."""
        batch: Ops = []
        for ops in (*map(self._node_ops, range(self.nodes)), *self._service_ops()):
            if len(batch) + len(ops) > OPS:
                yield batch
                batch = []
            batch += ops
        yield batch

    def _node_ops(self, number: int) -> Ops:
        name = f"node-{number:05}"
        node = {
            "Node": name,
            "ID": f"{number + 1:08x}-0000-4000-8000-{number + 1:012x}",
            "Address": f"10.0.{number // 250 % 250}.{number % 250 + 1}",
            "Meta": {"external-node": "true", "zone": f"z{number % 3}"},
        }
        alive = {
            "Node": name,
            "CheckID": "alive",
            "Name": "Node alive",
            "Status": "passing",
            "Output": "reachable",
        }
        return [{"Node": {"Verb": "set", "Node": node}}, {"Check": {"Verb": "set", "Check": alive}}]

    def _service_ops(self) -> Iterator[Ops]:
        for service in range(self.services):
            for instance in range(self.instances):
                name = f"svc-{service:05}"
                row = {
                    "ID": f"{name}-{instance}",
                    "Service": name,
                    "Port": 8000 + instance,
                    "Tags": ["v1", f"team-{service % 40}"],
                    "Meta": {"version": f"1.42.{instance}", "pod": f"{name}-7d9f8c6b5-{instance:05x}"},
                }
                node = self.node(service, instance)
                ops: Ops = [{"Service": {"Verb": "set", "Node": node, "Service": row}}]
                for number in range(self.checks):
                    check = self.check(service, instance, number, "passing", HEALTHY % 0)
                    ops.append({"Check": {"Verb": "set", "Check": check}})
                yield ops


async def load(address: str, fleet: Fleet, parallel: int = 8) -> float:
    """Register the whole fleet; returns the seconds it took."""
    start, batches = time.perf_counter(), fleet.transactions()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:

        async def write(ops: Ops) -> None:
            async with session.put(f"{address}/v1/txn", data=msgspec.json.encode(ops)) as answer:
                if answer.status != 200:
                    raise RuntimeError(f"txn: {answer.status} {(await answer.text())[:200]}")
                await answer.read()

        async def work() -> None:
            for ops in batches:  # shared: each takes the next one
                await write(ops)

        for ops in batches:  # the nodes first: a service needs its node
            await write(ops)
            if not any("Node" in op for op in ops):
                break
        for _ in range(parallel):
            group.create_task(work())
    return time.perf_counter() - start


class Churn:
    """``rate`` check writes a second, most of them only another output; and the canary beside them."""

    def __init__(self, session: aiohttp.ClientSession, address: str, fleet: Fleet, rate: float) -> None:
        self._session = session
        self._url = f"{address}/v1/catalog/register"
        self._fleet = fleet
        self._rate = rate
        self._critical: list[tuple[int, int, int]] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._canary())
            start, written = time.perf_counter(), 0
            while True:
                while written < (time.perf_counter() - start) * self._rate:
                    group.create_task(self._write(*self._next()))
                    written += 1
                await asyncio.sleep(0.002)

    def _next(self) -> tuple[int, int, int, str, str]:
        fleet = self._fleet
        low = min(fleet.canaries, fleet.services - 1)
        place = (
            random.randrange(low, fleet.services),
            random.randrange(fleet.instances),
            random.randrange(fleet.checks),
        )
        if random.random() < FLIPS:
            self._critical.append(place)
            return (*place, "critical", "HTTP GET http://10.0.0.1:8080/healthz: 503 Service Unavailable")
        if self._critical and random.random() < BACK:
            place = self._critical.pop(random.randrange(len(self._critical)))
        return (*place, "passing", HEALTHY % time.monotonic_ns())

    async def _canary(self) -> None:
        """Another service each second: critical for half of it."""
        turn = 0
        while True:
            service, turn = turn % self._fleet.canaries, turn + 1
            await self._write(service, 0, 0, "critical", f"{CANARY}{time.monotonic_ns()}")
            await asyncio.sleep(0.5)
            await self._write(service, 0, 0, "passing", HEALTHY % turn)
            await asyncio.sleep(0.5)

    async def _write(self, service: int, instance: int, number: int, status: str, output: str) -> None:
        check = self._fleet.check(service, instance, number, status, output)
        body = {"Node": check["Node"], "SkipNodeUpdate": True, "Check": check}
        async with self._session.put(self._url, data=msgspec.json.encode(body)) as answer:
            if answer.status != 200:
                raise RuntimeError(f"register: {answer.status} {(await answer.text())[:200]}")
            await answer.read()


async def churn(address: str, rate: float, fleet: Fleet) -> None:
    """Until SIGTERM."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32)) as session:
        task = asyncio.create_task(Churn(session, address, fleet, rate).run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    asyncio.run(churn(sys.argv[1], float(sys.argv[2]), Fleet(*(int(word) for word in sys.argv[3:7]))))
