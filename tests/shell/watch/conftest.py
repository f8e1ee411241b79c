from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from consulguard.testing.twin import ConsulTwin

from tests.shell.watch.support import Hand, Meddler
from tests.support.consul import Server


@pytest.fixture
async def hand(consul_server: Server) -> AsyncIterator[Hand]:
    """Writes to the twin, then to the real server; what it registered at the agent is taken away again."""
    hand = Hand(consul_server.address)
    yield hand
    services = (await hand.client.get("/v1/agent/services")).json(dict)
    for service in services:
        if service != "consul":
            await hand.put(f"/agent/service/deregister/{service}")
    nodes = (await hand.client.get("/v1/catalog/nodes")).json(list)
    for node in nodes:
        if node["Node"] != consul_server.node:
            await hand.put("/catalog/deregister", {"Node": node["Node"]})
    await hand.client.close()


@pytest.fixture
async def twin_hand(twin: ConsulTwin) -> AsyncIterator[Hand]:
    hand = Hand(twin.address)
    yield hand
    await hand.client.close()


@pytest.fixture
async def meddler(twin: ConsulTwin) -> AsyncIterator[Meddler]:
    async with Meddler(twin.address) as meddler:
        yield meddler
