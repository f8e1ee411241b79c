"""Rolling restarts under load: what was done twice or not at all, and what people were not told, or told twice.

Pairs of real daemons, each with a Consul, a database, a fenced target and a Slack twin of its own. One more
service fails every few seconds; a repair makes it pass. Meanwhile the leader is ended by SIGTERM and started
again, over and over; after that it is killed, over and over. In the end every failure must have been repaired
once, and what the outbox holds must stand in Slack, once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from tests.e2e.support.rolling import Told, rolling
from tests.support.postgresql import RealPostgres

from bench.measure import percentile, table, verdict

RESTARTS = {"tiny": 4, "small": 50, "large": 200}
KILLS = 0.2  # of the restarts, once more
PAIRS = 5
FAILS_EVERY_S = 3.0  # one after the other: people are told one message a second
SERVICES_EACH = 4  # that may fail while one restart is made
REST_S = 4.0  # from the moment a leader may act to its end


@dataclass(frozen=True)
class Found:
    """Of one pair."""

    restarts: list[float]
    kills: list[float]
    failures: int
    repaired: int  # once
    twice: int  # repaired more than once
    stale: int  # what a target without a fence would have got: requests of an older epoch
    again: int  # and of an attempt it had seen
    told: Told


async def measure(restarts: int, pairs: int) -> list[Found]:
    postgres = RealPostgres(connections=20 + 10 * pairs)
    await asyncio.to_thread(postgres.open)
    each = -(-restarts // pairs)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_pair(postgres, f"p{n}", each)) for n in range(pairs)]
        return [task.result() for task in tasks]
    finally:
        postgres.close()


async def _pair(postgres: RealPostgres, name: str, restarts: int) -> Found:
    kills = max(1, round(restarts * KILLS))
    async with rolling(postgres, name, SERVICES_EACH * (restarts + 5 * kills)) as stage:
        load = asyncio.create_task(stage.load(FAILS_EVERY_S))
        took: list[list[float]] = [[], []]
        for ends, number, end in ((took[0], restarts, stage.restart), (took[1], kills, stage.kill)):
            for _ in range(number):
                ends.append(await end())
                await asyncio.sleep(REST_S)
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
        with contextlib.suppress(AssertionError):  # what is not repaired by now is counted
            await stage.repaired()
        told, counts = await stage.delivered(), [stage.effects[name] for name in stage.failed]
        return Found(
            restarts=took[0],
            kills=took[1],
            failures=len(counts),
            repaired=counts.count(1),
            twice=sum(count > 1 for count in counts),
            stale=sum(one.stale for one in stage.target.asked),
            again=sum(one.again for one in stage.target.asked),
            told=told,
        )


def report(found: Sequence[Found]) -> str:
    restarts = [took for one in found for took in one.restarts]
    kills = [took for one in found for took in one.kills]
    failures, repaired = sum(one.failures for one in found), sum(one.repaired for one in found)
    twice, lost = sum(one.twice for one in found), sum(one.told.lost + one.told.pending for one in found)
    again = sum(one.told.twice for one in found)
    ends = len(restarts) + len(kills)
    rows = [
        ("rolling restarts, hand-over p50 / worst", f"{len(restarts)}, {_spread(restarts)}", "", ""),
        ("kills, fail-over p50 / worst", f"{len(kills)}, {_spread(kills)}", "", ""),
        ("failures repaired, once", f"{repaired} of {failures}", "all", verdict(repaired == failures)),
        ("repaired twice", str(twice), "0", verdict(twice == 0)),
        ("requests of an older epoch at the target", str(sum(one.stale for one in found)), "", ""),
        ("requests of an attempt it had seen", str(sum(one.again for one in found)), "", ""),
        ("messages", str(sum(one.told.messages for one in found)), "", ""),
        ("lost, or not told in their newest version", str(lost), "0", verdict(lost == 0)),
        ("told twice", str(again), f"<= {ends}, one each time", verdict(again <= ends)),
    ]
    return f"rolling: by {len(found)} pairs\n\n{table(('what', 'measured', 'goal', 'verdict'), rows)}"


def _spread(values: Sequence[float]) -> str:
    return f"{percentile(values, 0.5):.1f} s / {percentile(values, 1.0):.1f} s"


def main(size: str, seconds: float | None, restarts: int | None = None, pairs: int | None = None) -> None:
    print(report(asyncio.run(measure(restarts or RESTARTS[size], pairs or PAIRS))))
