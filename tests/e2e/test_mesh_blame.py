"""Faults on the real Connect mesh, and whom the incident names: judged from its JSON.

web -> shop -> ledger <- pay and side -> stock. Who calls another has a deep check that does the work, the two
leaves are only asked whether they are there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from consulguard.testing import RealConsul

from tests.e2e.support.bot import Bot
from tests.e2e.support.told import told
from tests.support.mesh import ConnectMesh

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(180)]
CALLS = {"web": "shop", "shop": "ledger", "pay": "ledger", "side": "stock", "ledger": "", "stock": ""}


@pytest.fixture
async def mesh(real_consul_module: RealConsul, tmp_path: Path) -> AsyncIterator[ConnectMesh]:
    async with ConnectMesh(real_consul_module.address, log_folder=tmp_path, calls=CALLS, deep=True) as mesh:
        yield mesh


@pytest.fixture
async def bot(mesh: ConnectMesh, real_consul_module: RealConsul, tmp_path: Path) -> AsyncIterator[Bot]:
    """It watches before anything fails."""
    bot = Bot(tmp_path / "bot", real_consul_module.address, mode="observe", playbooks={"allow_empty": True})
    bot.start()
    await told(bot, "a settled view", lambda seen: seen.settled)
    yield bot
    await bot.stop()


def roles(incident: dict[str, Any]) -> dict[str, str]:
    return {m["name"]: m["role"] for m in incident["members"] if m["kind"] == "service"}


async def test_a_dead_leaf(mesh: ConnectMesh, bot: Bot) -> None:
    await mesh.kill("ledger")
    seen = await told(bot, "all four fail", lambda s: s.failing >= {"web", "shop", "pay", "ledger"} and s.sure(1))
    [one] = seen.open
    assert (one["root"]["kind"], one["root"]["name"]) == ("service", "ledger")
    assert roles(one) == {"ledger": "root_cause", "shop": "affected", "pay": "affected", "web": "affected"}
    assert one["why"][0].startswith("1 of 1 instances of ledger fail")
    assert "2 of its 2 known callers fail." in one["why"]


async def test_a_leaf_that_is_slow_only_for_its_callers(mesh: ConnectMesh, bot: Bot) -> None:
    """The leaf's own checks stay green: it is named for what its callers see."""
    mesh.nodes["ledger"].delay_s = 2.0
    seen = await told(bot, "the callers fail", lambda s: s.failing == {"web", "shop", "pay"} and s.sure(1))
    assert set((await mesh.statuses("ledger")).values()) == {"passing"}
    [one] = seen.open
    assert (one["root"]["kind"], one["root"]["name"]) == ("service", "ledger")
    assert roles(one) == {"ledger": "root_cause", "shop": "affected", "pay": "affected", "web": "affected"}
    [leaf] = [m for m in one["members"] if m["name"] == "ledger"]
    assert leaf["state"] == "passing"
    assert one["confidence"] >= 0.5
    assert "2 known callers of ledger fail (pay, shop)" in one["why"][0]
    assert "ledger's own checks pass: they may not see what its callers see." in one["why"]


async def test_two_faults_at_once_are_two_incidents(mesh: ConnectMesh, bot: Bot) -> None:
    await mesh.kill("ledger")
    await mesh.kill("stock")
    everybody = {"web", "shop", "pay", "ledger", "side", "stock"}
    seen = await told(bot, "all six fail", lambda s: s.failing == everybody and s.sure(2))
    found = {i["root"]["name"]: roles(i) for i in seen.open}
    assert found == {
        "ledger": {"ledger": "root_cause", "shop": "affected", "pay": "affected", "web": "affected"},
        "stock": {"stock": "root_cause", "side": "affected"},
    }


async def test_a_dead_leaf_and_one_that_is_slow_for_its_callers(mesh: ConnectMesh, bot: Bot) -> None:
    mesh.nodes["ledger"].delay_s = 2.0
    await mesh.kill("stock")
    failing = {"web", "shop", "pay", "side", "stock"}
    seen = await told(bot, "five fail", lambda s: s.failing == failing and s.sure(2))
    assert {i["root"]["name"] for i in seen.open} == {"ledger", "stock"}
    hidden = next(i for i in seen.open if i["root"]["name"] == "ledger")
    assert roles(hidden) == {"ledger": "root_cause", "shop": "affected", "pay": "affected", "web": "affected"}
