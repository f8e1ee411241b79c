"""What Consul says is odd, or it says nothing: the daemon keeps what it knew and does nothing.

Against the twin, because a real server cannot be made to answer so; a proxy in between bends the answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from consulguard.testing import ConsulTwin

from tests.e2e.support.proxy import RecordingProxy, as_it_is
from tests.e2e.support.scene import Scene
from tests.support import chaos
from tests.support.chaos import Chaos

pytestmark = pytest.mark.slow
SERVICES = [f"s{n}" for n in range(10)]
LOOK_S = 4.0  # how long the rate of requests is watched
A_SECOND = 25.0  # requests: a loop without a brake makes hundreds


class Stage:
    """Ten services, one failing without a cure, and a bot that would act on whatever else fails or vanishes."""

    def __init__(self, twin: ConsulTwin, proxy: RecordingProxy, way: Chaos, scene: Scene) -> None:
        self.twin, self.proxy, self.way, self.scene = twin, proxy, way, scene

    async def only(self, failing: str) -> None:
        """People are told that it fails, and nothing else."""
        told = {self.scene.named(failing): "critical"}
        await self.scene.until(f"only {failing} fails", lambda: self.scene.incidents() == told)

    async def doubted(self, words: str = "") -> None:
        def doubt() -> bool:
            view = self.scene.view()
            return not view["trusted"] and words in " ".join(view["reasons"])

        await self.scene.until(f"a doubt about {words!r}", doubt)

    async def no_busy_loop(self) -> None:
        before = self.proxy.reads
        await asyncio.sleep(LOOK_S)
        assert (self.proxy.reads - before) / LOOK_S <= A_SECOND

    async def stirred(self) -> None:
        """Something small changes, so that queries which block come back."""
        await self.scene.call("PUT", "/v1/agent/service/register", {"Name": "stirred", "Port": 1})
        await self.scene.call("PUT", "/v1/agent/service/deregister/stirred")

    async def all_well_but(self, failing: str) -> None:
        """Nothing was done so far, what failed before still does, and a real failure is still cured."""
        scene = self.scene
        assert scene.record().intents == []
        await self.only(failing)
        await scene.fail("s1")
        await scene.until_run("s1", "verifying")
        await scene.heal("s1")
        await scene.until_run("s1", "done")
        assert (len(scene.record().intents), scene.effects("s1")) == (1, 1)


@contextlib.asynccontextmanager
async def staged(folder: Path, unique: str) -> AsyncIterator[Stage]:
    async with ConsulTwin() as twin, RecordingProxy(twin.address) as proxy, Chaos(proxy.address) as way:
        async with Scene(twin, folder, unique, seen=way.address) as scene:
            for name in SERVICES:
                await scene.service(name)
                if name != "s0":
                    scene.book(name, states=("critical", "vanished"))
            scene.make_bot(guards={"storm_min": 5, "storm_cooldown": "1s"}).start()
            await scene.settled()
            await scene.fail("s0")
            stage = Stage(twin, proxy, way, scene)
            await stage.only("s0")
            yield stage


async def test_the_index_goes_back_or_is_nothing(tmp_path: Path, unique: str) -> None:
    """Everything is read anew, and that is no reason to do anything; without a usable index it is read slowly."""
    async with staged(tmp_path, unique) as stage:
        stage.twin.drop_index(to=3)
        await stage.doubted()
        await stage.scene.settled()
        for index in ("0", "-7", "1_0", str(2**70)):
            stage.proxy.change = with_index(index)
            await stage.stirred()
        await stage.no_busy_loop()
        stage.proxy.change = as_it_is
        await stage.stirred()
        await stage.scene.settled()
        await stage.all_well_but("s0")


async def test_a_list_is_empty_or_half(tmp_path: Path, unique: str) -> None:
    """200 and nothing in it, or half of it: neither all is well nor all is gone."""
    async with staged(tmp_path, unique) as stage:
        scene = stage.scene
        for change in (emptied, halved):
            stage.proxy.change = change
            await stage.stirred()
            await scene.until("the brake, or a doubt", lambda: scene.told("storm") or scene.told("view"))
            assert scene.incidents().get(scene.named("s0")) == "critical", "it was read as healthy"
            stage.proxy.change = as_it_is
            await stage.stirred()
            await scene.until("the brake off", lambda: not scene.told("storm"))
            await scene.settled()
        await stage.all_well_but("s0")


async def test_no_way_to_consul(tmp_path: Path, unique: str) -> None:
    """Packets vanish without an RST: what was known stays known, nothing is done on it, and then all goes on."""
    async with staged(tmp_path, unique) as stage:
        for fault in (chaos.RESET, chaos.BLACKHOLE):
            stage.way.set(fault)
            await stage.scene.fail("s2")
            await stage.doubted()
            await stage.scene.heal("s2")
            stage.way.set(chaos.NONE)
            await stage.scene.settled()
        await stage.all_well_but("s0")


def with_index(index: str) -> Callable[[web.Request, bytes, dict[str, str]], bytes]:
    def change(request: web.Request, body: bytes, headers: dict[str, str]) -> bytes:
        for name in headers:
            if name.lower() == "x-consul-index":
                headers[name] = index
        return body

    return change


def emptied(request: web.Request, body: bytes, headers: dict[str, str]) -> bytes:
    if not request.path.startswith(("/v1/health/", "/v1/catalog/")):
        return body
    return b"{}" if body.startswith(b"{") else b"[]"


def halved(request: web.Request, body: bytes, headers: dict[str, str]) -> bytes:
    """The first half of every list, and of the map of services."""
    if not request.path.startswith(("/v1/health/", "/v1/catalog/")):
        return body
    whole = json.loads(body)
    if isinstance(whole, dict):
        return json.dumps(dict(list(whole.items())[: len(whole) // 2])).encode()
    return json.dumps(whole[: len(whole) // 2]).encode()
