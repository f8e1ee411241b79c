import asyncio, time, sys
import pytest
from tests.e2e.test_cluster_faults import shop, bot
pytestmark = [pytest.mark.timeout(240)]

async def record(bot, t0, out):
    last=None
    while True:
        v=bot.view
        now=(v.trusted,v.settled,v.reasons,tuple(sorted(bot.failing().items())))
        if now!=last:
            last=now
            print(f"{time.monotonic()-t0:6.2f}", v.trusted, v.settled, v.reasons, {k.split('/')[-1] or k:s for k,s in bot.failing().items()}, flush=True)
        await asyncio.sleep(0.02)

async def play(cluster, shop, bot, fault, hold, end, limit=90):
    t0=time.monotonic()
    task=asyncio.create_task(record(bot,t0,None))
    try:
        await fault()
        print("--- fault on", f"{time.monotonic()-t0:6.2f}")
        shop.heal("heals"); shop.fail("fails")
        await asyncio.sleep(hold)
        print("--- fault ends", f"{time.monotonic()-t0:6.2f}")
        await end()
        print("--- fault over", f"{time.monotonic()-t0:6.2f}")
        await asyncio.sleep(3)
        await bot.until("all well", lambda: bot.view.settled and bot.health("sick").value=="critical" and bot.health("heals").value=="passing" and bot.health("fails").value=="critical", limit)
        print("--- well", f"{time.monotonic()-t0:6.2f}")
        await asyncio.sleep(3)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        s=await bot.story()
        print("BLAMED", s.blamed(), "INTENTS", len(s.intents))

async def test_leader_killed(cluster, shop, bot):
    l=await cluster.leader()
    await play(cluster,shop,bot, lambda: cluster.kill(l), 12, lambda: cluster.restart(l))
async def test_leader_frozen(cluster, shop, bot):
    l=await cluster.leader()
    async def f(): cluster.freeze(l)
    async def e(): cluster.resume(l)
    await play(cluster,shop,bot, f, 25, e)
async def test_quorum(cluster, shop, bot):
    l=await cluster.leader()
    two=[l]+[x for x in ("s1","s2","s3") if x!=l][:1]
    async def f():
        for t in two: await cluster.kill(t)
    async def e():
        for t in two: await cluster.restart(t)
    await play(cluster,shop,bot, f, 15, e)
async def test_agent(cluster, shop, bot):
    async def n(): pass
    await play(cluster,shop,bot, lambda: cluster.restart("c1"), 5, n)
async def test_agents_away(cluster, shop, bot):
    async def f():
        await cluster.kill("c1"); await cluster.kill("c2")
    async def e():
        await cluster.restart("c1"); await cluster.restart("c2")
    await play(cluster,shop,bot, f, 12, e)
async def test_snapshot(cluster, shop, bot):
    async def n(): pass
    snap = await cluster.save_snapshot()
    for i in range(40): await cluster.request("PUT", f"/v1/kv/x{i}", 1)
    await cluster.request("PUT","/v1/agent/service/register",{"Name":"late","ID":"late","Check":{"TTL":"1h","Status":"passing"}},at="c1")
    await asyncio.sleep(2)
    await play(cluster,shop,bot, lambda: cluster.restore_snapshot(snap), 5, n)
