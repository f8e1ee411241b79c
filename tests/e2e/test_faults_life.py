"""The daemon is asked to end, or its playbooks change under it, while it works. On one real Consul."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from consulguard.testing import RealConsul
from consulguard.testing.ports import free_ports

from tests.e2e.support.bot import Bot
from tests.e2e.support.hanging import Hanging, alive
from tests.e2e.support.scene import Scene

pytestmark = [pytest.mark.real, pytest.mark.slow]


async def test_sigterm_with_running_steps(real_consul_module: RealConsul, tmp_path: Path, unique: str) -> None:
    """A step that ends in time is journaled as done, another is parked; nothing new begins; exit code 0."""
    async with Scene(real_consul_module, tmp_path, unique) as scene:
        command = Hanging(tmp_path)
        scene.book("slow")
        scene.book("hangs", command.step(timeout="10m"))
        scene.book("fresh")
        for name in ("slow", "hangs", "fresh"):
            await scene.service(name)
        actions = {**scene.hosts(), "exec": {"allowed_commands": [command.path]}}
        bot = scene.make_bot(actions=actions)
        bot.start()
        await scene.settled()
        scene.target.answers.clear()
        await scene.fail("slow", "hangs")
        await scene.until("the request", lambda: scene.effects("slow"))
        family = await scene.until("the command", command.family)
        bot.signal(signal.SIGTERM)
        await scene.until("the lease given back", lambda: _gave_back(scene))
        await scene.fail("fresh")
        scene.target.answers.set()
        assert await bot.ended() == 0
        assert not any(map(alive, family))
        assert (scene.outcomes("slow"), scene.outcomes("hangs"), scene.intents("fresh")) == (["DONE"], [], [])

        bot.start()
        assert "nobody knows" in await scene.until_run("hangs", "held")
        await scene.until_run("slow", "verifying")
        await scene.heal("slow")
        await scene.until_run("slow", "done")
        await scene.until_run("fresh", "verifying")
        assert [len(scene.intents(name)) for name in ("slow", "hangs", "fresh")] == [1, 1, 1]
        assert (scene.effects("slow"), scene.effects("fresh")) == (1, 1)


def _gave_back(scene: Scene) -> bool:
    changes = scene.record().events("LeaseChanged")
    return bool(changes) and not changes[-1].body["held"]


async def test_playbooks_change_under_a_run(real_consul_module: RealConsul, tmp_path: Path, unique: str) -> None:
    """A run keeps its copy whatever happens to the file; new versions are for new runs, bad ones for none."""
    port = free_ports(1)[0]
    async with Scene(real_consul_module, tmp_path, unique) as scene:
        steps = [scene.post(), {"name": "second", "uses": "wait", "with": {"seconds": 1}}]
        book = scene.book("repair", *steps)
        scene.book("other")
        for name in ("repair", "other"):
            await scene.service(name)
        fast = {"dir": "playbooks", "reload": "1s"}
        again = {"cooldown": "0s", "service_cooldown": "0s"}
        bot = scene.make_bot(playbooks=fast, server={"listen": f"127.0.0.1:{port}"}, guards=again)
        bot.start()
        await scene.settled()
        shelf = Shelf(scene)
        scene.target.answers.clear()
        await scene.fail("repair")
        await scene.until("the first step", lambda: scene.effects("repair"))

        # Renamed over again and again while the step runs: sound, broken, gone, and back as another one.
        for _ in range(20):
            shelf.put("repair", "name: repair\nsteps: [\n")
            shelf.put("repair", json.dumps(book))
            shelf.remove("repair")
            shelf.put("repair", json.dumps({**book, "stepz": []}))
        bot.signal(signal.SIGHUP)
        stale = await scene.until("people are told", lambda: shelf.told("warning"))
        assert "repair.yaml:1: stepz" in stale
        assert await metric(port, "consulguard_config_stale") == 1
        shelf.remove("other")
        shelf.put("repair", json.dumps({**book, "steps": [_wait("new"), scene.post()]}))
        await scene.until("the new version", lambda: shelf.told("resolved"))
        assert await metric(port, "consulguard_config_stale") == 0
        scene.target.answers.set()
        await scene.until_run("repair", "verifying")
        assert [i["action"] for i in scene.intents("repair")] == ["http.request", "wait"]
        await scene.heal("repair")
        await scene.until_run("repair", "done")

        await scene.fail("repair", "other")
        await scene.until("a second run", lambda: len(scene.intents("repair")) == 4)
        assert [i["action"] for i in scene.intents("repair")[2:]] == ["wait", "http.request"]
        assert scene.intents("other") == [], "its playbook is gone"


async def test_settings_change_under_a_run(real_consul_module: RealConsul, tmp_path: Path, unique: str) -> None:
    """A sound change is lived by when what is under way has ended; a bad one changes nothing."""
    async with Scene(real_consul_module, tmp_path, unique) as scene:
        for name in ("first", "second"):
            scene.book(name)
            await scene.service(name)
        bot = scene.make_bot(playbooks={"dir": "playbooks", "reload": "1s"})
        bot.start()
        await scene.settled()
        shelf = Shelf(scene)
        given = json.loads(bot.config.read_text())
        scene.target.answers.clear()
        await scene.fail("first")
        await scene.until("the request", lambda: scene.effects("first"))

        bot.config.write_text(json.dumps({**given, "guards": {**given["guards"], "max_share": "a lot"}}))
        stale = await scene.until("people are told", lambda: shelf.told("warning"))
        assert "guards.max_share" in stale
        assert len(scene.record().lives) == 1

        bot.config.write_text(json.dumps({**given, "mode": "observe"}))
        await scene.until("the lease given back", lambda: _gave_back(scene))
        scene.target.answers.set()
        await scene.until("a second life", lambda: len(scene.record().lives) == 2)
        await scene.settled()
        assert scene.outcomes("first") == ["DONE"]
        await scene.heal("first")
        await scene.fail("second")
        await scene.until("the second is told", lambda: scene.named("second") in scene.incidents())
        await scene.until("it would act", lambda: "would act" in json.dumps(scene.record().messages))
        assert scene.intents("second") == []
        await scene.until("the files are as meant", lambda: shelf.told("resolved"))

        bot.signal(signal.SIGTERM)
        assert await bot.ended() == 0


def _wait(name: str) -> dict[str, Any]:
    return {"name": name, "uses": "wait", "with": {"seconds": 1}}


class Shelf:
    """The bot's playbook folder, changed as a careful tool does it: written aside, then renamed."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._folder = scene.bot.folder / "playbooks"

    def put(self, name: str, text: str) -> None:
        aside = self._folder / f".{name}.new"
        aside.write_text(text)
        aside.rename(self._folder / f"{name}.yaml")

    def remove(self, name: str) -> None:
        os.unlink(self._folder / f"{name}.yaml")

    def told(self, severity: str) -> str:
        """The message about the files, when it is of this severity."""
        message = self._scene.record().messages.get("config", {})
        return f"{message['title']}\n{message.get('text', '')}" if message.get("severity") == severity else ""


async def metric(port: int, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


WRONG = {
    "unknown key": ("name: a\nmode: auto\nstepz: []\n", "bad.yaml:3: stepz: unknown key 'stepz'"),
    "not YAML": ("name: a\nsteps: [\n", "bad.yaml:"),
    "unknown action": (
        "name: a\nmatch: {scope: instance, matchers: ['service=\"a\"']}\nsteps: [{name: x, uses: consul.nuke}]\n"
        "verify: {within: 10s, target: {passing_for: 1}}\n",
        "bad.yaml:1: step x uses consul.nuke",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_malformed_playbook_at_the_start(wrong: str, tmp_path: Path) -> None:
    text, said = WRONG[wrong]
    bot = Bot(tmp_path / "bot", "http://127.0.0.1:1")
    (bot.folder / "playbooks/bad.yaml").write_text(text)
    bot.start()
    assert await bot.ended() == 78
    assert bot.output().count("\n") == 1, bot.output()
    assert said in bot.output()
    assert not bot.journal.exists()
