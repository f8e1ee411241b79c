"""Both doors against the twin: acknowledged before any work, each act once, nothing but Slack's believed."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from consulguard.clock import SystemClock
from consulguard.serve.slack import Envelope, Inbox, Kind, SlackHttpDoor, SlackSocket
from consulguard.testing import SlackPeople, SlackTwin
from consulguard.testing.slack_people import Delivery
from consulguard.testing.slack_state import SlackMessage
from slack_sdk.socket_mode.request import SocketModeRequest

from tests.support.waiting import eventually

BUTTON = {
    "type": "button",
    "action_id": "approve",
    "value": "0123456789abcdef",
    "text": {"type": "plain_text", "text": "Approve"},
}


class Scene:
    """A door into an inbox; ``got`` is what the handler was given."""

    def __init__(self, slack: SlackTwin, people: SlackPeople, waiting: int = 500) -> None:
        self.slack = slack
        self.people = people
        self.ann = slack.add_user("ann")
        self.got: list[Envelope] = []
        self.work: Callable[[Envelope], None] = self.got.append
        self.inbox = Inbox(self._start, waiting=waiting)
        self.door: SlackHttpDoor

    def _start(self, envelope: Envelope) -> None:
        self.work(envelope)

    def message(self) -> SlackMessage:
        channel = self.slack.channel("incidents")
        return SlackMessage(channel.id, "1.1", "down", [{"type": "actions", "elements": [BUTTON]}])

    async def until(self, number: int) -> None:
        async def look() -> int:
            return len(self.got)

        await eventually(look, lambda n: n >= number, within_s=30.0)


@contextlib.asynccontextmanager
async def by_socket(*, connections: int = 1, waiting: int = 500) -> AsyncIterator[Scene]:
    twin = SlackTwin()
    people = SlackPeople(twin)
    async with twin:
        scene = Scene(twin, people, waiting)
        door = SlackSocket(scene.inbox, lambda: people.app_token, twin.api, connections=connections)
        task = asyncio.create_task(door.run())
        try:
            await people.connected(connections)
            yield scene
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def by_http(*, waiting: int = 500, since: float = 0.0) -> AsyncIterator[Scene]:
    twin = SlackTwin()
    people = SlackPeople(twin)
    clock = SystemClock()
    async with twin:
        scene = Scene(twin, people, waiting)
        scene.door = SlackHttpDoor(
            scene.inbox, lambda: (people.secret,), lambda: clock.now().timestamp(), since=since
        )
        app = web.Application()
        app.router.add_routes(scene.door.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        people.door = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield scene
        finally:
            await runner.cleanup()


DOORS = pytest.mark.parametrize("door", [by_socket, by_http], ids=["socket", "http"])
Door = Callable[..., Any]


@DOORS
async def test_commands_clicks_and_forms_look_the_same_behind_either_door(door: Door) -> None:
    async with door() as scene:
        await scene.people.command(scene.ann, "status pay & <!channel>")
        await scene.people.click(scene.ann, scene.message(), "Approve")
        await scene.until(2)
    command, click = scene.got
    assert (command.kind, command.text, command.user) == (Kind.COMMAND, "status pay & <!channel>", scene.ann.id)
    assert (command.app, command.team, command.channel) == ("A0TWIN", "T0TWIN", "C00001")
    assert (click.kind, click.action, click.value) == (Kind.CLICK, "approve", BUTTON["value"])
    assert (click.channel, click.thread, click.user_team) == ("C00001", "1.1", "T0TWIN")
    assert click.response_url.startswith(scene.slack.url)
    assert all(d.latency_s is not None for d in scene.people.deliveries)


async def test_the_socket_acknowledges_before_any_work() -> None:
    order: list[str] = []

    class Client:
        async def send_socket_mode_response(self, answer: dict[str, Any]) -> None:
            await asyncio.sleep(0)
            order.append(f"acknowledged {answer['envelope_id']}")

    inbox = Inbox(lambda envelope: order.append(f"work {envelope.text}"))
    payload = {"command": "/consulguard", "user_id": "U1", "text": "status", "trigger_id": "1"}
    door = SlackSocket(inbox, lambda: "", "http://127.0.0.1:9/api/")
    await door.heard(Client(), SocketModeRequest("slash_commands", "e1", payload))
    assert order == ["acknowledged e1", "work status"]


async def test_a_lost_acknowledgement_loses_no_click() -> None:
    class Client:
        async def send_socket_mode_response(self, answer: dict[str, Any]) -> None:
            raise ConnectionResetError("gone")

    got: list[Envelope] = []
    inbox = Inbox(got.append)
    door = SlackSocket(inbox, lambda: "", "http://127.0.0.1:9/api/")
    payload = {"command": "/consulguard", "user_id": "U1", "text": "status", "trigger_id": "1"}
    for envelope_id in ("e1", "e2"):  # Slack sends again what it holds for lost
        await door.heard(Client(), SocketModeRequest("slash_commands", envelope_id, payload))
    assert len(got) == 1


async def test_http_acknowledges_before_any_work(scene: Scene) -> None:
    """The work holds the loop until the answer has arrived: it is out before, or never."""
    arrived = threading.Event()
    waited: list[bool] = []
    scene.work = lambda envelope: waited.append(arrived.wait(30.0))
    body = press(scene)
    headers = dict(scene.people.signed(body)) | {"Content-Type": "application/x-www-form-urlencoded"}

    def ask() -> int:
        connection = http.client.HTTPConnection(scene.people.door.removeprefix("http://"), timeout=30)
        connection.request("POST", "/slack/interactions", body, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        arrived.set()
        return answer.status

    assert await asyncio.to_thread(ask) == 200
    assert waited == [True]


@DOORS
async def test_what_is_delivered_again_is_not_done_again(door: Door) -> None:
    async with door() as scene:
        delivery = await scene.people.click(scene.ann, scene.message(), "Approve")
        for _ in range(3):
            await scene.people.again(delivery)
        await scene.people.command(scene.ann, "status")
        await scene.until(2)
        assert [e.kind for e in scene.got] == [Kind.CLICK, Kind.COMMAND]
        assert scene.inbox.counts.repeated == 3


@DOORS
async def test_too_much_at_once_is_turned_away_with_a_word(door: Door) -> None:
    async with door(waiting=2) as scene:
        for number in range(2):
            await scene.people.command(scene.ann, f"status {number}")
        turned = await scene.people.command(scene.ann, "status 3")
        assert "try again" in turned.answer["text"]
        assert len(scene.got) == 2
        scene.inbox.done()
        await scene.people.command(scene.ann, "status 4")
        await scene.until(3)


async def test_slack_asks_to_come_anew_and_nothing_is_missed() -> None:
    async with by_socket(connections=2) as scene:
        before = scene.people.opened
        await scene.people.disconnect(number=1)
        await scene.people.command(scene.ann, "status 1")  # the other one listens
        await scene.people.connected(2)
        await scene.people.disconnect()
        await scene.people.connected(2)
        await scene.people.command(scene.ann, "status 2")
        await scene.until(2)
        assert scene.people.opened == before + 3


async def test_a_connection_that_is_lost_comes_back() -> None:
    async with by_socket() as scene:
        scene.people.drop()

        async def opened() -> int:
            return scene.people.opened

        await eventually(opened, lambda n: n >= 2, within_s=60.0)
        await scene.people.connected()
        await scene.people.command(scene.ann, "status")
        await scene.until(1)


async def test_a_refused_token_ends_nothing_and_a_new_one_is_taken() -> None:
    twin = SlackTwin()
    people = SlackPeople(twin)
    async with twin:
        scene = Scene(twin, people)
        tokens = ["xapp-old"]
        task = asyncio.create_task(SlackSocket(scene.inbox, lambda: tokens[-1], twin.api, connections=1).run())

        async def asked() -> int:
            return len([1 for method, _ in twin.calls if method == "apps.connections.open"])

        try:
            await eventually(asked, lambda n: n >= 1, within_s=30.0)
            assert people.opened == 0
            tokens.append(people.app_token)
            await people.connected(within_s=60.0)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_what_nobody_asked_for_is_acknowledged_and_dropped() -> None:
    async with by_socket() as scene:
        for kind, payload in (
            ("events_api", {"event": {"type": "message"}}),
            ("interactive", {"type": "shortcut", "user": {"id": "U1"}}),
            ("interactive", {"type": "block_actions", "user": {"id": "U1"}, "actions": [1, 2]}),
            ("interactive", {"type": "block_actions", "user": "U1", "actions": []}),
            ("slash_commands", {"command": ["/x"], "user_id": {"a": 1}}),
        ):
            await scene.people.send(kind, payload)
        assert scene.got == []


# ---- what only the HTTP door must withstand


async def refused(scene: Scene, body: bytes, headers: list[tuple[str, str]], status: int = 401) -> None:
    got, text = await scene.people.post("/slack/interactions", body, headers)
    assert (got, "Traceback" in text) == (status, False)
    assert scene.got == []


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with by_http() as found:
        yield found


def press(scene: Scene) -> bytes:
    return scene.people.body(Delivery("interactive", scene.people.pressed(scene.ann, scene.message(), "Approve")))


async def test_a_captured_request_is_good_once_and_only_for_five_minutes(scene: Scene) -> None:
    body = press(scene)
    first = scene.people.signed(body)
    assert (await scene.people.post("/slack/interactions", body, first))[0] == 200
    assert (await scene.people.post("/slack/interactions", body, first))[0] == 200
    for ago_s in (1, 290):
        assert (await scene.people.post("/slack/interactions", body, scene.people.signed(body, ago_s=ago_s)))[
            0
        ] == 200
    assert len(scene.got) == 1
    old = scene.people.signed(body, ago_s=305)
    assert (await scene.people.post("/slack/interactions", body, old))[0] == 401


async def test_what_was_signed_before_this_life_is_refused() -> None:
    async with by_http(since=SystemClock().now().timestamp() - 60) as scene:
        body = press(scene)
        await refused(scene, body, scene.people.signed(body, ago_s=90))
        assert (await scene.people.post("/slack/interactions", body, scene.people.signed(body)))[0] == 200


async def test_forged_and_altered_requests(scene: Scene) -> None:
    body = press(scene)
    good = scene.people.signed(body)
    stamp, signature = good
    await refused(scene, body + b"&x=1", good)
    await refused(scene, body, scene.people.signed(body, secret="another"))
    await refused(scene, body, [stamp])
    await refused(scene, body, [signature])
    await refused(scene, body, [stamp, ("X-Slack-Signature", "v0=" + "é" * 64)])
    await refused(scene, body, [*good, ("X-Slack-Signature", "v1=" + "0" * 64)])
    await refused(scene, body, [("X-Slack-Request-Timestamp", "abc"), signature])
    await refused(scene, body, [("X-Slack-Request-Timestamp", "1e9"), signature])
    assert scene.door.refused == 8


async def test_what_is_signed_and_still_not_slacks(scene: Scene) -> None:
    twice = b"payload=%7B%7D&payload=%7B%7D"
    await refused(scene, twice, scene.people.signed(twice), 400)
    for body in (b"payload=%FF", b"\xff\xfe", b"payload=[]", b"payload={", b"", b"payload=" + b"[" * 5000):
        await refused(scene, body, scene.people.signed(body), 400)
    body = press(scene)
    await refused(scene, body, [*scene.people.signed(body), ("Content-Type", "application/json")], 400)
    big = b"payload=" + b"x" * (64 * 1024)
    await refused(scene, big, scene.people.signed(big), 413)


async def test_a_body_of_unknown_length_is_counted(scene: Scene) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield b"x" * 8192

    status, _ = await scene.people.post("/slack/commands", parts(), [("X-Slack-Signature", "v0=0")])  # type: ignore[arg-type]
    assert status == 413


async def test_slack_confirms_the_address(scene: Scene) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "abc"}).encode()
    status, text = await scene.people.post("/slack/events", body, scene.people.signed(body))
    assert (status, json.loads(text)) == (200, {"challenge": "abc"})
    assert (await scene.people.post("/slack/events", body, []))[0] == 401
