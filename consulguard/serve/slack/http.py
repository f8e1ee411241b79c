"""The HTTP door: Slack's requests, believed only when signed. Acknowledged first, worked on afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import structlog
from aiohttp import web

from consulguard.serve.slack.envelope import BadPayload, Envelope, Kind, from_command, from_interaction
from consulguard.serve.slack.inbox import BUSY, Inbox
from consulguard.serve.slack.signature import problem

BODY_CAP = 64 * 1024
FORM = "application/x-www-form-urlencoded"
BODY_S = 5.0
FIELDS_MAX = 50
log = structlog.get_logger("consulguard.slack")


class SlackHttpDoor:
    """``POST /slack/commands``, ``/slack/interactions`` and ``/slack/events`` (only to confirm the address).

    ``secrets`` gives the signing secrets in force, ``now`` seconds since 1970. What was signed before ``since``
    (the beginning of this life) is refused: an earlier life may have worked on it, and we could not know.
    """

    def __init__(
        self, inbox: Inbox, secrets: Callable[[], Sequence[str]], now: Callable[[], float], *, since: float = 0.0
    ) -> None:
        self._inbox = inbox
        self._secrets = secrets
        self._now = now
        self._since = since
        self.refused = 0

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/slack/commands", self._command),
            web.post("/slack/interactions", self._interaction),
            web.post("/slack/events", self._event),
        ]

    async def _command(self, request: web.Request) -> web.StreamResponse:
        form = _form(request, await self._signed(request))
        if form.get("ssl_check") == "1":  # Slack looks whether our certificate is good
            return web.Response()
        return await self._pass_on(request, lambda: from_command(form))

    async def _interaction(self, request: web.Request) -> web.StreamResponse:
        form = _form(request, await self._signed(request))
        return await self._pass_on(request, lambda: from_interaction(_json(form.get("payload", ""))))

    async def _event(self, request: web.Request) -> web.StreamResponse:
        found = _json(await self._signed(request))
        if isinstance(found, dict) and found.get("type") == "url_verification":
            return web.json_response({"challenge": str(found.get("challenge", ""))[:300]})
        return web.Response()

    async def _signed(self, request: web.Request) -> bytes:
        """The raw body, if Slack signed it. Raises the answer: 400, 401 or 413."""
        if request.content_length is not None and request.content_length > BODY_CAP:
            raise web.HTTPRequestEntityTooLarge(max_size=BODY_CAP, actual_size=request.content_length)
        try:
            async with asyncio.timeout(BODY_S):
                body = await _body(request)
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="too slow\n") from None
        now = self._now()
        stamps = request.headers.getall("X-Slack-Request-Timestamp", [])
        why = problem(
            self._secrets(),
            stamps=stamps,
            signatures=request.headers.getall("X-Slack-Signature", []),
            body=body,
            now=now,
        )
        if not why and int(stamps[0]) < int(self._since):
            why = "it was signed before this life began"
        if why:
            self.refused += 1
            log.warning("slack_request_refused", reason=why)
            raise web.HTTPUnauthorized(text="not signed by Slack for us\n")
        return body

    async def _pass_on(self, request: web.Request, read: Callable[[], Envelope]) -> web.StreamResponse:
        try:
            envelope = read()
        except BadPayload as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        taken = self._inbox.take(envelope)
        answer = web.Response() if taken is not None else _busy(envelope)
        try:
            await answer.prepare(request)
            await answer.write_eof()
        finally:
            if taken:
                self._inbox.begin(envelope)
        return answer


def _busy(envelope: Envelope) -> web.Response:
    if envelope.kind is Kind.COMMAND:
        return web.json_response({"response_type": "ephemeral", "text": BUSY})
    return web.Response(status=503, text=f"{BUSY}\n")


async def _body(request: web.Request) -> bytes:
    """All of it, but no more than the cap: a length that was not announced is counted."""
    parts: list[bytes] = []
    size = 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > BODY_CAP:
            raise web.HTTPRequestEntityTooLarge(max_size=BODY_CAP, actual_size=size)
        parts.append(part)
    return b"".join(parts)


def _form(request: web.Request, body: bytes) -> Mapping[str, str]:
    """The form's fields, each given once. Raises HTTPBadRequest."""
    if request.content_type != FORM:
        raise web.HTTPBadRequest(text="Slack sends forms\n")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:
        raise web.HTTPBadRequest(text="not a form\n") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise web.HTTPBadRequest(text="a field is given twice\n")
    return form


def _json(text: str | bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise web.HTTPBadRequest(text="not JSON\n") from None
