"""The chat room between a real door, the Slack twin with people in it, and an engine driven by hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from consulguard.access import AccessPolicy, Role
from consulguard.app import wiring
from consulguard.app.chat import People, Room
from consulguard.app.desk import Desk
from consulguard.app.lanes import Lanes
from consulguard.clock import FakeClock
from consulguard.events import Commanded, Reply
from consulguard.model import Message
from consulguard.notify.slack import render
from consulguard.serve.slack import Inbox, SlackSocket, SlackWeb
from consulguard.testing import SlackPeople, SlackTwin
from consulguard.testing.slack_people import shown
from consulguard.testing.slack_state import SlackMessage, SlackUser

from tests.core.engine.world import World, moment
from tests.support.waiting import eventually


class Hand:
    """The daemon's part, played with a ``World``: one command after the other, each answered at once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.second = 70.0
        self.said: list[tuple[str, dict[str, Any], str]] = []

    async def ask(self, question: Callable[[Any], Any]) -> Any:
        return question(self.world.state)

    async def command(self, name: str, args: dict[str, Any], who: str) -> Reply | None:
        self.second += 0.001
        self.said.append((name, args, who))
        key = f"k{len(self.said)}"
        effects = self.world.feed(Commanded(at=moment(self.second), command=name, who=who, args=args, key=key))
        return next((e for e in effects if isinstance(e, Reply) and e.key == key), None)

    def names(self) -> list[str]:
        return [name for name, _, _ in self.said]


class ChatScene:
    """ann approves, olga operates, bob looks, eve may do everything; nobody else is anybody."""

    def __init__(self, world: World) -> None:
        self.slack = SlackTwin()
        self.people = SlackPeople(self.slack)
        self.hand = Hand(world)
        self.ann, self.olga, self.bob, self.eve, self.mallory = (
            self.slack.add_user(name) for name in ("ann", "olga", "bob", "eve", "mallory")
        )
        self.group = self.slack.add_usergroup("oncall", self.ann.id)
        self.clock = FakeClock()
        self.policy = AccessPolicy(
            slack_teams=("T0TWIN",),
            viewer=Role(slack_users=(self.bob.id,)),
            operator=Role(slack_users=(self.olga.id,)),
            approver=Role(slack_usergroups=(self.group.id,)),
            admin=Role(slack_users=(self.eve.id,)),
        )
        self.inbox: Inbox

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[ChatScene]:
        async with self.slack, asyncio.TaskGroup() as group:
            web = SlackWeb(lambda: self.slack.token, self.slack.api)
            named = frozenset((self.group.id, "oncall"))
            self.crowd = People(web, self.clock, "A0TWIN", lambda: named)
            room = Room(self.hand, Desk(self.hand.command, self.policy), web, self.crowd, wiring.actions())
            lanes = Lanes(group)

            async def work(envelope: Any) -> None:
                await room.handle(envelope)
                self.inbox.done()

            self.inbox = Inbox(lambda e: lanes.put(e.user, partial(work, e)))
            door = SlackSocket(self.inbox, lambda: self.people.app_token, self.slack.api, connections=2)
            task = group.create_task(door.run())
            await self.people.connected(2)
            try:
                yield self
            finally:
                await self.idle()
                task.cancel()
                await web.close()

    async def idle(self) -> None:
        """Until everything that came in has been worked on."""

        async def waiting() -> int:
            return self.inbox.waiting

        await eventually(waiting, lambda n: n == 0, within_s=60.0)

    # ---- what people do, and what is said to them

    async def says(self, user: SlackUser, text: str) -> str:
        """Type a command; what this person alone is told, empty when that is nothing."""
        before = len(self.people.whispers(user))
        await self.people.command(user, text)
        await self.idle()
        return "\n".join(self.people.whispers(user)[before:])

    async def presses(self, user: SlackUser, label: str, **changed: Any) -> str:
        before = len(self.people.whispers(user))
        payload = self.people.pressed(user, self.message(), label, **changed)
        await self.people.send("interactive", payload)
        await self.idle()
        return "\n".join(self.people.whispers(user)[before:])

    def message(self) -> SlackMessage:
        """The incident's message, as Slack shows it."""
        body = render.parent(self.told())
        channel = self.slack.channel("incidents").id
        return SlackMessage(channel, "1700000000.1", body["text"], body["blocks"], body["attachments"])

    def told(self) -> Message:
        """The newest message of the first incident."""
        key = next(iter(self.hand.world.state.book.incidents))
        found: Message = self.hand.world.told(key)[-1]
        return found

    def channel(self) -> list[str]:
        """What everybody in the channel was told by us."""
        return [shown(m.blocks) or m.text for m in self.slack.messages]

    def refusals(self) -> list[dict[str, Any]]:
        return [args for name, args, _ in self.hand.said if name == "refused"]
