"""Many faults, one after another, over a world under load: ``make soak MINUTES=... SEED=...``.

Three replicas, the lease in Consul, a journal in PostgreSQL. A seed says in which order the faults come; when and
where they strike, and how far things have come by then, is up to the machine. At the end the books are closed and
judged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path

from consulguard.testing import RealConsul

from tests.chaos import onlooker
from tests.chaos.check import check, counted
from tests.chaos.conftest import calls
from tests.chaos.notes import now
from tests.chaos.replica import Replica
from tests.chaos.world import Servers, World
from tests.support.postgresql import RealPostgres
from tests.support.wall import DAY, HOUR

NAMES = ("a", "b", "c")
REST_S = (4.0, 14.0)  # between two faults
GROWS_TO = 1.5  # times the memory it had, a replica that has lived long
GROWS_BY = 48 << 20  # bytes; less is no sign of anything
OLD_S = 90.0  # how long a life must have lasted to be compared with itself
SAMPLE_S = 5.0
MORE_FDS = 24
QUIET_S = 300.0  # after the last fault, until whoever leads has come to an end with everything


class Soak:
    """One run. ``samples``: memory and open files of each life, in order."""

    def __init__(self, world: World, postgres: RealPostgres, seed: int) -> None:
        self._world, self._postgres = world, postgres
        self._rng = random.Random()
        self.faults: Counter[str] = Counter()
        self.samples: dict[tuple[str, float], list[tuple[float, int, int]]] = {}
        self._known: dict[str, Callable[[Replica], Awaitable[None]]] = {
            "killed": self._killed,
            "ended in good order": self._ended,
            "stopped for 1 to 12 s": self._stopped,
            "cut off from consul": self._cut("consul"),
            "cut off from postgres": self._cut("postgres"),
            "cut off from both": self._cut("consul", "postgres"),
            "clock set": self._clock,
            "session destroyed": self._robbed,
            "postgres crashed": self._postgres_crashed,
            "paused and resumed": self._paused,
        }
        self._order = dealt(self._known, random.Random(seed))

    async def run(self, minutes: float) -> None:
        end = now() + minutes * 60
        tasks = [asyncio.create_task(self._world.load(self._rng)), asyncio.create_task(self._measure())]
        try:
            while now() < end:
                await asyncio.sleep(self._rng.uniform(*REST_S))
                name = next(self._order)
                self.faults[name] += 1
                await self._known[name](self._victim())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def leaks(self) -> list[str]:
        """Lives that grew while they lasted."""
        found = []
        for (name, _), seen in self.samples.items():
            settled = [one for one in seen if one[0] - seen[0][0] > OLD_S / 3]
            if not settled or seen[-1][0] - seen[0][0] < OLD_S:
                continue
            (_, rss, fds), (_, later, more) = settled[0], settled[-1]
            if later > max(rss * GROWS_TO, rss + GROWS_BY) or more > fds + MORE_FDS:
                found.append(f"{name} grew from {rss >> 20} to {later >> 20} MiB, from {fds} to {more} open files")
        return found

    def growth(self) -> list[str]:
        """Each replica's longest life."""
        longest: dict[str, list[tuple[float, int, int]]] = {}
        for (name, _), seen in self.samples.items():
            if len(seen) > len(longest.get(name, ())):
                longest[name] = seen
        return [
            f"{name}: {seen[-1][0] - seen[0][0]:.0f} s, {seen[0][1] >> 20} to {seen[-1][1] >> 20} MiB,"
            f" {seen[0][2]} to {seen[-1][2]} open files"
            for name, seen in sorted(longest.items())
        ]

    # ---- faults

    def _victim(self) -> Replica:
        """The leader two times of three."""
        leader = self._world.leader
        if leader is not None and self._rng.random() < 2 / 3:
            return leader
        return self._world.replicas[self._rng.choice(NAMES)]

    async def _killed(self, victim: Replica) -> None:
        victim.kill()

    async def _ended(self, victim: Replica) -> None:
        victim.end()

    async def _stopped(self, victim: Replica) -> None:
        victim.freeze()
        await asyncio.sleep(self._rng.uniform(1, 12))
        victim.thaw()

    def _cut(self, *ways: str) -> Callable[[Replica], Awaitable[None]]:
        async def cut(victim: Replica) -> None:
            victim.cut(*ways)
            await asyncio.sleep(self._rng.uniform(2, 15))
            victim.mend(*ways)

        return cut

    async def _clock(self, victim: Replica) -> None:
        clocked = self._world.replicas[NAMES[-1]]  # the one that has a clock of its own
        clocked.jump(self._rng.choice((HOUR, -HOUR, DAY, -DAY, 0)))

    async def _robbed(self, victim: Replica) -> None:
        await self._world.destroy_session()

    async def _postgres_crashed(self, victim: Replica) -> None:
        self._world.notes.add("faults", replica="postgres", what="crash")
        await asyncio.to_thread(self._postgres.stop)
        await asyncio.sleep(self._rng.uniform(0.5, 6))
        await asyncio.to_thread(self._postgres.start)

    async def _paused(self, victim: Replica) -> None:
        """Whoever leads is told; it is lifted when somebody leads who can be told."""
        if await self._told("pause", "--reason", "soak"):
            await asyncio.sleep(self._rng.uniform(2, 6))
            while not await self._told("resume"):  # somebody will lead again
                await asyncio.sleep(0.5)

    async def _told(self, *words: str) -> bool:
        leader = self._world.leader
        try:
            return leader is not None and (await leader.bot.ask(*words))["ok"] is True
        except AssertionError:
            return False

    async def _measure(self) -> None:
        while True:
            for name, replica in self._world.replicas.items():
                if seen := replica.measure():
                    line = (now(), seen["rss"], seen["fds"])
                    self.samples.setdefault((name, seen["began"]), []).append(line)
            await asyncio.sleep(SAMPLE_S)


