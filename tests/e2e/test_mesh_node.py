"""A node stops that carries two services of a Connect mesh: the incident names the node, not what ran on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster_bot import watch_token
from tests.e2e.support.bot import Bot
from tests.e2e.support.told import told
from tests.support.cluster import Cluster
from tests.support.mesh import ConnectMesh

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(240)]
CALLS = {"web": "ledger", "pay": "stock", "ledger": "", "stock": ""}
THERE = ("ledger", "stock")  # on c2


class Spread(ConnectMesh):
    """The leaves are registered with c2, those who call them with c1."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        super().__init__(
            cluster.address("c1"), token=cluster.root_token, log_folder=folder, calls=CALLS, deep=True
        )

    def agent(self, name: str) -> str:
        return self._cluster.address("c2" if name in THERE else "c1")

    async def stop_node(self) -> None:
        """c2 with all that runs there."""
        await self._cluster.kill("c2")
        for name in THERE:
            await self.kill_proxy(name)
            await self.kill(name)


@pytest.fixture
async def mesh(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Spread]:
    mesh = Spread(cluster, tmp_path)
    try:
        await mesh.start()
        yield mesh
    finally:
        await cluster.make_healthy()  # what is registered must be taken away again
        await mesh.stop()


@pytest.fixture
async def bot(mesh: Spread, cluster: Cluster, tmp_path: Path) -> AsyncIterator[Bot]:
    token = tmp_path / "token"
    token.write_text(await watch_token(cluster))
    consul = {"http_addr": cluster.address("c1"), "token_file": str(token)}
    bot = Bot(tmp_path / "bot", "", mode="observe", playbooks={"allow_empty": True}, consul=consul)
    bot.start()
    await told(bot, "a settled view", lambda seen: seen.settled)
    yield bot
    await bot.stop()


async def test_a_node_that_stops_is_named(mesh: Spread, bot: Bot) -> None:
    await mesh.stop_node()

    def one_node(seen: Any) -> bool:
        return seen.failing >= {"web", "pay", "ledger", "stock"} and seen.sure(1)

    seen = await told(bot, "everything fails", one_node, within_s=90.0)
    [one] = seen.open
    assert (one["root"]["kind"], one["root"]["name"]) == ("node", "c2")
    roles = {(m["kind"], m["name"]): m["role"] for m in one["members"] if m["kind"] != "instance"}
    assert roles == {
        ("node", "c2"): "root_cause",
        ("service", "ledger"): "affected",
        ("service", "stock"): "affected",
        ("service", "web"): "affected",
        ("service", "pay"): "affected",
    }
    assert one["why"][0].startswith("The node check of c2 fails, since ")
