"""A cause that only its one caller sees: of three bots that watch it on a real Consul, one may probe."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from consulguard.testing import RealConsul
from consulguard.testing.ports import free_ports

from tests.e2e.support import journal
from tests.e2e.support.bot import Bot
from tests.e2e.support.scene import Scene
from tests.e2e.support.told import told
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]


class Ledger:
    """Does its work until it is to hang; counts the requests."""

    def __init__(self) -> None:
        self.hangs = False
        self.requests = 0

    async def work(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.hangs:
            await asyncio.sleep(2.0)
        return web.Response(text="done")

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/work", self.work)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=3.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner


def answers(bot: Bot) -> list[dict[str, Any]]:
    return [a for line in journal.read(bot.journal).events("Knocked") for a in line.body["answers"]]


async def test_a_hidden_cause_is_named_by_who_may_probe_it(real_consul: RealConsul, tmp_path: Path) -> None:
    ledger = Ledger()
    runner = await ledger.start()
    port = runner.addresses[0][1]
    (closed,) = free_ports(1)

    def bot(name: str, **probe: Any) -> Bot:
        """It knows that front calls ledger."""
        watch = {"settle": "1s", "depends_on": {"front": ["ledger"]}}
        correlate = {
            "resolve": "1s",
            "probe": {"timeout": "1s", "every": "1s", "well": "1s", "most": 300, **probe},
        }
        more: dict[str, Any] = {"mode": "observe", "playbooks": {"allow_empty": True}}
        return Bot(tmp_path / name, real_consul.address, watch=watch, correlate=correlate, **more)

    async with Scene(real_consul, tmp_path, "x") as scene:
        for name, at in (("front", 1), ("ledger", port)):
            check = {"CheckID": name, "Name": "ttl", "TTL": "1h", "Status": "passing"}
            body = {"Name": name, "ID": name, "Address": "127.0.0.1", "Port": at, "Checks": [check]}
            await scene.call("PUT", "/v1/agent/service/register", body)
        door = {"kind": "http", "path": "/work"}
        here = {"enabled": True, "networks": ["127.0.0.0/8"]}
        may = bot("may", **here, services={"ledger": door})
        shut = bot("shut", **here, services={"ledger": {"kind": "tcp", "port": closed}})
        off = bot("off", services={"ledger": door}, networks=["127.0.0.0/8"])
        try:
            off.start()
            await told(off, "a settled view", lambda seen: seen.settled)
            assert ledger.requests == 0, "listed, but not enabled"
            may.start()
            shut.start()

            async def first() -> tuple[set[str], set[str]]:
                return {a["how"] for a in answers(may)}, {a["how"] for a in answers(shut)}

            await eventually(first, lambda seen: seen == ({"well"}, {"refused"}), within_s=60.0)
            ledger.hangs = True
            await scene.call("PUT", "/v1/agent/check/fail/front")

            named = await told(may, "ledger is named", lambda s: [i["root"]["name"] for i in s.open] == ["ledger"])
            [one] = named.open
            assert f"A probe of ledger at 127.0.0.1:{port} timed out after 1 s." in one["why"]
            assert {m["name"]: m["role"] for m in one["members"]} == {"ledger": "root_cause", "front": "affected"}
            assert one["confidence"] >= 0.5

            for other in (shut, off):
                [one] = (await told(other, "an incident", lambda s: len(s.open) == 1)).open
                assert one["root"]["name"] == "front"
                assert [o["root"]["name"] for o in one["alternatives"]] == ["ledger"]
                assert not any("probe" in sentence for sentence in one["why"])
            assert answers(off) == []
            assert {a["how"] for a in answers(shut)} == {"refused"}
        finally:
            for each in (may, shut, off):
                await each.stop()
            await runner.cleanup()
