"""What stands between the bot and a target, or the target itself, fails; Consul is well.

Many services with a fault each in one life of the daemon, on one real Consul.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from consulguard.testing import RealConsul
from consulguard.testing.ports import free_ports

from tests.e2e.support.hanging import Hanging, alive
from tests.e2e.support.proxy import RecordingProxy
from tests.e2e.support.scene import Scene
from tests.support import chaos
from tests.support.chaos import Chaos, Fault

pytestmark = [pytest.mark.real, pytest.mark.slow]
STEP = {"timeout": "2s"}

# What is on the way, and how the only try of a request that must not be repeated then ends.
ONCE = {
    "silence": (chaos.BLACKHOLE, 0),
    "lost-answer": (chaos.LOST_ANSWERS, 1),
    "reset": (chaos.RESET, 0),
    "half-close": (chaos.HALF_CLOSE, 1),
    "cut": (Fault(truncate=9), 1),
}


async def test_only_the_target_is_cut_off(real_consul_module: RealConsul, tmp_path: Path, unique: str) -> None:
    """The outcome is unknown and held for a person, or certain and tried again up to its cap; others go on."""
    async with Scene(real_consul_module, tmp_path, unique) as scene:
        doors = {name: await scene.enter(Chaos(scene.target.address, fault)) for name, (fault, _) in ONCE.items()}
        for name, fault in {
            "late": Fault(delay_s=0.3),
            "twice": chaos.TWICE,
            "healing": chaos.LOST_ANSWERS,
        }.items():
            doors[name] = await scene.enter(Chaos(scene.target.address, fault))
        nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
        for name, door in doors.items():
            scene.book(name, scene.post(door.address, idempotent=name not in ONCE, **STEP))
        scene.book("well")
        retry = {"count": 2, "interval": "1s"}
        escalate = [{"after": "5s", "notify": "oncall"}]
        scene.book("refused", scene.post(nobody, idempotent=False, retry=retry, **STEP), escalate=escalate)
        services = [*doors, "well", "refused"]
        for name in services:
            await scene.service(name)
        scene.make_bot(nobody, *(door.address for door in doors.values())).start()
        await scene.settled()
        await scene.fail(*services)

        for name in ("well", "late", "twice"):
            await scene.until_run(name, "verifying")
            await scene.heal(name)
            await scene.until_run(name, "done")
            assert (scene.effects(name), len(scene.intents(name))) == (1, 1)
        await scene.until("a second try", lambda: len(scene.intents("healing")) == 2)
        doors["healing"].set(chaos.NONE)
        await scene.until_run("healing", "verifying", "held")
        assert scene.effects("healing") == 1
        assert len({i["id"] for i in scene.intents("healing")}) == 1
        for name, (_, effects) in ONCE.items():
            assert "nobody knows" in await scene.until_run(name, "held")
            assert (scene.effects(name), len(scene.intents(name))) == (effects, 1)
            assert set(scene.outcomes(name)) == {"UNKNOWN"}

        await scene.until_run("refused", "held", "failed")
        assert (scene.outcomes("refused"), scene.effects("refused")) == (["RETRY"] * 3, 0)
        louder = f"{scene.named('refused')}: still failing, oncall is needed"
        await scene.until(louder, lambda: louder in {m["title"] for m in scene.record().messages.values()})
        assert scene.view()["trusted"]


async def test_a_target_that_lies(real_consul_module: RealConsul, tmp_path: Path, unique: str) -> None:
    """It says 200 and does nothing; answers of Consul from before the effect say all is well. Neither counts."""
    async with RecordingProxy(real_consul_module.address) as proxy:
        async with Scene(real_consul_module, tmp_path, unique, seen=proxy.address) as scene:
            scene.book("dead", verify={"within": "3s", "target": {"passing_for": 1}})
            scene.book("stale", verify={"within": "60s", "target": {"passing_for": 1}})
            for name in ("dead", "stale"):
                await scene.service(name)
            lie = Lie(scene.named("stale"), lambda: scene.effects("stale") > 0)
            proxy.change = lie
            scene.make_bot().start()
            await scene.settled()
            await scene.fail("dead", "stale")
            assert "not healthy after 3 s" in await scene.until_run("dead", "held", "failed")
            await scene.until("some looks at old news", lambda: lie.told >= 3)
            assert scene.rest("stale").startswith("verifying")
            lie.over = True
            await scene.heal("stale")
            await scene.until_run("stale", "done")
            assert (scene.effects("dead"), scene.effects("stale")) == (1, 1)


class Lie:
    """After the effect every confirm-read of the service is answered with its past index, and as passing."""

    def __init__(self, service: str, after: Callable[[], bool]) -> None:
        self._paths = (f"/v1/health/service/{service}", f"/v1/health/connect/{service}")
        self._after = after
        self._indexes: dict[str, str] = {}
        self.told = 0
        self.over = False

    def __call__(self, request: web.Request, body: bytes, headers: dict[str, str]) -> bytes:
        if request.path not in self._paths or "consistent" not in request.query or self.over:
            return body
        index = next(name for name in headers if name.lower() == "x-consul-index")
        if not self._after():
            self._indexes[request.path] = headers[index]
            return body
        headers[index] = self._indexes[request.path]
        self.told += request.path == self._paths[0]
        return body.replace(b'"critical"', b'"passing"')


async def test_an_effect_that_hangs_for_ever(real_consul_module: RealConsul, tmp_path: Path, unique: str) -> None:
    """Its deadline ends the whole process group, and the place it took is free for the next."""
    async with Scene(real_consul_module, tmp_path, unique) as scene:
        command = Hanging(tmp_path)
        shared = {"guards": {"budget": "one"}}
        scene.book("hangs", command.step(timeout="3s"), **shared)
        scene.book("next", **shared)
        for name in ("hangs", "next"):
            await scene.service(name)
        guards = {"budgets": {"one": {"runs": 100, "per": "1h", "max_open": 1}}}
        scene.make_bot(
            actions={**scene.hosts(), "exec": {"allowed_commands": [command.path]}}, guards=guards
        ).start()
        await scene.settled()
        await scene.fail("hangs")
        family = await scene.until("the command and its child", command.family)
        await scene.fail("next")
        assert "nobody knows" in await scene.until_run("hangs", "held")
        assert not any(map(alive, family))
        assert scene.outcomes("hangs")[0] == "UNKNOWN"
        await scene.until_run("next", "verifying")
        ended = next(line.at for line in scene.record().events("Resulted"))
        began = next(
            line.at for line in scene.record().lines if line.kind == "intent" and "next-" in str(line.body)
        )
        assert began >= ended
