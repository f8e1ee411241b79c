"""Consul's own troubles on a real cluster: none of them is an incident, and none is a reason to act.

The bot's playbooks would act at once on whatever fails in the shop or on any node; ``sick``, ``heals`` and
``fails`` are the only services that really fail, and no playbook is about them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from consulguard.model import State

from tests.e2e.cluster_bot import Bot, running, watch_token
from tests.e2e.cluster_shop import MOVED, Shop
from tests.e2e.cluster_sockets import Hog
from tests.e2e.support.scene import Scene
from tests.support.cluster import CLIENTS, SERVERS, Cluster
from tests.support.consul import need_consul
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(180)]
CONNECTIONS = 60  # that an agent of this cluster takes from one address; Consul's default is 200
RECOVERY_S = 45.0  # from the end of a fault to a settled view, at most


@pytest.fixture(scope="module")
def cluster_module() -> Iterator[Cluster]:
    need_consul()
    cluster = Cluster()
    for name in CLIENTS:
        cluster.agents[name].config["limits"] = {"http_max_conns_per_client": CONNECTIONS}
    try:
        cluster.open()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
async def shop(cluster: Cluster) -> AsyncIterator[Shop]:
    async with Shop(cluster) as shop:
        yield shop
        await cluster.make_healthy()


@pytest.fixture
async def bot(cluster: Cluster, shop: Shop, tmp_path: Path) -> AsyncIterator[Bot]:
    token = tmp_path / "token"
    token.write_text(await watch_token(cluster))
    async with running(cluster, tmp_path, token_file=token) as bot:
        await bot.settled(RECOVERY_S)
        assert {name: bot.health(name) for name in MOVED} == {
            "sick": State.CRITICAL,
            "heals": State.CRITICAL,
            "fails": State.PASSING,
        }
        yield bot


async def nothing() -> None:
    pass


async def ride_out(
    shop: Shop, bot: Bot, doubt: str, end: Callable[[], Awaitable[None]] = nothing, *, within_s: float = 30.0
) -> None:
    """The fault has begun: one service heals, one fails, and the view must say ``doubt``. Then the fault ends."""
    shop.heal("heals")
    shop.fail("fails")
    await bot.doubts(doubt, within_s)
    assert bot.health("sick") is State.CRITICAL
    await end()
    await bot.settled(RECOVERY_S)
    await bot.until("heals is seen to have healed", lambda: bot.health("heals") is State.PASSING, 15)
    await bot.until("fails is seen to fail", lambda: bot.health("fails") is State.CRITICAL, 45)
    assert bot.health("sick") is State.CRITICAL
    await only_what_failed(bot)


async def only_what_failed(bot: Bot) -> None:
    """Neither an intent nor an incident about anything that is well, ever."""
    story = await bot.story()
    assert story.intents == []
    assert story.blamed() <= set(MOVED), story.incidents
    assert {m.target.service for i in story.incidents.values() for m in i.members} <= set(MOVED)


async def test_this_bot_would_act(cluster: Cluster, shop: Shop, bot: Bot) -> None:
    """What all others rest on: one real failure in a sound cluster, and there is an intent."""
    shop.fail("shop-db")
    await eventually(bot.story, lambda story: story.intents, within_s=30)
    assert "shop-db" in (await bot.story()).blamed()


async def test_the_leader_is_killed(cluster: Cluster, shop: Shop, bot: Bot) -> None:
    leader = await cluster.leader()

    async def end() -> None:
        """Only when gossip has given the server up: its failing node must not be taken for the mesh's."""
        await bot.until("a note on the server", lambda: bot.says(f"servers fail: {leader}"), 30)
        await cluster.restart(leader)

    await cluster.kill(leader)
    await ride_out(shop, bot, "leader", end)


async def test_the_leader_is_frozen(cluster: Cluster, shop: Shop, bot: Bot) -> None:
    leader = await cluster.leader()

    async def end() -> None:
        """It is gone from the catalog by then: dead servers are cleaned up."""
        await eventually(lambda: _nodes(cluster), lambda nodes: leader not in nodes, within_s=45)
        await bot.settled(RECOVERY_S)
        cluster.resume(leader)

    cluster.freeze(leader)
    await ride_out(shop, bot, "leader", end)
    node = f"//{leader}/"
    await bot.until("the node is back", lambda: not [k for k in bot.failing() if node in k], 60)
    await only_what_failed(bot)


async def test_the_quorum_is_lost(cluster: Cluster, shop: Shop, bot: Bot) -> None:
    leader = await cluster.leader()
    other = next(name for name in SERVERS if name != leader)

    async def end() -> None:
        await bot.until("several doubts", lambda: bot.says("health/state/critical"), 20)
        await cluster.restart(leader)
        cluster.resume(other)

    await cluster.kill(leader)
    cluster.freeze(other)
    await ride_out(shop, bot, "no leader", end)


