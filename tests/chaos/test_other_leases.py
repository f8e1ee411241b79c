"""The lease in ZooKeeper and in Kubernetes: a lost quorum, and an operator who takes it away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from consulguard.testing import RealConsul
from kazoo.client import KazooClient

from tests.chaos import onlooker
from tests.chaos.conftest import calls, database, judged
from tests.chaos.notes import now
from tests.chaos.world import Servers, World
from tests.support.kube import RealKube
from tests.support.postgresql import RealPostgres
from tests.support.zookeeper import Ensemble

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(480)]
TTL_S = 6.0
RENEW_S = TTL_S / 5


@pytest.fixture
async def in_zookeeper(
    chaos_consul: RealConsul, postgres: RealPostgres, ensemble: Ensemble, tmp_path: Path, unique: str
) -> AsyncIterator[tuple[World, KazooClient]]:
    servers = Servers(
        consul=chaos_consul.address,
        call=calls(chaos_consul.address),
        dsn=await database(postgres, unique),
        backend="zookeeper",
        zookeeper=ensemble.hosts,
        ttl_s=TTL_S,
    )
    client = KazooClient(hosts=",".join(ensemble.hosts), timeout=20)
    await asyncio.to_thread(client.start, 20)
    try:
        look = onlooker.in_zookeeper(client, f"consulguard/{unique}")
        async with World(servers, tmp_path, unique, look=look) as made:
            yield made, client
    finally:
        await asyncio.to_thread(client.stop)
        await asyncio.to_thread(client.close)


async def test_zookeeper_loses_its_quorum(in_zookeeper: tuple[World, KazooClient], ensemble: Ensemble) -> None:
    """The leader gives the lease up by its own clock; nobody leads until there is a quorum again."""
    world, _ = in_zookeeper
    await world.pair()
    load = asyncio.create_task(world.load(random.Random(4)))
    await world.until("something is repaired", lambda: len(world.effects()) > 1)
    frozen = [n for n in (1, 2, 3) if await asyncio.to_thread(ensemble.role, n) == "leader"]
    frozen += [n for n in (1, 2, 3) if n not in frozen][:1]
    try:
        ensemble.freeze(*frozen)
        await world.until("a has given up", lambda: "lease_lost" in world.replicas["a"].bot.output())
        gained = [line for line in world.notes.lines("said") if line["what"] == "lease_gained"]
        sent = len(world.notes.lines("sends"))
        await asyncio.sleep(4)
        assert len(world.notes.lines("sends")) == sent
        assert [line for line in world.notes.lines("said") if line["what"] == "lease_gained"] == gained
    finally:
        ensemble.resume(*frozen)
    await world.until("repairs go on", lambda: len(world.effects()) > sent + 1)
    load.cancel()
    await judged(world)


async def test_an_operator_deletes_the_node_in_zookeeper(in_zookeeper: tuple[World, KazooClient]) -> None:
    world, client = in_zookeeper
    a, _ = await world.pair()
    await world.repaired(world.service("fenced"))
    began = now()
    await asyncio.to_thread(client.delete, f"/consulguard/{world.name}")
    await world.until("a has noticed", lambda: "lease_lost" in a.bot.output())
    assert now() - began < RENEW_S + 2.0
    await world.until("somebody has it again", lambda: len(world.epochs()) > 1)
    await world.led()
    await world.repaired(world.service("once"))
    await judged(world)


@pytest.fixture
async def in_kubernetes(
    chaos_consul: RealConsul, postgres: RealPostgres, real_kube: RealKube, tmp_path: Path, unique: str
) -> AsyncIterator[tuple[World, str]]:
    real_kube.send("POST", "/api/v1/namespaces", {"metadata": {"name": unique}})
    path = f"/apis/coordination.k8s.io/v1/namespaces/{unique}/leases/consulguard-{unique}"
    servers = Servers(
        consul=chaos_consul.address,
        call=calls(chaos_consul.address),
        dsn=await database(postgres, unique),
        backend="kubernetes",
        kubernetes={"namespace": unique, "kubeconfig": real_kube.kubeconfig()},
        ttl_s=TTL_S,
    )
    async with World(servers, tmp_path, unique, look=onlooker.in_kubernetes(real_kube, path)) as made:
        yield made, path


async def test_an_operator_deletes_the_lease_in_kubernetes(
    in_kubernetes: tuple[World, str], real_kube: RealKube
) -> None:
    """Whoever finds it gone waits as long as its holder may go on believing in it."""
    world, path = in_kubernetes
    a, _ = await world.pair()
    await world.repaired(world.service("fenced"))
    began = now()
    await asyncio.to_thread(real_kube.send, "DELETE", path)
    await world.until("a has noticed", lambda: "lease_lost" in a.bot.output())
    assert now() - began < RENEW_S + 2.0
    await world.until("somebody has it again", lambda: len(world.epochs()) > 1)
    gains = [line["t"] for line in world.notes.lines("lease") if line["holder"]]
    assert gains[1] - began >= TTL_S - 0.5  # the onlooker's next look
    await world.led()
    await world.repaired(world.service("once"))
    await judged(world)
