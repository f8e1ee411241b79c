"""Chat beside the daemon: doors, lanes and the room, from start to a clean end. Nothing else needs it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial

import structlog
from aiohttp import web

from consulguard.app import wiring
from consulguard.app.chat.people import People
from consulguard.app.chat.room import Room
from consulguard.app.daemon import Daemon
from consulguard.app.desk import Desk
from consulguard.app.lanes import Lanes
from consulguard.clock import Clock
from consulguard.config import Loaded, settings
from consulguard.config.chat import ChatSettings
from consulguard.engine import EngineState
from consulguard.errors import ConfigError
from consulguard.serve.slack import Envelope, Inbox, SlackHttpDoor, SlackSocket, SlackWeb

OVERLAP_S = 600.0  # the secret before the present one is good this long after the change
SHUTDOWN_S = 1.0
log = structlog.get_logger("consulguard.slack")


class Rotating:
    """The signing secrets in force: the present one, and for a while the one before it."""

    def __init__(self, source: Callable[[], str], clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._now, self._before, self._since = source(), "", 0.0

    def __call__(self) -> tuple[str, ...]:
        now, found = self._clock.monotonic(), self._source()
        if found != self._now:
            self._now, self._before, self._since = found, self._now, now
        if self._before and now - self._since >= OVERLAP_S:
            self._before = ""
        return (self._now, self._before) if self._before else (self._now,)


class Hall:
    """From the inbox to the room: what one person does is worked on in order, what several do side by side."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._lanes: Lanes | None = None
        self.inbox = Inbox(self._start)

    async def run(self, doors: Callable[[asyncio.TaskGroup], None]) -> None:
        """Until cancelled. ``doors`` opens them, as tasks of the group."""
        async with asyncio.TaskGroup() as group:
            self._lanes = Lanes(group)
            doors(group)
            await asyncio.Event().wait()

    def _start(self, envelope: Envelope) -> None:
        if self._lanes is not None:  # a request of the very first moment has nobody to go to yet
            self._lanes.put(f"slack {envelope.team} {envelope.user}", partial(self._work, envelope))

    async def _work(self, envelope: Envelope) -> None:
        try:
            await self._room.handle(envelope)
        finally:
            self.inbox.done()


@contextlib.asynccontextmanager
async def chatting(chosen: ChatSettings, loaded: Loaded, daemon: Daemon) -> AsyncIterator[Inbox]:
    """People may speak while the block runs. Raises ConfigError."""
    clock, slack = daemon.rooms.clock, SlackWeb(chosen.bot_token, chosen.api_url)
    desk = Desk(daemon.command, settings.access(loaded))
    people = People(slack, clock, chosen.app, partial(_groups_named, daemon, desk))
    hall = Hall(Room(daemon, desk, slack, people, wiring.actions(), daemon.rooms.failpoint))

    def doors(group: asyncio.TaskGroup) -> None:
        if chosen.app_token is not None:
            socket = SlackSocket(hall.inbox, chosen.app_token, chosen.api_url)
            group.create_task(socket.run(), name="slack socket")

    task = asyncio.create_task(hall.run(doors), name="chat")
    task.add_done_callback(_ended)
    await asyncio.sleep(0)  # its lanes are there before anybody can come in
    try:
        async with _listening(chosen, hall.inbox, clock):
            yield hall.inbox
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await slack.close()


def _ended(task: asyncio.Task[None]) -> None:
    """A bug of ours. Chat is over, and what repairs goes on."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("chat_ended", error=type(error).__name__, exc_info=error)


@contextlib.asynccontextmanager
async def _listening(chosen: ChatSettings, inbox: Inbox, clock: Clock) -> AsyncIterator[None]:
    """The HTTP door, where it has an address."""
    if chosen.signing_secret is None:
        yield
        return

    def wall() -> float:
        """Slack's clock is the wall's, and ours may be ahead of it."""
        return clock.now().timestamp() - clock.ahead_s()

    door = SlackHttpDoor(inbox, Rotating(chosen.signing_secret, clock), wall, since=wall())
    app = web.Application()
    app.router.add_routes(door.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    host, _, port = chosen.listen.rpartition(":")
    try:
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(
            f"cannot listen on {chosen.listen}: {error.strerror or error}", where="slack.listen"
        ) from None
    try:
        yield
    finally:
        await runner.cleanup()


def _groups_named(daemon: Daemon, desk: Desk) -> frozenset[str]:
    """User groups that decide something: by id in ``access``, by id or handle among a playbook's approvers."""
    policy, state = desk.policy, daemon.state
    roles = (policy.viewer, policy.operator, policy.approver, policy.admin)
    return frozenset(name for role in roles for name in role.slack_usergroups) | _approvers(state)


def _approvers(state: EngineState) -> frozenset[str]:
    rules = [playbook.approval for playbook in state.playbooks]
    rules += [question.rule for question in list(state.questions.values())]
    return frozenset(name for rule in rules for name in rule.approvers.get("slack_usergroups", ()))
