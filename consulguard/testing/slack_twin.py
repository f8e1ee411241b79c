"""``SlackTwin``: the few Slack Web API methods a one-way notifier needs, with Slack's limits and ways to fail."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from consulguard.testing import slack_blocks

TOKEN = "xoxb-twin"
_USER, _BOT, _TEAM = "U0GUARD", "B0GUARD", "T0TWIN"


class SlackRefusal(Exception):
    """Answered as ``{"ok": false, "error": ...}``."""

    def __init__(self, error: str, messages: list[str] | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.messages = messages or []


@dataclass
class SlackMessage:
    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    attachments: list[dict[str, Any]] = field(default_factory=list)
    thread_ts: str = ""
    edits: int = 0


@dataclass
class SlackChannel:
    id: str
    name: str
    is_member: bool = True
    is_archived: bool = False


class SlackTwin:
    """An in-process Slack. Use ``.api`` as ``base_url`` and ``.token`` as token.

    ``messages`` holds what people would see, in order; ``calls`` every call with its arguments.
    """

    def __init__(self, *, token: str = TOKEN, channels: tuple[str, ...] = ("incidents",)) -> None:
        self.token = token
        self.messages: list[SlackMessage] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.channels = {f"C{number:05}": SlackChannel(f"C{number:05}", n) for number, n in enumerate(channels, 1)}
        self.scopes = "chat:write,channels:read"
        self._stamps = itertools.count(1)
        self._limited: list[int] = []  # Retry-After of the next 429s
        self._statuses: list[int] = []
        self._errors: list[str] = []
        self._lost = 0
        self._slow_s = 0.0
        self._runner: web.AppRunner | None = None
        self._port = 0

    # ---- life

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self._port}/api/"

    async def start(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/api/{method}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ---- faults: each holds for the next ``count`` calls

    def rate_limit(self, retry_after_s: int = 1, count: int = 1) -> None:
        self._limited += [retry_after_s] * count

    def fail(self, error: str = "internal_error", count: int = 1) -> None:
        """200 with ``{"ok": false, "error": error}``."""
        self._errors += [error] * count

    def http_error(self, status: int = 503, count: int = 1) -> None:
        self._statuses += [status] * count

    def lose_answer(self, count: int = 1) -> None:
        """The call is done, and the connection ends before the answer."""
        self._lost += count

    def slow(self, seconds: float) -> None:
        """Every answer comes that much later, until it is set back to 0."""
        self._slow_s = seconds

    def heal(self) -> None:
        """End every fault."""
        for queue in (self._limited, self._statuses, self._errors):
            queue.clear()
        self._lost, self._slow_s = 0, 0.0

    # ---- what a test asks

    def channel(self, name: str) -> SlackChannel:
        return next(c for c in self.channels.values() if name in (c.id, c.name, f"#{c.name}"))

    def thread(self, ts: str) -> list[SlackMessage]:
        return [m for m in self.messages if m.thread_ts == ts]

    def parents(self) -> list[SlackMessage]:
        """Messages of the channel itself."""
        return [m for m in self.messages if not m.thread_ts]

    # ---- the methods

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self._slow_s:
            await asyncio.sleep(self._slow_s)
        if self._statuses:
            return web.Response(status=self._statuses.pop(0), text="upstream error")
        if self._limited:
            headers = {"Retry-After": str(self._limited.pop(0))}
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
        method, arguments = request.match_info["method"], await _arguments(request)
        self.calls.append((method, arguments))
        try:
            answer = self._call(request, method, arguments)
        except SlackRefusal as refusal:
            meta = {"response_metadata": {"messages": refusal.messages}} if refusal.messages else {}
            return web.json_response({"ok": False, "error": refusal.error, **meta})
        if self._lost and request.transport is not None:
            self._lost -= 1
            request.transport.close()
        return web.json_response({"ok": True, **answer}, headers={"X-OAuth-Scopes": self.scopes})

    def _call(self, request: web.Request, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        methods = {
            "auth.test": self._auth_test,
            "conversations.info": self._conversation,
            "chat.postMessage": self._post,
            "chat.update": self._update,
        }
        if method not in methods:
            raise SlackRefusal("unknown_method")
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or arguments.get("token", "")
        if given != self.token:
            raise SlackRefusal("invalid_auth" if given else "not_authed")
        if self._errors:
            raise SlackRefusal(self._errors.pop(0))
        return methods[method](arguments)

    def _auth_test(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"url": "https://twin.example/", "team": "Twin", "team_id": _TEAM, "user_id": _USER, "bot_id": _BOT}

    def _conversation(self, arguments: dict[str, Any]) -> dict[str, Any]:
        found = self._find(arguments, by_name=False)
        fields = {"name": found.name, "is_member": found.is_member, "is_archived": found.is_archived}
        return {"channel": {"id": found.id, **fields}}

    def _post(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._find(arguments)
        if channel.is_archived:
            raise SlackRefusal("is_archived")
        if not channel.is_member:
            raise SlackRefusal("not_in_channel")
        _check(arguments)
        thread = str(arguments.get("thread_ts") or "")
        if thread and not any(m.ts == thread for m in self.messages):
            raise SlackRefusal("thread_not_found")
        message = SlackMessage(channel=channel.id, ts=f"1700000000.{next(self._stamps):06}", text="")
        message.thread_ts = thread
        _write(message, arguments)
        self.messages.append(message)
        return {"channel": channel.id, "ts": message.ts, "message": {"text": message.text, "ts": message.ts}}

    def _update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._find(arguments, by_name=False)
        _check(arguments)
        for message in self.messages:
            if (message.channel, message.ts) == (channel.id, arguments.get("ts")):
                _write(message, arguments)
                message.edits += 1
                return {"channel": channel.id, "ts": message.ts, "text": message.text}
        raise SlackRefusal("message_not_found")

    def _find(self, arguments: dict[str, Any], *, by_name: bool = True) -> SlackChannel:
        wanted = str(arguments.get("channel") or "")
        for channel in self.channels.values():
            if wanted == channel.id or (by_name and wanted.lstrip("#") == channel.name):
                return channel
        raise SlackRefusal("channel_not_found")


async def _arguments(request: web.Request) -> dict[str, Any]:
    """Slack takes arguments from the query, as a form or as JSON; lists in a form are JSON texts."""
    found: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        found |= await request.json()
    elif request.method == "POST":
        found |= dict(await request.post())
    for name in ("blocks", "attachments"):
        if isinstance(found.get(name), str):
            try:
                found[name] = json.loads(found[name])
            except ValueError:
                found[name] = None
    return found


def _check(arguments: dict[str, Any]) -> None:
    text, blocks = arguments.get("text") or "", arguments.get("blocks") or []
    attachments = arguments.get("attachments") or []
    if not (text or blocks or attachments):
        raise SlackRefusal("no_text")
    if len(text) > slack_blocks.TEXT_MAX:
        raise SlackRefusal("msg_too_long")
    found = slack_blocks.problems(blocks)
    for number, attachment in enumerate(attachments):
        found += slack_blocks.problems(attachment.get("blocks") or [], f"/attachments/{number}/blocks")
    if found:
        raise SlackRefusal("invalid_blocks", [f"[ERROR] {problem}" for problem in found])
    if slack_blocks.length([blocks, [a.get("blocks") or [] for a in attachments]]) > slack_blocks.TOTAL_MAX:
        raise SlackRefusal("msg_blocks_too_long")


def _write(message: SlackMessage, arguments: dict[str, Any]) -> None:
    message.text = arguments.get("text") or ""
    message.blocks = arguments.get("blocks") or []
    message.attachments = arguments.get("attachments") or []
