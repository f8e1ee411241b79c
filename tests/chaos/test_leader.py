"""The leader is killed, stopped, cut off and robbed of its lease. One acts at a time; everything ends."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.chaos.conftest import judged, taken_away
from tests.chaos.notes import now
from tests.chaos.world import TTL_S, World

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(480)]
RENEW_S = TTL_S / 3
GIVES_UP_S = 10.0  # at most, with no way to the journal


async def test_kill_9_with_a_step_prepared_and_under_load(world: World) -> None:
    a, _ = await world.pair("act.before_send:kill")
    load = asyncio.create_task(world.load(random.Random(1)))
    await world.until("a is dead", lambda: a.ends == [-9])
    a.wanted = False
    await world.led("b")
    await world.until("b repairs", lambda: len(world.effects()) > 4)
    load.cancel()
    await judged(world)


async def test_sigstop_beyond_the_lease_with_a_step_prepared(world: World) -> None:
    """What it knew when it was stopped it does not do when it wakes, and it stands by again."""
    a, _ = await world.pair("act.before_send:stop")
    service = world.service("fenced")
    await world.fail(service)
    await world.until("a is stopped", lambda: a.bot.stopped)
    a.freeze()
    await world.led("b")
    await world.until("b has done it", lambda: world.effects(service))
    a.thaw()
    await world.until("a has noticed", lambda: "lease_lost" in a.bot.output())
    await world.repaired(world.service("once"))
    old, new = world.epochs()[:2]
    assert {line["epoch"] for line in world.notes.lines("sends")} == {new} != {old}
    await judged(world)


async def test_sigstop_of_five_seconds_under_load(world: World) -> None:
    a, _ = await world.pair()
    load = asyncio.create_task(world.load(random.Random(2)))
    await world.until("a repairs", lambda: len(world.effects()) > 1)
    a.freeze()
    await asyncio.sleep(5)
    a.thaw()
    await world.until("somebody gained it anew", lambda: world.gained("a") + world.gained("b") > 1)
    await world.led()
    before = len(world.effects())
    await world.until("repairs go on", lambda: len(world.effects()) > before)
    load.cancel()
    await judged(world)


async def test_the_leader_has_no_way_to_consul(world: World) -> None:
    """Promise 9: it gives the lease up by its own clock, before Consul can grant another."""
    a, _ = await world.pair()
    await world.repaired(world.service("fenced"))
    a.cut("consul")
    await world.led("b")
    await world.repaired(world.service("once"))
    a.mend("consul")
    await world.repaired(world.service("keyed"))
    await judged(world)


async def test_the_leader_has_no_way_to_the_journal(world: World) -> None:
    """Promise 10. What it had tried to write arrives when the way is back, and is not taken."""
    a, _ = await world.pair()
    await world.repaired(world.service("fenced"))
    began = now()
    a.cut("postgres")
    await world.fail(world.service("once"))
    await world.until("a has given up", lambda: a.ends)
    [end] = [line for line in world.notes.lines("lives") if line["what"] == "end"]
    assert end["t"] - began < GIVES_UP_S
    await world.led("b")
    await world.until("b has repaired", lambda: world.effects(world.service("once")))
    a.mend("postgres")
    await world.repaired(world.service("keyed"))
    await judged(world)


async def test_an_operator_destroys_the_session(world: World) -> None:
    """Promise 32: the leader stops within a renewal, and whoever comes next has waited for the lock delay."""
    await taken_away(world, world.destroy_session, renew_s=RENEW_S, after_s=TTL_S)


async def test_replicas_never_talk_to_each_other(world: World) -> None:
    """Promise 12: there is no way between them that could be cut; one is even told to go, the other goes on."""
    a, b = await world.pair()
    servers = [way.address for each in (a, b) for ways in each.ways.values() for way in ways]
    servers += [world.gate.address, world.slack.api]
    allowed = {int(address.split(":")[2].split("/")[0]) for address in servers}
    seen: dict[str, set[tuple[str, int]]] = {"a": set(), "b": set()}

    async def look() -> None:
        while True:
            for each in (a, b):
                seen[each.name] |= each.sockets()
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look())
    await world.repaired(world.service("fenced"), world.service("once"))
    a.wanted = False
    a.end()
    await world.led("b")
    await world.repaired(world.service("keyed"))
    looking.cancel()
    assert all(seen.values())
    assert {port for places in seen.values() for _, port in places} <= allowed
    await judged(world)
