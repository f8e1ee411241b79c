"""Consul's own troubles on a real cluster: none of them is an incident, and none is a reason to act."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from consulguard.model import State

from tests.e2e.cluster_bot import WATCH_ONLY, Bot, running
from tests.e2e.cluster_shop import Shop
from tests.support.cluster import Cluster

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(180)]

@pytest.fixture
async def shop(cluster: Cluster) -> AsyncIterator[Shop]:
    async with Shop(cluster) as shop:
        yield shop
        await cluster.make_healthy()

@pytest.fixture
async def bot(cluster: Cluster, shop: Shop, tmp_path: Path) -> AsyncIterator[Bot]:
    token = tmp_path / "token"
    token.write_text(await cluster.make_token(WATCH_ONLY))
    async with running(cluster, tmp_path, token_file=token) as bot:
        yield bot

async def test_quiet(cluster, shop, bot):
    import time
    print("SETTLED")
    story = await bot.story()
    t0=None
    for v in story.views: print(v.trusted, v.settled, v.reasons, v.as_of)
    print(story.blamed(), story.intents, bot.failing())
    print(bot.view)
