"""``SlackPeople``: who types, presses and submits in a ``SlackTwin``, and how that reaches the bot."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import WSMsgType, web

from consulguard.clock import SystemClock
from consulguard.serve.slack.signature import sign
from consulguard.testing import slack_blocks, slack_payloads
from consulguard.testing.slack_state import Ephemeral, JsonDict, SlackMessage, SlackRefusal, SlackUser, SlackView
from consulguard.testing.slack_twin import SlackTwin

APP_TOKEN = "xapp-twin"
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
ACK_S = 3.0  # what Slack waits for an acknowledgement
CLOSE_S = 0.2  # from the announced end of a connection to its end
USES = 5  # of a response URL


@dataclass
class Delivery:
    """One thing sent to the bot, and its acknowledgement."""

    kind: str  # slash_commands, interactive
    payload: JsonDict
    latency_s: float | None = None  # None: never acknowledged
    status: int = 0  # of an HTTP delivery
    answer: Any = None  # what came with the acknowledgement
    tries: int = 0


@dataclass
class Hook:
    """A response URL: for five answers."""

    user: str
    channel: str
    bodies: list[JsonDict] = field(default_factory=list)


class SlackPeople:
    """People in ``twin``, made before the twin starts. Without ``door`` they reach the bot by Socket Mode.

    ``door``: the address of the bot's HTTP door (``http://127.0.0.1:3000``); requests are signed with ``secret``.
    """

    def __init__(
        self, twin: SlackTwin, *, app_token: str = APP_TOKEN, secret: str = SECRET, door: str = ""
    ) -> None:
        self.twin = twin
        self.secret = secret
        self.door = door
        self.deliveries: list[Delivery] = []
        self.hooks: dict[str, Hook] = {}
        self.opened = 0  # connections ever
        self._sockets: list[web.WebSocketResponse] = []
        self._transports: dict[int, asyncio.Transport] = {}
        self._acks: dict[str, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._hook_faults: list[int] = []
        self._clock = SystemClock()
        self._turn = 0
        self.set_app_token(app_token)
        twin.add_route(web.get("/link/", self._link))
        twin.add_route(web.post("/hooks/{number}", self._hook))

    def set_app_token(self, token: str) -> None:
        """Connections are opened with this one only, from now on."""
        self.app_token = token
        self.twin.add_method("apps.connections.open", self._open, token=token)

    # ---- what people do

    async def command(self, user: SlackUser, text: str, channel: str = "incidents") -> Delivery:
        """Type ``/consulguard text``."""
        where = self.twin.channel(channel).id
        payload = slack_payloads.command(self.twin.space, user, where, text, self._new_hook(user, where))
        return await self.send("slash_commands", payload)

    async def click(self, user: SlackUser, message: SlackMessage, label: str) -> Delivery:
        """Press what is labelled so, button or entry of the menu. Raises LookupError when there is none."""
        return await self.send("interactive", self.pressed(user, message, label))

    def pressed(self, user: SlackUser, message: SlackMessage, label: str, **changed: Any) -> JsonDict:
        """The payload of a click; ``changed`` goes over the action, for forgeries."""
        offered = dict(slack_payloads.actions(message))
        if label not in offered:
            raise LookupError(f"{label!r} is not among {sorted(offered)}")
        url = self._new_hook(user, message.channel)
        return slack_payloads.click(self.twin.space, user, message, offered[label] | changed, url)

    async def submit(self, user: SlackUser, form: SlackView, **entered: str) -> Delivery:
        """Fill in and send a form that is open."""
        return await self.send("interactive", slack_payloads.submission(self.twin.space, user, form, entered))

    async def send(self, kind: str, payload: JsonDict) -> Delivery:
        """Deliver it by the door in use."""
        delivery = Delivery(kind, payload)
        self.deliveries.append(delivery)
        await self.again(delivery)
        return delivery

    async def again(self, delivery: Delivery) -> None:
        """Deliver the same once more, as Slack does with what it holds for lost."""
        delivery.tries += 1
        began = self._clock.monotonic()
        if self.door:
            await self._by_http(delivery)
        else:
            delivery.answer = await self._by_socket(delivery)
        delivery.latency_s = self._clock.monotonic() - began

    # ---- the socket

    @property
    def connections(self) -> int:
        return len(self._sockets)

    async def connected(self, number: int = 1, within_s: float = 30.0) -> None:
        """Wait for that many connections."""
        async with asyncio.timeout(within_s):
            while len(self._sockets) < number:
                await asyncio.sleep(0.02)

    async def disconnect(self, reason: str = "refresh_requested", number: int = 100) -> None:
        """Tell some connections that they end now; they are closed a little later, as Slack does."""
        ending = self._sockets[:number]
        for socket in ending:
            self._sockets.remove(socket)
            await socket.send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "twin"}})
        await asyncio.sleep(CLOSE_S)
        for socket in ending:
            await socket.close()

    def drop(self) -> None:
        """End every connection without a word."""
        for transport in self._transports.values():
            transport.abort()

    def _open(self, args: JsonDict) -> JsonDict:
        return {"url": f"{self.twin.url.replace('http', 'ws', 1)}/link/?ticket={next(self._numbers)}"}

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.opened += 1
        self._sockets.append(socket)
        if isinstance(request.transport, asyncio.Transport):
            self._transports[id(socket)] = request.transport
        info = {"app_id": self.twin.space.app}
        await socket.send_json({"type": "hello", "num_connections": len(self._sockets), "connection_info": info})
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self._acknowledged(message.data)
        finally:
            self._transports.pop(id(socket), None)
            if socket in self._sockets:
                self._sockets.remove(socket)
        return socket

    def _acknowledged(self, data: str) -> None:
        said = json.loads(data)
        waiting = self._acks.pop(str(said.get("envelope_id")), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(said.get("payload"))

    async def _by_socket(self, delivery: Delivery) -> Any:
        """Through one of the connections, each in its turn. Raises TimeoutError when nobody acknowledges."""
        envelope: JsonDict = {
            "envelope_id": f"e{next(self._numbers)}",
            "type": delivery.kind,
            "accepts_response_payload": True,
            "payload": delivery.payload,
        }
        if delivery.tries > 1:
            envelope |= {"retry_attempt": delivery.tries - 1, "retry_reason": "timeout"}
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._acks[envelope["envelope_id"]] = waiting
        await self._to_one(envelope)
        async with asyncio.timeout(ACK_S * 10):  # a slow machine is no fault; latency_s has what it took
            return await waiting

    async def _to_one(self, envelope: JsonDict) -> None:
        """To the next connection that takes it. Raises ConnectionError when there is none."""
        while self._sockets:
            self._turn += 1
            socket = self._sockets[self._turn % len(self._sockets)]
            try:
                await socket.send_json(envelope)
            except ConnectionError:
                if socket in self._sockets:
                    self._sockets.remove(socket)
            else:
                return
        raise ConnectionError("nobody is connected")

    # ---- HTTP

    def body(self, delivery: Delivery) -> bytes:
        """As Slack would send it by HTTP."""
        if delivery.kind == "slash_commands":
            return urlencode(delivery.payload).encode()
        return urlencode({"payload": json.dumps(delivery.payload)}).encode()

    async def post(self, path: str, body: bytes, headers: list[tuple[str, str]]) -> tuple[int, str]:
        """Any request at all to the door: status and text."""
        kind = ("Content-Type", "application/x-www-form-urlencoded")
        given = headers if any(name == "Content-Type" for name, _ in headers) else [kind, *headers]
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ACK_S * 10)) as session,
            session.post(self.door + path, data=body, headers=given) as answer,
        ):
            return answer.status, await answer.text()

    def signed(self, body: bytes, *, ago_s: int = 0, secret: str = "") -> list[tuple[str, str]]:
        """The headers Slack would send with it."""
        wall = self._clock.now().timestamp() - self._clock.ahead_s()
        stamp = str(int(wall) - ago_s)
        signature = sign(secret or self.secret, stamp, body)
        return [("X-Slack-Request-Timestamp", stamp), ("X-Slack-Signature", signature)]

    async def _by_http(self, delivery: Delivery) -> None:
        path = "/slack/commands" if delivery.kind == "slash_commands" else "/slack/interactions"
        body = self.body(delivery)
        headers = self.signed(body)
        if delivery.tries > 1:
            headers += [("X-Slack-Retry-Num", str(delivery.tries - 1)), ("X-Slack-Retry-Reason", "http_timeout")]
        delivery.status, text = await self.post(path, body, headers)
        delivery.answer = json.loads(text) if text.startswith("{") else text

    # ---- response URLs

    def hook_error(self, status: int, count: int = 1) -> None:
        """The next answers by response URL get this status; 0: done, and the connection ends before the answer."""
        self._hook_faults += [status] * count

    def whispers(self, user: SlackUser) -> list[str]:
        """What this person alone was told, all its blocks as one text each."""
        return [shown(e.blocks) or e.text for e in self.twin.space.ephemerals if e.user == user.id]

    def _new_hook(self, user: SlackUser, channel: str) -> str:
        number = str(next(self._numbers))
        self.hooks[number] = Hook(user.id, channel)
        return f"{self.twin.url}/hooks/{number}"

    async def _hook(self, request: web.Request) -> web.Response:
        hook = self.hooks.get(request.match_info["number"])
        fault = self._hook_faults.pop(0) if self._hook_faults else None
        if fault:
            return web.Response(status=fault, headers={"Retry-After": "1"} if fault == 429 else {})
        if hook is None or len(hook.bodies) >= USES:
            return web.json_response({"ok": False, "error": "used_url"}, status=404)
        body = await request.json()
        try:
            slack_blocks.refuse(body)
        except SlackRefusal as refusal:
            return web.json_response({"ok": False, "error": refusal.error}, status=400)
        self._show(hook, body)
        if fault == 0 and request.transport is not None:
            request.transport.close()
        return web.Response(text="ok")

    def _show(self, hook: Hook, body: JsonDict) -> None:
        hook.bodies.append(body)
        space, text, blocks = self.twin.space, str(body.get("text") or ""), body.get("blocks") or []
        if body.get("response_type") == "in_channel":
            thread = str(body.get("thread_ts") or "")
            space.messages.append(SlackMessage(hook.channel, space.stamp(), text, blocks, thread_ts=thread))
        else:
            space.ephemerals.append(Ephemeral(hook.channel, hook.user, text, blocks))


def shown(blocks: list[JsonDict]) -> str:
    """What people read in blocks of sections."""
    return "\n".join(str(block["text"]["text"]) for block in blocks if isinstance(block.get("text"), dict))