def dealt(names: Iterable[str], rng: random.Random) -> Iterator[str]:
    """Without end; each once before any comes again."""
    cards = sorted(names)
    while True:
        yield from rng.sample(cards, len(cards))


@contextlib.asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[tuple[World, RealPostgres]]:
    """Servers of its own, and three replicas that have begun."""
    name = f"u{uuid.uuid4().hex[:10]}"
    consul, postgres = RealConsul(config={"session_ttl_min": "1s"}), RealPostgres()
    try:
        await asyncio.to_thread(consul.open)
        await asyncio.to_thread(postgres.open)
        call = calls(consul.address)
        servers = Servers(consul=consul.address, call=call, dsn=await postgres.database(name))
        async with World(
            servers, folder, name, look=onlooker.in_consul(call, f"consulguard/{name}"), each=6
        ) as world:
            for replica in NAMES:
                await world.start(replica, clock=replica == NAMES[-1])
            await world.led()
            yield world, postgres
    finally:
        await asyncio.to_thread(consul.close)
        await asyncio.to_thread(postgres.close)


async def soak(minutes: float, seed: int, folder: Path) -> int:
    """0: everything held."""
    print(f"soak: {minutes:g} minutes, SEED={seed}, books in {folder / 'books'}", flush=True)
    async with standing(folder) as (world, postgres):
        run = Soak(world, postgres, seed)
        await run.run(minutes)
        books = await world.close_books(within_s=QUIET_S)
        ends = Counter(code for replica in world.replicas.values() for code in replica.ends)
    found = [f"{name}: {what}" for name, what in check(books)] + run.leaks()
    there = counted(books)
    if not there["effects"]:
        found.append("nothing was repaired: there was nothing to judge")
    print("faults:", ", ".join(f"{what} {n}" for what, n in sorted(run.faults.items())))
    print("ends:", ", ".join(f"{code} x{n}" for code, n in sorted(ends.items())))
    print("judged:", ", ".join(f"{what} {n}" for what, n in there.items()))
    print("\n".join(f"longest life of {line}" for line in run.growth()))
    print("\n".join(found) if found else f"everything held (SEED={seed})", flush=True)
    return bool(found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("MINUTES") or 10))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or random.randrange(100_000)))
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="consulguard-soak-"))

    async def run() -> int:
        """SIGTERM ends it with all that it has started."""
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await soak(given.minutes, given.seed, folder)

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
