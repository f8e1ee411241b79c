"""In mode observe nothing leaves: the plan is made and told, and the targets see not one request."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from consulguard.testing import RealConsul

from tests.e2e.support.case import CONSUL, EXEC, HTTP, Case
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]


async def test_what_would_be_done_is_told_and_not_done(
    real_consul_module: RealConsul, tmp_path: Path, unique: str
) -> None:
    async def play(number: int, kind: str) -> None:
        folder, name = tmp_path / str(number), f"{unique}-{number}"
        async with Case(kind, real_consul_module, folder, name, mode="observe") as case:
            case.bot.start()
            await case.fail()

            async def told() -> str:
                return case.record().fact(name, "Next step")

            step = await eventually(told, lambda text: "mode is observe: would act" in text, within_s=90.0)
            assert step.startswith("first: DENY"), step
            await asyncio.sleep(3.0)  # the hold-down has long passed: whoever acts would have by now
            assert case.record().intents == []
            assert case.recorded() == []
            assert case.proxy.writes == []

    async with asyncio.TaskGroup() as group:
        for number, kind in enumerate((HTTP[0], EXEC[0], CONSUL[0])):
            group.create_task(play(number, kind), name=kind)
