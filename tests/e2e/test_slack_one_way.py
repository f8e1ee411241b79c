"""From a failing check to what people read in Slack: the whole daemon, on a Consul twin and a Slack twin."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from consulguard.app import service
from consulguard.app.service import Service
from consulguard.config import load
from consulguard.model import RunState
from consulguard.notify.slack.render import COLORS
from consulguard.testing import ConsulTwin, SlackTwin
from consulguard.testing.slack_twin import SlackMessage

from tests.support.waiting import eventually

pytestmark = pytest.mark.slow
RED, AMBER, GREEN = COLORS["critical"], COLORS["warning"], COLORS["resolved"]
NAMES = ("pay", "cart", "stock", "mail")  # three instances each; cart uses pay
NOTE = """
name: note
mode: auto
match: {role: root_cause, scope: instance, states: [critical], for: 1s, matchers: ['service="pay"']}
steps:
  - {name: note, uses: consul.kv_put, with: {key: "repair/${target.instance}", value: "${incident.id}"}}
verify: {within: 60s, target: {passing_for: 2}}
"""
FAST: dict[str, Any] = {
    "mode": "auto",
    "watch": {"settle": "1s"},
    "health": {"recovery": "1s"},
    "correlate": {"resolve": "1s"},
    "guards": {"hold_down": "1s", "root_settle": "1s", "min_start_interval": "1s", "storm_cooldown": "6s"},
    "journal": {"path": "journal.sqlite"},
}


class Scene:
    """The mesh that fails, the Slack that is told, and a configuration that names both."""

    def __init__(self, consul: ConsulTwin, slack: SlackTwin, folder: Path) -> None:
        self.consul = consul
        self.slack = slack
        self.folder = folder
        for name in NAMES:
            for number in (1, 2, 3):
                self._register(name, number)
        self.configure(console=False)

    def configure(self, *, console: bool, board: str = "0s") -> None:
        (self.folder / "playbooks").mkdir(exist_ok=True)
        (self.folder / "playbooks" / "note.yaml").write_text(NOTE)
        token = self.folder / "token"
        token.write_text(self.slack.token)
        token.chmod(0o600)
        config = FAST | {
            "consul": {"http_addr": self.consul.address},
            "notify": {"group_wait": "1s", "console": console, "board_interval": board},
            "slack": {
                "enabled": True,
                "channel": "#incidents",
                "bot_token_file": str(token),
                "api_url": self.slack.api,
            },
        }
        self._config = self.folder / "consulguard.yaml"
        self._config.write_text(json.dumps(config))

    def _register(self, name: str, number: int) -> None:
        upstreams = [{"DestinationName": "pay", "LocalBindPort": 9000 + number}] if name == "cart" else []
        alias = {"Name": "alias", "AliasService": f"{name}-{number}"}
        self.consul.agent.register(
            {
                "ID": f"{name}-{number}",
                "Name": name,
                "Address": "127.0.0.1",
                "Port": 8000 + number,
                "Check": {"TTL": "600s", "Status": "passing"},
                "Connect": {"SidecarService": {"Checks": [alias], "Proxy": {"Upstreams": upstreams}}},
            }
        )

    def set(self, status: str, *instances: str) -> None:
        for instance in instances:
            self.consul.agent.update_ttl(f"service:{instance}", status, f"{instance} is {status}")

    @contextlib.asynccontextmanager
    async def daemon(self) -> AsyncIterator[Service]:
        """One life of the daemon, from a view it trusts on."""
        async with service.standing(load(str(self._config), {}, {})) as running:
            await self.until(lambda: running.daemon.state.view.trusted and running.daemon.state.view.settled)
            yield running

    async def until(self, holds: Callable[[], object], within_s: float = 60.0) -> None:
        async def look() -> list[tuple[str, str]]:
            return [(m.text, color(m)) for m in self.slack.messages]

        await eventually(look, lambda _: holds(), within_s=within_s)

    # ---- what people see

    def parent(self) -> SlackMessage:
        (one,) = self.slack.parents()
        return one

    def lines(self) -> list[str]:
        """The lines of the only thread, in order."""
        return [line for m in self.slack.thread(self.parent().ts) for line in _texts(m.blocks)[0].split("\n")]

    def colors(self) -> list[str]:
        """The colours the only message had, one after the other."""
        self.parent()
        told = [
            arguments["attachments"][0]["color"]
            for _, arguments in self.slack.calls
            if arguments.get("attachments")
        ]
        return [color for color, _ in groupby(told)]


def color(message: SlackMessage) -> str:
    return str(message.attachments[0]["color"]) if message.attachments else ""


def _texts(blocks: list[dict[str, Any]]) -> list[str]:
    found = []
    for block in blocks:
        if block["type"] == "actions":  # buttons
            continue
        parts = [block.get("text"), *block.get("fields", ()), *block.get("elements", ())]
        found += [part["text"] for part in parts if part]
    return found


def shown(message: SlackMessage) -> str:
    return "\n".join(_texts(message.attachments[0]["blocks"]))


def finished(running: Service) -> bool:
    return any(run.state is RunState.DONE for run in running.daemon.state.runs.values())


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with ConsulTwin() as consul, SlackTwin() as slack:
        yield Scene(consul, slack, tmp_path)


async def repair(scene: Scene, running: Service) -> None:
    """pay-1 fails, the playbook runs, pay-1 recovers; returns when the run is verified."""
    scene.set("critical", "pay-1")
    await scene.until(lambda: any(run.effects for run in running.daemon.state.runs.values()))
    await eventually(lambda: _sent(running), lambda sent: not sent)
    scene.set("passing", "pay-1")
    await scene.until(lambda: finished(running))


async def _sent(running: Service) -> bool:
    return any(run.sent for run in running.daemon.state.runs.values())


async def all_told(scene: Scene, running: Service) -> None:
    await scene.until(lambda: scene.slack.parents() and color(scene.parent()) == GREEN)
    await service.drained(running)


def story_is_whole(scene: Scene, running: Service) -> None:
    (run,) = running.daemon.state.runs.values()
    assert scene.lines() == list(run.log)
    assert scene.lines()[0] == "note: consul.kv_put on pay-1"
    assert "verified: 2 good looks in a row" in scene.lines()


async def test_one_message_tells_an_incident_from_red_to_green(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.configure(console=True)
    async with scene.daemon() as running:
        await repair(scene, running)
        await all_told(scene, running)
        (incident,) = running.daemon.state.book.incidents.values()
        story_is_whole(scene, running)
    parent = scene.parent()
    assert scene.colors() in ([RED, GREEN], [RED, AMBER, GREEN])
    assert parent.text == "[RESOLVED] pay: root cause"
    for word in ("State: resolved", f"Id: {incident.id}", "instance pay-1 of pay", "Playbook: note", "Run: done"):
        assert word in shown(parent)
    assert "2 of 3 instances of pay stand." in shown(parent)
    posts = [arguments for method, arguments in scene.slack.calls if method == "chat.postMessage"]
    edits = [arguments for method, arguments in scene.slack.calls if method == "chat.update"]
    assert {edit["ts"] for edit in edits} == {parent.ts}
    assert [post.get("thread_ts") for post in posts] == [None] + [parent.ts] * (len(posts) - 1)
    said = capsys.readouterr().out
    for word in ("[CRITICAL] pay: root cause", "- note: consul.kv_put on pay-1", "[RESOLVED] pay: root cause"):
        assert word in said


async def test_a_storm_is_one_message(scene: Scene) -> None:
    crowd = [f"{name}-{number}" for name in NAMES for number in (1, 2, 3)][:9]
    async with scene.daemon() as running:
        scene.set("critical", *crowd)
        await scene.until(lambda: scene.slack.parents() and color(scene.parent()) == RED)
        assert scene.parent().text == "[CRITICAL] Storm brake on: nothing will be remediated"
        scene.set("passing", *crowd)
        await all_told(scene, running)
        assert not running.daemon.state.runs
    assert scene.parent().text.startswith("[RESOLVED] Storm over")
    assert scene.slack.thread(scene.parent().ts) == []


async def test_what_slack_refuses_for_a_while_is_told_later_once_and_in_order(scene: Scene) -> None:
    async with scene.daemon() as running:
        scene.slack.http_error(500, count=1)
        scene.slack.rate_limit(1)
        scene.set("critical", "pay-1")
        await scene.until(lambda: scene.slack.parents())
        scene.slack.http_error(503, count=1)
        scene.slack.fail("internal_error")
        await repair(scene, running)
        await all_told(scene, running)
        story_is_whole(scene, running)


async def test_a_new_life_of_the_daemon_goes_on_with_the_same_message(scene: Scene) -> None:
    async with scene.daemon() as running:
        scene.set("critical", "mail-1")
        await scene.until(lambda: scene.slack.parents() and color(scene.parent()) == RED)
        await service.drained(running)
    first = scene.parent().ts
    async with scene.daemon() as running:
        scene.set("passing", "mail-1")
        await all_told(scene, running)
    assert scene.parent().ts == first
    assert scene.parent().edits
    assert scene.parent().text == "[RESOLVED] mail: root cause"


async def test_a_death_before_the_news_is_out_loses_nothing(scene: Scene) -> None:
    async with scene.daemon() as running:
        scene.slack.http_error(500, count=1_000)
        await repair(scene, running)
        log = next(iter(running.daemon.state.runs.values())).log
    assert scene.slack.messages == []
    scene.slack.heal()
    async with scene.daemon() as running:
        await all_told(scene, running)
    assert scene.parent().text == "[RESOLVED] pay: root cause"
    assert scene.lines() == list(log)


async def test_the_board_is_beside_the_incidents_and_green_in_the_end(scene: Scene) -> None:
    scene.configure(console=False, board="1s")

    def board() -> list[str]:
        return [m.text for m in scene.slack.parents() if "fail" in m.text]

    async with scene.daemon() as running:
        scene.set("critical", "pay-2", "mail-1")
        await scene.until(lambda: board() == ["[CRITICAL] Still failing now: 2"])
        scene.set("passing", "pay-2", "mail-1")
        await scene.until(lambda: board() == ["[RESOLVED] Nothing fails now"])
        await service.drained(running)
    assert sorted(m.text for m in scene.slack.parents()) == [
        "[RESOLVED] Nothing fails now",
        "[RESOLVED] mail: root cause",
        "[RESOLVED] pay: root cause",
    ]
