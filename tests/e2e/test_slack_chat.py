"""From a fault to a click to a repair: the bot as a process, a real Consul, and people in a Slack twin.

Killed between a post and its record, and between a click and what it sets going; Slack refusing in between: always
one decision, one effect, nothing lost, and at most one message too many.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from consulguard.notify.slack.render import COLORS
from consulguard.testing import RealConsul, SlackPeople, SlackTwin
from consulguard.testing.ports import free_ports
from consulguard.testing.slack_payloads import actions
from consulguard.testing.slack_state import SlackMessage

from tests.e2e.support.case import Case
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]
WITHIN_S = 90.0
GREEN = COLORS["resolved"]
ACTION = "consul.kv_put"


class ChatCase(Case):
    """A repair that ann, who is in the group oncall, has to approve."""

    def _playbook(self) -> dict[str, Any]:
        approval = {"approvers": {"slack_usergroups": ["oncall"]}, "count": 1}
        return super()._playbook() | {"mode": "approve", "approval": approval}


class Scene:
    """``http``: people reach the bot by its HTTP door instead of Socket Mode."""

    def __init__(self, consul: RealConsul, folder: Path, name: str, *, http: bool = False) -> None:
        self.slack = SlackTwin()
        self.people = SlackPeople(self.slack)
        self.ann = self.slack.add_user("ann")
        self.bob = self.slack.add_user("bob")
        group = self.slack.add_usergroup("oncall", self.ann.id)
        self.roles = {
            "slack_teams": ["T0TWIN"],
            "viewer": {"slack_users": [self.bob.id]},
            "approver": {"slack_usergroups": [group.id]},
        }
        self._http = http
        self._folder = folder
        self._consul = consul
        self._name = name
        self.case: ChatCase

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Scene]:
        self._folder.mkdir()
        async with self.slack:
            slack = {"enabled": True, "channel": "#incidents", "api_url": self.slack.api, "app_id": "A0TWIN"}
            slack["bot_token_file"] = self._secret("bot-token", self.slack.token)
            if self._http:
                (port,) = free_ports(1)
                slack["listen"] = f"127.0.0.1:{port}"
                slack["signing_secret_file"] = self._secret("secret", self.people.secret)
                self.people.door = f"http://127.0.0.1:{port}"
            else:
                slack["app_token_file"] = self._secret("app-token", self.people.app_token)
            case = ChatCase(
                ACTION, self._consul, self._folder / "case", self._name, slack=slack, access=self.roles
            )
            async with case:
                self.case = case
                yield self

    def _secret(self, name: str, value: str) -> str:
        path = self._folder / name
        path.write_text(value)
        path.chmod(0o600)
        return str(path)

    # ---- what happens

    async def asked(self) -> SlackMessage:
        """The incident's message, from when it offers to approve."""

        async def look() -> list[SlackMessage]:
            assert self.case.bot.runs, self.case.bot.output()
            return [m for m in self.incident() if "Approve" in dict(actions(m))]

        return (await eventually(look, bool, within_s=WITHIN_S))[-1]

    async def agrees(self, message: SlackMessage) -> None:
        """Press until something comes of it: who is told "not now", or that nobody is there, presses again.

        In a later life the button may be gone: what was agreed to before is being done.
        """

        async def pressed() -> bool:
            with contextlib.suppress(ConnectionError, LookupError, TimeoutError):
                await self.people.click(self.ann, message, "Approve")
            with contextlib.suppress(AssertionError):
                await eventually(self._came_of_it, bool, within_s=2.0)
            return await self._came_of_it()

        await eventually(pressed, bool, within_s=WITHIN_S)

    async def _came_of_it(self) -> bool:
        return not self.case.bot.runs or bool(self.case.rest())

    async def repaired(self) -> None:
        """The run is over and the message green."""
        await self.case.comes_to_rest()

        async def colors() -> list[str]:
            return [str(m.attachments[0]["color"]) for m in self.incident() if m.attachments]

        await eventually(colors, lambda seen: GREEN in seen, within_s=WITHIN_S)

    # ---- what was seen

    def incident(self) -> list[SlackMessage]:
        return [m for m in self.slack.parents() if self.case.name in m.text]

    def one_effect(self) -> None:
        """One decision, one intent, one write at the real Consul."""
        record = self.case.record()
        clicks = [e.body for e in record.events("Commanded") if e.body["command"] == "click"]
        assert {c["args"]["caller"]["user"] for c in clicks} <= {self.ann.id}
        assert len(record.attempts) == 1, record.attempts
        assert self.case.rest().startswith("done"), self.case.rest()
        assert len(self.case.proxy.writes) == 1, self.case.proxy.writes
        assert len(self.incident()) <= 2
        told = [m["incident"] for m in record.messages.values() if m.get("incident")]
        assert len({i["id"] for i in told if i["root"]["name"] == self.case.name}) == 1


