"""kill -9 at every fail-point of every shipped action, and what the next life makes of it.

The judge is offline: it reads what the targets recorded, what reached Consul and the journal's tables.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from consulguard.testing import RealConsul

from tests.e2e.support.case import KINDS, Case
from tests.e2e.support.judge import judge

pytestmark = [pytest.mark.real, pytest.mark.slow]

BEFORE = ("app.after_intent", "act.before_send")
AFTER = ("act.after_send", "app.before_result")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_kill_during_an_effect(
    kind: str, real_consul_module: RealConsul, tmp_path: Path, unique: str
) -> None:
    """The points of one kind side by side, each with a service and a bot of its own."""

    async def one(point: str) -> None:
        name = f"{unique}-{point.replace('.', '-').replace('_', '-')}"
        async with Case(kind, real_consul_module, tmp_path / point, name) as case:
            case.bot.start(f"{point}:kill")
            await case.fail()
            await case.bot.died()
            assert len(case.record().attempts) == 1
            case.bot.start()
            await case.comes_to_rest()
            judge(case, killed_after_send=point in AFTER)

    async with asyncio.TaskGroup() as group:
        for point in (*BEFORE, *AFTER):
            group.create_task(one(point), name=point)