async def test_a_step_runs_while_the_quorum_is_lost(cluster: Cluster, tmp_path: Path, unique: str) -> None:
    """The daemon as a process: the step ends and its result is journaled; nothing begins before Consul is back."""
    token = tmp_path / "token"
    token.write_text(await watch_token(cluster))
    async with Scene(Agent(cluster.address("c1"), "c1"), tmp_path, unique) as scene:
        scene.token = cluster.root_token
        for name in ("under-way", "later"):
            scene.book(name, verify={"within": "5m", "target": {"passing_for": 1}})
            await scene.service(name)
        scene.make_bot(consul={"token_file": str(token)}).start()
        await scene.settled()
        scene.target.answers.clear()
        await scene.fail("under-way")
        await scene.until("the request", lambda: scene.effects("under-way"))
        leader = await cluster.leader()
        frozen = [leader, next(name for name in SERVERS if name != leader)]
        for name in frozen:
            cluster.freeze(name)
        await scene.until("a doubt", lambda: not scene.view()["trusted"])
        await scene.fail("later")
        scene.target.answers.set()
        await scene.until_run("under-way", "verifying")
        assert scene.outcomes("under-way") == ["DONE"]
        await scene.until("no leader", lambda: "no leader" in " ".join(scene.view()["reasons"]))
        assert (scene.intents("later"), scene.rest("under-way").split()[0]) == ([], "verifying")
        for name in frozen:
            cluster.resume(name)
        await scene.heal("under-way")
        await scene.until_run("under-way", "done", within_s=2 * RECOVERY_S)
        await scene.until_run("later", "verifying", within_s=RECOVERY_S)
        assert (scene.effects("under-way"), scene.effects("later")) == (1, 1)


class Agent(NamedTuple):
    """An agent of the cluster, as a server to register with."""

    address: str
    node: str


async def test_the_agent_is_restarted(cluster: Cluster, shop: Shop, bot: Bot) -> None:
    """All its checks are critical until each has run for the first time."""
    await cluster.restart("c1")
    await ride_out(shop, bot, f"another agent answers now: {cluster.address('c2')}")


async def test_all_agents_are_away(cluster: Cluster, shop: Shop, bot: Bot) -> None:
    async def end() -> None:
        """Only when gossip has given both up."""
        await eventually(lambda: _failed(cluster), lambda nodes: nodes >= set(CLIENTS), within_s=30)
        for name in CLIENTS:
            cluster.agents[name].launch()

    for name in CLIENTS:
        await cluster.kill(name)
    await ride_out(shop, bot, "cannot connect", end)


async def test_a_snapshot_is_restored(cluster: Cluster, shop: Shop, bot: Bot) -> None:
    shop.heal("heals")  # with this news seen the feed waits for the next, and can learn of the snapshot at once
    await bot.until("healed", lambda: bot.health("heals") is State.PASSING, 15)
    snapshot = await cluster.save_snapshot()
    late = {"Node": "late", "Address": "127.0.0.9", "Service": {"Service": "late"}}
    await cluster.request("PUT", "/v1/catalog/register", late)
    await cluster.restore_snapshot(snapshot)
    await ride_out(shop, bot, "a snapshot was restored")
    await bot.until("the nodes of the snapshot", lambda: bot.view.nodes == 5, 10)


async def test_the_connection_limit_is_reached(cluster: Cluster, shop: Shop, tmp_path: Path) -> None:
    """A bot that starts now gets too few connections, and says so."""
    token = tmp_path / "token"
    token.write_text(await watch_token(cluster))
    async with Hog([cluster.agents[name] for name in CLIENTS]) as hog:
        await hog.fill(leave=4)
        async with running(cluster, tmp_path, token_file=token) as bot:
            await bot.doubts("connection broke", 30)
            assert not bot.view.settled
            shop.heal("heals")
            await hog.release()
            await bot.settled(RECOVERY_S)
            assert [bot.health(name) for name in ("sick", "fails")] == [State.CRITICAL, State.PASSING]
            await only_what_failed(bot)


async def test_the_token_is_deleted_and_replaced(cluster: Cluster, shop: Shop, bot: Bot, tmp_path: Path) -> None:
    token = tmp_path / "token"

    async def end() -> None:
        token.write_text(await watch_token(cluster))

    await cluster.delete_token(token.read_text())
    await ride_out(shop, bot, "ACL not found", end)


async def _nodes(cluster: Cluster) -> set[str]:
    return {row["Node"] for row in await cluster.request("GET", "/v1/catalog/nodes?stale")}


async def _failed(cluster: Cluster) -> set[str]:
    at = next(name for name in SERVERS if cluster.agents[name].running)
    rows = await cluster.request("GET", "/v1/health/state/critical", at=at)
    return {row["Node"] for row in rows if row["CheckID"] == "serfHealth"}
