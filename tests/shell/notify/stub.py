"""A Slack that remembers what it was told, refuses what the real one refuses, and fails on request."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Call = dict[str, Any]


class SlackStub:
    """``script`` holds what happens next: an error's name, an HTTP status, ``cut`` (done, but the answer is lost),
    ``garbage`` or ``hang``. When it is empty, calls succeed.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Call]] = []
        self.messages: dict[str, Call] = {}  # ts -> what is seen; replies have thread_ts
        self.tokens: list[str] = []
        self.times: list[float] = []
        self.script: deque[str | int] = deque()
        self.refuse_blocks = False
        app = web.Application()
        app.router.add_post("/api/{method}", self._answer)
        self._server = TestServer(app)

    async def __aenter__(self) -> SlackStub:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("/api/"))

    @property
    def posts(self) -> list[Call]:
        """Messages of the channel itself, oldest first."""
        return [message for message in self.messages.values() if "thread_ts" not in message]

    @property
    def replies(self) -> list[Call]:
        return [message for message in self.messages.values() if "thread_ts" in message]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        args = await request.json()
        self.calls.append((method, args))
        self.times.append(asyncio.get_running_loop().time())
        self.tokens.append(request.headers.get("Authorization", ""))
        what = self.script.popleft() if self.script else ""
        if isinstance(what, int):
            headers = {"Retry-After": "2"} if what == 429 else {}
            error = "ratelimited" if what == 429 else "internal_error"
            return web.json_response({"ok": False, "error": error}, status=what, headers=headers)
        if what and what not in ("cut", "garbage", "hang"):
            return web.json_response({"ok": False, "error": what})
        error = self._do(method, args)
        if error:
            return web.json_response({"ok": False, "error": error})
        if what == "cut":
            assert request.transport is not None
            request.transport.close()
        if what == "hang":
            await asyncio.sleep(5)
        if what == "garbage":
            return web.Response(text="<html>proxy</html>", content_type="text/html")
        return web.json_response({"ok": True, "channel": "C1", "ts": args.get("ts") or list(self.messages)[-1]})

    def _do(self, method: str, args: Call) -> str:
        wrong = problem(args)
        if wrong or (self.refuse_blocks and (args.get("attachments") or args.get("blocks"))):
            return wrong or "invalid_blocks"
        if method == "chat.postMessage":
            self.messages[f"1700000000.{len(self.messages):06}"] = args
            return ""
        if args["ts"] not in self.messages:
            return "message_not_found"
        self.messages[args["ts"]] = args
        return ""


def texts(args: Call) -> list[str]:
    """Every string people may see."""
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk({name: args.get(name) for name in ("text", "blocks", "attachments")})
    return found


def length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def problem(args: Call) -> str:
    """What Slack would say to these arguments: its documented limits, and the total it does not document."""
    if not args.get("text", "").strip():
        return "no_text"
    lists = [args.get("blocks", []), *(each.get("blocks", []) for each in args.get("attachments", []))]
    for blocks in lists:
        if len(blocks) > 50 or not all(_fits(block) for block in blocks):
            return "invalid_blocks"
        shown = sum(length(text) for block in blocks for text in texts({"blocks": block}))
        if shown > 13_000:
            return "msg_blocks_too_long"
    return ""


def _fits(block: Call) -> bool:
    match block["type"]:
        case "header":
            return _text(block["text"], 150)
        case "section":
            fields = block.get("fields", [])
            some = "text" in block or 0 < len(fields) <= 10
            return (
                some
                and all(_text(f, 2000) for f in fields)
                and ("text" not in block or _text(block["text"], 3000))
            )
        case "context":
            return 0 < len(block["elements"]) <= 10 and all(_text(each, 2000) for each in block["elements"])
        case _:
            return False


def _text(value: Call, limit: int) -> bool:
    return (
        value["type"] in ("plain_text", "mrkdwn")
        and bool(value["text"].strip())
        and length(value["text"]) <= limit
    )
