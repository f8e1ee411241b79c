"""Consul has lost its quorum: nobody leads, nothing is done; with it again everything goes on."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.chaos import onlooker
from tests.chaos.conftest import calls, judged
from tests.chaos.world import Servers, World
from tests.support.cluster import SERVERS, Cluster
from tests.support.postgresql import RealPostgres

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(480)]
RULES = (
    'node_prefix "" {policy="read"} service_prefix "" {policy="read"} agent_prefix "" {policy="read"}'
    ' session_prefix "" {policy="write"} key_prefix "consulguard/" {policy="write"}'
)


async def test_two_of_three_servers_are_frozen(
    cluster: Cluster, postgres: RealPostgres, tmp_path: Path, unique: str
) -> None:
    call = calls(cluster.address("c1"), cluster.root_token)
    servers = Servers(
        consul=cluster.address("c1"),
        call=call,
        dsn=await postgres.database(unique),
        token=await cluster.make_token(RULES),
    )
    look = onlooker.in_consul(call, f"consulguard/{unique}")
    async with World(servers, tmp_path, unique, look=look) as world:
        await world.pair()
        load = asyncio.create_task(world.load(random.Random(5)))
        await world.until("something is repaired", lambda: len(world.effects()) > 1)
        first = await cluster.leader()
        frozen = (first, *[name for name in SERVERS if name != first][:1])
        for name in frozen:
            cluster.freeze(name)
        await world.until("a has given up", lambda: "lease_lost" in world.replicas["a"].bot.output())
        sent = len(world.notes.lines("sends"))
        await asyncio.sleep(5)
        assert len(world.notes.lines("sends")) == sent
        for name in frozen:
            cluster.resume(name)
        await world.until("repairs go on", lambda: len(world.effects()) > sent + 1)
        load.cancel()
        await judged(world)
