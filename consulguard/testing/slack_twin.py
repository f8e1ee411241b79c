"""``SlackTwin``: Slack's Web API as far as consulguard uses it, with Slack's limits and ways to fail.

What it does and what was never compared with the real Slack stands in ``docs/slack-messages.md``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
import math
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

from consulguard.clock import Clock, SystemClock
from consulguard.testing import slack_methods
from consulguard.testing.slack_state import (
    JsonDict,
    SlackChannel,
    SlackMessage,
    SlackRefusal,
    SlackUser,
    SlackUsergroup,
    Workspace,
)

__all__ = ["SlackMessage", "SlackRefusal", "SlackTwin"]

TOKEN = "xoxb-twin"
POST_EVERY_S = 1.0  # chat.postMessage in one channel
BURST = 3  # posts a channel takes at once after a rest
A_MINUTE = 50  # calls of any other method: Slack's tier 3
_LISTS = ("blocks", "attachments", "metadata", "files", "view")

Answer = Callable[[JsonDict], JsonDict | Awaitable[JsonDict]]


class SlackTwin:
    """An in-process Slack. Use ``.api`` as ``base_url`` and ``.token`` as token.

    ``messages`` holds what people would see, in order; ``calls`` every call with its arguments; ``space`` the
    whole workspace. ``limits``: refuse with 429 what is faster than Slack allows, by ``clock``.
    """

    def __init__(
        self,
        *,
        token: str = TOKEN,
        channels: tuple[str, ...] = ("incidents",),
        limits: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.token = token
        self.space = Workspace()
        self.calls: list[tuple[str, JsonDict]] = []
        self.scopes = ",".join(sorted({scope for _, scope in slack_methods.METHODS.values() if scope}))
        self.refused_429 = 0
        self._limits = limits
        self._clock = clock or SystemClock()
        self._paces: dict[str, float] = {}  # what is paced -> when its allowance is used up
        self._methods: dict[str, tuple[Answer, str, str]] = {}  # answer, token, scope
        self._routes: list[web.RouteDef] = []
        self._limited: list[int] = []  # Retry-After of the next 429s
        self._statuses: list[int] = []
        self._errors: list[str] = []
        self._lost: list[int] = []  # what is answered to the next calls that are done: a status, 0 for nothing
        self._hold_s = 0.0
        self._slow_s = 0.0
        self._runner: web.AppRunner | None = None
        self._port = 0
        for number, name in enumerate(channels, 1):
            self.space.channels[f"C{number:05}"] = SlackChannel(f"C{number:05}", name)
        for method, (answer, scope) in slack_methods.METHODS.items():
            self.add_method(method, functools.partial(answer, self.space), scope=scope)
        self.add_route(web.post("/api/upload/{file}", self._upload))

    # ---- what others build on it

    def add_method(self, name: str, answer: Answer, *, scope: str = "", token: str = "") -> None:
        """Another method of the Web API. ``token``: the one it wants instead of the bot's; before ``start``."""
        self._methods[name] = (answer, token, scope)

    def add_route(self, route: web.RouteDef) -> None:
        """Another address of the twin's server, before ``start``."""
        self._routes.append(route)

    def add_user(self, name: str, *, channels: bool = True, **fields: Any) -> SlackUser:
        """A person, a member of every channel unless told otherwise."""
        made = SlackUser(id=fields.pop("id", f"U{len(self.space.users) + 1:05}"), name=name, **fields)
        self.space.users[made.id] = made
        for channel in self.space.channels.values() if channels else ():
            channel.members.append(made.id)
        return made

    def add_usergroup(self, handle: str, *users: str) -> SlackUsergroup:
        made = SlackUsergroup(id=f"S{len(self.space.usergroups) + 1:05}", handle=handle, users=list(users))
        self.space.usergroups[made.id] = made
        return made

    # ---- life

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def api(self) -> str:
        return f"{self.url}/api/"

    async def start(self) -> Self:
        app = web.Application()
        app.router.add_routes(self._routes)
        app.router.add_route("*", "/api/{method}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        self.space.url = self.api
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

    def lose_answer(self, count: int = 1, *, status: int = 0) -> None:
        """The call is done, and the connection ends before the answer, or ``status`` is answered all the same."""
        self._lost += [status] * count

    def hold_answer(self, seconds: float) -> None:
        """The next call is done at once and answered that much later: after the caller's patience."""
        self._hold_s = seconds

    def slow(self, seconds: float) -> None:
        """Every call is done and answered that much later, until it is set back to 0."""
        self._slow_s = seconds

    def heal(self) -> None:
        """End every fault."""
        for queue in (self._limited, self._statuses, self._errors, self._lost):
            queue.clear()
        self._slow_s, self._hold_s = 0.0, 0.0

    # ---- what a test asks

    @property
    def messages(self) -> list[SlackMessage]:
        return self.space.messages

    @property
    def channels(self) -> dict[str, SlackChannel]:
        return self.space.channels

    def channel(self, name: str) -> SlackChannel:
        return next(c for c in self.channels.values() if name in (c.id, c.name, f"#{c.name}"))

    def thread(self, ts: str) -> list[SlackMessage]:
        return [m for m in self.messages if m.thread_ts == ts]

    def parents(self) -> list[SlackMessage]:
        """Messages of the channel itself."""
        return [m for m in self.messages if not m.thread_ts]

    # ---- serving

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self._slow_s:
            await asyncio.sleep(self._slow_s)
        if self._statuses:
            return web.Response(status=self._statuses.pop(0), text="upstream error")
        method, arguments = request.match_info["method"], await _arguments(request)
        if self._limited:
            return self._too_fast(self._limited.pop(0))
        if wait := self._too_soon(method, arguments):
            return self._too_fast(wait)
        self.calls.append((method, arguments))
        try:
            answer = await self._call(request, method, arguments)
        except SlackRefusal as refusal:
            meta = {"response_metadata": {"messages": refusal.messages}} if refusal.messages else {}
            return web.json_response({"ok": False, "error": refusal.error, **refusal.more, **meta})
        return await self._answered(request, answer)

    async def _answered(self, request: web.Request, answer: JsonDict) -> web.Response:
        """The call is done: what the caller learns of it."""
        hold, self._hold_s = self._hold_s, 0.0
        if hold:
            await asyncio.sleep(hold)
        if self._lost:
            if status := self._lost.pop(0):
                return web.Response(status=status, text="upstream error")
            if request.transport is not None:
                request.transport.close()
        return web.json_response({"ok": True, **answer}, headers={"X-OAuth-Scopes": self.scopes})

    async def _call(self, request: web.Request, method: str, arguments: JsonDict) -> JsonDict:
        if method not in self._methods:
            raise SlackRefusal("unknown_method")
        answer, token, scope = self._methods[method]
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or arguments.get("token", "")
        if given != (token or self.token):
            raise SlackRefusal("invalid_auth" if given else "not_authed")
        if scope and scope not in self.scopes.split(","):
            raise SlackRefusal("missing_scope", more={"needed": scope, "provided": self.scopes})
        if self._errors:
            raise SlackRefusal(self._errors.pop(0))
        made = answer(arguments)
        return await made if inspect.isawaitable(made) else made

    def _too_fast(self, retry_after_s: int) -> web.Response:
        self.refused_429 += 1
        headers = {"Retry-After": str(retry_after_s)}
        return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)

    def _too_soon(self, method: str, arguments: JsonDict) -> int:
        """Seconds to wait; 0: go on. An allowance that fills up with time, for a channel's posts or a method."""
        if not self._limits:
            return 0
        posted = method in ("chat.postMessage", "chat.postEphemeral")
        key = f"post {arguments.get('channel')}" if posted else method
        each, burst = (POST_EVERY_S, BURST) if posted else (60.0 / A_MINUTE, A_MINUTE / 2)
        now = self._clock.monotonic()
        full = max(self._paces.get(key, now), now) + each
        if full > now + each * burst + 1e-6:
            return max(1, math.ceil(full - now - each * burst))
        self._paces[key] = full
        return 0

    async def _upload(self, request: web.Request) -> web.Response:
        file = self.space.files.get(request.match_info["file"])
        if file is None:
            return web.Response(status=404)
        file.body = await request.read()
        return web.Response(text=f"OK - {len(file.body)}")


async def _arguments(request: web.Request) -> JsonDict:
    """Slack takes arguments from the query, as a form or as JSON; lists in a form are JSON texts."""
    found: JsonDict = dict(request.query)
    if request.content_type == "application/json":
        body = await request.json()
        found |= body if isinstance(body, dict) else {}
    elif request.method == "POST":
        found |= dict(await request.post())
    for name in _LISTS:
        if isinstance(found.get(name), str):
            with contextlib.suppress(ValueError):  # what stays a text is refused by whoever looks
                found[name] = json.loads(found[name])
    return found
