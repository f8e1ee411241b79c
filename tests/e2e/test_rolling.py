"""Leaders end and begin again under load: a small version of ``python -m bench rolling``."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.support.rolling import rolling
from tests.support.consul import need_consul
from tests.support.postgresql import RealPostgres

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.mark.timeout(480)
async def test_rolling_restarts_under_load(postgres: RealPostgres, unique: str) -> None:
    """Nothing is done twice, nothing is left undone, all is told and at most one message twice for each end."""
    need_consul()
    async with rolling(postgres, unique, 40, ttl="4s") as stage:
        load = asyncio.create_task(stage.load(3.0))
        for end in (stage.restart, stage.restart, stage.kill):
            await end()
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
        await stage.repaired()
        told = await stage.delivered()
        assert {stage.effects[name] for name in stage.failed} == {1}
        assert not any(one.stale for one in stage.target.asked)
        assert told.messages >= len(stage.failed) > 0
        assert (told.pending, told.lost) == (0, 0), told
        assert told.twice <= 3, told
