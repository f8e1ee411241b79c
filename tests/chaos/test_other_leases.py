"""The lease in ZooKeeper and in Kubernetes: a lost quorum, and an operator who takes it away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from tests.chaos import onlooker
from tests.chaos.conftest import judged, taken_away
from tests.chaos.world import Servers, World
from tests.support.kube import RealKube
from tests.support.zookeeper import Ensemble

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(480)]
TTL_S = 6.0
RENEW_S = TTL_S / 5


@pytest.fixture
async def in_zookeeper(
    servers: Servers, ensemble: Ensemble, tmp_path: Path, unique: str
) -> AsyncIterator[tuple[World, KazooClient]]:
    servers = replace(servers, backend="zookeeper", zookeeper=ensemble.hosts, ttl_s=TTL_S)
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
    """It is told at once, and nobody waits for it."""
    world, client = in_zookeeper
    node = f"/consulguard/{world.name}"
    await taken_away(world, partial(asyncio.to_thread, client.delete, node), renew_s=RENEW_S, after_s=0.0)


@pytest.fixture
async def in_kubernetes(
    servers: Servers, real_kube: RealKube, tmp_path: Path, unique: str
) -> AsyncIterator[tuple[World, str]]:
    real_kube.send("POST", "/api/v1/namespaces", {"metadata": {"name": unique}})
    path = f"/apis/coordination.k8s.io/v1/namespaces/{unique}/leases/consulguard-{unique}"
    where = {"namespace": unique, "kubeconfig": real_kube.kubeconfig()}
    servers = replace(servers, backend="kubernetes", kubernetes=where, ttl_s=TTL_S)
    async with World(servers, tmp_path, unique, look=onlooker.in_kubernetes(real_kube, path)) as made:
        yield made, path


async def test_an_operator_deletes_the_lease_in_kubernetes(
    in_kubernetes: tuple[World, str], real_kube: RealKube
) -> None:
    """Whoever finds it gone waits as long as its holder may go on believing in it."""
    world, path = in_kubernetes
    take = partial(asyncio.to_thread, real_kube.send, "DELETE", path)
    await taken_away(world, take, renew_s=RENEW_S, after_s=TTL_S)
