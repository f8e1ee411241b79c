"""Three servers, two clients, ACLs: what breaks a cluster makes no news about the mesh."""

import asyncio

import pytest
from consulguard.clock import SystemClock
from consulguard.consulapi import ConsulClient, TokenSource
from consulguard.model import Status
from consulguard.watch import read_once

from tests.shell.watch.support import QUICK, Hand, Watching, quick

pytestmark = [pytest.mark.real]
# What docs and design call the watch-only token, without the optional agent:read.
RULES = (
    'node_prefix "" {policy="read"} service_prefix "" {policy="read"} key_prefix "consulguard/" {policy="read"}'
)
# A cluster takes a moment for everything; the twin's tempo would be noise here.
SETTINGS = quick(wait_s=5.0, grace_s=2.0, audit_s=5.0, probe_s=1.0)


@pytest.fixture
async def failing(cluster, unique):
    """One service that fails, far from any agent."""
    hand = Hand(cluster.address("c1"), cluster.root_token)
    await hand.catalog(f"{unique}-node", unique, "critical")
    yield f"{unique}1"
    await hand.put("/catalog/deregister", {"Node": f"{unique}-node"})
    await hand.client.close()


async def new_token(cluster, rules=RULES):
    """A new token that every server knows of by now: one asked too early remembers "not found" for 30 s."""
    secret = await cluster.make_token(rules)
    root = TokenSource(cluster.root_token)
    async with ConsulClient(addresses=[cluster.address("s1")], token=root) as client:
        index = (await client.get("/v1/acl/tokens", consistency="consistent")).index
        for name in ("s1", "s2", "s3"):
            while True:
                there = await client.get("/v1/acl/tokens", consistency="stale", address=cluster.address(name))
                if there.index >= index:
                    break
                await asyncio.sleep(0.02)
    return TokenSource(secret)


async def watching(cluster, *names, rules=RULES):
    token = await new_token(cluster, rules)
    return Watching(*[cluster.address(n) for n in names or ("c1",)], settings=SETTINGS, token=token)


def only_failed(w, failing):
    return w.statuses(failing) == [Status.CRITICAL]


async def test_the_least_token_is_enough(cluster, failing):
    async with await watching(cluster) as w:
        view = await w.settled()
        assert (view.reasons, view.version) == ((), "1.8.7")
        assert only_failed(w, failing)
    async with ConsulClient(addresses=[cluster.address("c2")], token=await new_token(cluster)) as c:
        *_, viewed = await read_once(c, SystemClock(), QUICK)
        assert viewed.view.trusted
        assert set(c.requests) == {"GET"}


async def test_a_token_that_sees_a_part_is_told(cluster, failing):
    part = 'node_prefix "" {policy="read"} service_prefix "u" {policy="read"}'
    async with await watching(cluster, rules=part) as w:
        view = await w.distrusts("every service")
        assert not view.settled


async def test_a_deleted_token(cluster, failing, unique):
    hand = Hand(cluster.address("c1"), cluster.root_token)
    async with await watching(cluster) as w:
        await w.settled()
        accessor = (await w.client.get("/v1/acl/token/self")).json(dict)["AccessorID"]
        await hand.client.send("DELETE", f"/v1/acl/token/{accessor}")
        await w.distrusts("ACL not found")
        await hand.catalog(f"{unique}-node", unique, "passing")
        await asyncio.sleep(1)
        assert only_failed(w, failing)
    await hand.client.close()


async def test_the_leader_is_killed(cluster, failing):
    async with await watching(cluster) as w:
        await w.settled()
        await cluster.kill(await cluster.leader())
        await w.until(lambda w: not w.views[-1].trusted)
        await w.trusts_again()
        await w.until(lambda w: w.views[-1].settled, within_s=60)
        assert only_failed(w, failing)
        # The killed server's own node check may fail: that is news, and true. Nothing else is.
        assert {o.target.kind for o in w.observations if o.target.name != failing} <= {"node"}


async def test_the_quorum_is_lost(cluster, failing):
    async with await watching(cluster) as w:
        await w.settled()
        leader = await cluster.leader()
        other = next(n for n in ("s1", "s2", "s3") if n != leader)
        await cluster.kill(leader)
        await cluster.kill(other)
        await w.until(lambda w: not w.views[-1].trusted)
        await asyncio.sleep(5)
        assert not w.views[-1].trusted
        assert only_failed(w, failing)
        await cluster.restart(leader)
        await cluster.restart(other)
        await w.until(lambda w: w.views[-1].trusted and w.views[-1].settled, within_s=60)
        assert only_failed(w, failing)


async def test_the_local_agent_is_restarted(cluster, failing):
    async with await watching(cluster, "c1", "c2") as w:
        await w.settled()
        await cluster.kill("c1")
        await w.until(lambda w: w.client.address == cluster.address("c2"))
        await w.until(lambda w: w.views[-1].trusted and w.views[-1].settled, within_s=60)
        assert only_failed(w, failing)
        await cluster.restart("c1")