Play = Callable[[Scene], Awaitable[None]]


async def plain(scene: Scene) -> None:
    """Nothing goes wrong."""
    scene.case.bot.start()
    await scene.case.fail()
    message = await scene.asked()
    await scene.people.click(scene.bob, message, "Approve")
    await eventually(
        _whispers(scene), lambda told: any("needs the role approver" in t for t in told), within_s=WITHIN_S
    )
    await scene.agrees(message)
    await scene.repaired()
    assert len(scene.incident()) == 1
    assert all(d.latency_s is not None for d in scene.people.deliveries)


async def killed_after_the_post(scene: Scene) -> None:
    """Slack has the message, and the bot dies before it knows."""
    scene.slack.hold_answer(5.0)
    scene.case.bot.start()
    await scene.case.fail()

    async def posted() -> list[SlackMessage]:
        return scene.slack.parents()

    await eventually(posted, bool, within_s=WITHIN_S)
    await scene.case.bot.kill()
    scene.slack.heal()
    scene.case.bot.start()
    await scene.agrees(await scene.asked())
    await scene.repaired()


def killed_at(point: str) -> Play:
    """The click is acknowledged; the bot dies at the point. In its next life somebody presses once more."""

    async def play(scene: Scene) -> None:
        scene.case.bot.start(f"{point}:kill")
        await scene.case.fail()
        message = await scene.asked()
        await scene.agrees(message)
        await scene.case.bot.died()
        scene.case.bot.start()
        if point == "chat.acknowledged":
            await scene.agrees(await scene.asked())
        else:
            await scene.agrees(message)
        await scene.repaired()

    return play


async def slack_has_a_bad_day(scene: Scene) -> None:
    """429, 500, lost answers, a refused response URL and lost connections all along the way."""
    scene.slack.http_error(500)
    scene.slack.rate_limit(1)
    scene.case.bot.start()
    await scene.case.fail()
    message = await scene.asked()
    await scene.people.connected(within_s=WITHIN_S)
    scene.slack.http_error(500)
    scene.slack.lose_answer()
    scene.people.hook_error(500)
    scene.people.hook_error(429)
    await scene.agrees(message)
    scene.people.drop()
    scene.slack.http_error(503)
    scene.slack.rate_limit(1)
    await scene.repaired()


async def test_a_fault_a_click_a_repair(real_consul_module: RealConsul, tmp_path: Path, unique: str) -> None:
    """Side by side on one Consul, each with a service, a bot and a Slack of its own."""
    plays: dict[str, tuple[Play, bool]] = {
        "socket": (plain, False),
        "http": (plain, True),
        "post": (killed_after_the_post, False),
        "ack": (killed_at("chat.acknowledged"), False),
        "decided": (killed_at("chat.decided"), False),
        "intent": (killed_at("app.after_intent"), False),
        "bad": (slack_has_a_bad_day, False),
    }

    async def one(name: str, play: Play, http: bool) -> None:
        async with Scene(real_consul_module, tmp_path / name, f"{unique}-{name}", http=http).open() as scene:
            await play(scene)
            scene.one_effect()

    async with asyncio.TaskGroup() as group:
        for name, (play, http) in plays.items():
            group.create_task(one(name, play, http), name=name)


def _whispers(scene: Scene) -> Callable[[], Awaitable[list[str]]]:
    async def look() -> list[str]:
        return scene.people.whispers(scene.bob)

    return look
