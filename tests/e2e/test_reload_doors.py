"""Changed files by each of the three doors: SIGHUP, ``POST /-/reload``, and being noticed. On one real Consul."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from consulguard.testing import RealConsul
from consulguard.testing.ports import free_ports

from tests.e2e.support.scene import Scene
from tests.e2e.test_faults_life import Shelf, metric

pytestmark = [pytest.mark.real, pytest.mark.slow]


class Door:
    """One bot, its files, and one way to make it read them."""

    def __init__(self, scene: Scene, kind: str) -> None:
        self.scene, self.kind = scene, kind
        self.port = free_ports(1)[0]
        self.book = scene.book("repair")
        playbooks = {"dir": "playbooks", "reload": "1s" if kind == "noticed" else "1h"}
        server = {"listen": f"127.0.0.1:{self.port}", "reload": kind == "http"}
        self.bot = scene.make_bot(playbooks=playbooks, server=server)
        self.shelf = Shelf(scene)

    async def knock(self) -> tuple[int, str]:
        """What the door answers; (0, "") from one that answers nothing."""
        if self.kind == "sighup":
            self.bot.signal(signal.SIGHUP)
        if self.kind != "http":
            return 0, ""
        async with aiohttp.ClientSession() as session:
            async with session.post(f"http://127.0.0.1:{self.port}/-/reload") as answer:
                return answer.status, await answer.text()

    async def bad(self, said: str) -> None:
        """What cannot be used: the last good stays in force, the metric says so, and people are told the place."""
        before = self.in_force()
        answer = await self.knock()
        told = await self.scene.until("people are told", lambda: self.shelf.told("warning"))
        assert said in told
        assert await metric(self.port, "consulguard_config_last_reload_successful") == 0
        assert (self.in_force(), answer[0]) == (before, 500 if answer[0] else 0)
        assert said in answer[1] or not answer[0]

    async def good(self, holds: Any, lives: int) -> None:
        """What can be used is in force, in this or the next life, and the metric says so."""
        status, _ = await self.knock()
        assert status in (0, 200)
        await self.scene.until("it is in force", lambda: holds(self.in_force()))
        await self.scene.until("the lives", lambda: len(self.scene.record().lives) == lives)
        await self.scene.settled()
        assert await metric(self.port, "consulguard_config_last_reload_successful") == 1

    def in_force(self) -> tuple[str, float]:
        """The playbook's description, and one setting."""
        given = self.scene.record().events("Configured")[-1].body
        return given["playbooks"][0].get("description", ""), given["policy"]["health"].get("recovery_s", 30.0)

    def settings(self, **sections: Any) -> None:
        given = json.loads(self.bot.config.read_text())
        aside = self.bot.config.with_suffix(".new")
        aside.write_text(json.dumps(given | sections))
        aside.rename(self.bot.config)


async def go(door: Door) -> None:
    door.bot.start()
    await door.scene.settled(within_s=120.0)
    assert door.in_force() == ("", 1.0)

    door.shelf.put("repair", json.dumps(door.book | {"stepz": []}))
    await door.bad("repair.yaml:1: stepz")
    door.shelf.put("repair", json.dumps(door.book | {"description": "second"}))
    await door.good(lambda now: now == ("second", 1.0), lives=1)

    door.settings(health={"recovery": "soon"})
    await door.bad("health.recovery")
    door.settings(health={"recovery": "2s"})
    await door.good(lambda now: now == ("second", 2.0), lives=2)


async def test_each_door_for_playbooks_and_settings(
    real_consul_module: RealConsul, tmp_path: Path, unique: str
) -> None:
    """Bad and good of both: prepared whole, swapped once."""

    async def one(kind: str) -> None:
        (tmp_path / kind).mkdir()
        async with Scene(real_consul_module, tmp_path / kind, f"{unique}-{kind}") as scene:
            await go(Door(scene, kind))

    async with asyncio.TaskGroup() as group:
        for kind in ("sighup", "http", "noticed"):
            group.create_task(one(kind), name=kind)
