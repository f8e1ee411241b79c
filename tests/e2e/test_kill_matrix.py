"""kill -9 at every fail-point of every shipped action, and what the next life makes of it.

The judge is offline: it reads what the targets recorded, what Consul holds and the journal's tables.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from consulguard.testing import RealConsul

from tests.e2e.support.case import KINDS, Case
from tests.e2e.support.judge import judge

pytestmark = [pytest.mark.real]

POINTS = ("app.after_intent", "act.before_send", "act.after_send", "app.before_result")


@pytest.fixture
async def case(
    request: pytest.FixtureRequest, real_consul_module: RealConsul, tmp_path: Path, unique: str
) -> AsyncIterator[Case]:
    async with Case(request.param, real_consul_module, tmp_path, unique) as case:
        yield case


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("case", KINDS, indirect=True)
async def test_a_kill_during_the_first_effect(case: Case, point: str) -> None:
    case.bot.start(f"{point}:kill")
    await case.fail()
    await case.bot.died()
    assert len(case.record().attempts) == 1
    case.bot.start()
    await case.comes_to_rest()
    judge(case, killed_after_send=point in ("act.after_send", "app.before_result"))
