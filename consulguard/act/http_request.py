"""``http.request``: one request to a host the operator has allow-listed by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import aiohttp
import msgspec
from multidict import CIMultiDict
from pydantic import Field, field_validator
from yarl import URL

from consulguard.act import http_door
from consulguard.act.base import (
    ActContext,
    Action,
    Ending,
    HttpHost,
    Strict,
    done,
    failed,
    retry,
    unknown,
)
from consulguard.act.text import MASK, is_secret, masked, tidy
from consulguard.consulapi import Once
from consulguard.model import Intent, JsonObject

CONNECT_S = 5.0
READ_MAX = 4096  # bytes of the answer that are looked at
NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_OURS = {
    "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect",
    "proxy-authorization", "idempotency-key", "x-consulguard-epoch", "accept-encoding",
}  # fmt: skip


class HttpParams(Strict):
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    url: str = Field(max_length=4096)  # its scheme, host and port must be in the allow-list
    headers: dict[str, str] = Field(default_factory=dict)
    body: str | dict[str, Any] | list[Any] | None = None  # anything but a string is sent as JSON
    idempotent: bool  # whether the receiver does the same request twice as once
    expect_status: list[int] = Field(default_factory=list)  # empty: any 2xx

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        http_door.place(url)
        return url

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name) or name.lower() in _OURS:
                raise ValueError(f"header {name[:64]!a} may not be set")
            if not value.isascii() or not value.isprintable():
                raise ValueError(f"the value of header {name} holds characters a header may not hold")
        return headers

    @field_validator("expect_status")
    @classmethod
    def _statuses(cls, statuses: list[int]) -> list[int]:
        if not all(100 <= status <= 599 for status in statuses):
            raise ValueError("not an HTTP status")
        return statuses


class HttpRequest(Action[HttpParams]):
    """Send it once; the receiver gets the intent's id as ``Idempotency-Key`` and our epoch."""

    name: ClassVar[str] = "http.request"
    Params: ClassVar[type[Strict]] = HttpParams
    touches: ClassVar[str] = "instance"
    idempotent_param: ClassVar[bool] = True

    def preview(self, intent: Intent, params: JsonObject) -> str:
        parsed = self.parse(intent.target, params)
        lines = [f"{parsed.method} {masked(parsed.url)}"]
        lines += [
            f"{k}: {MASK if is_secret(k) or k.lower() == 'cookie' else masked(v)}"
            for k, v in parsed.headers.items()
        ]
        if parsed.body is not None:
            lines.append(tidy(masked(_shown(parsed.body))))
        return "; ".join(lines)

    async def do(self, params: HttpParams, intent: Intent, ctx: ActContext) -> Ending:
        to = http_door.place(params.url)
        host = http_door.admitted(to, ctx.settings.allowed_hosts)
        host = msgspec.structs.replace(host, headers=dict(host.headers))  # as they are now, until the end
        call = _call(params, host, intent)
        found = await http_door.addresses(to, private=host.private)
        try:
            status, text = await _send(call, found, intent, ctx)
        except aiohttp.ClientConnectorCertificateError as error:
            return failed(f"not sent: {to.host} shows a certificate we do not trust: {tidy(str(error))}")
        except NOT_SENT as error:
            return retry(f"not sent: {to.host} does not take connections: {tidy(str(error))}")
        except (aiohttp.ClientError, OSError) as error:
            return unknown(f"{to.host}: the connection broke after the request was sent: {tidy(str(error))}")
        secrets = [word for value in host.headers.values() for word in value.split() if len(word) >= 6]
        return _judge(params, status, masked(tidy(text), secrets))


class _Call(NamedTuple):
    method: str
    url: URL
    data: bytes | None
    headers: CIMultiDict[str]


def _call(params: HttpParams, host: HttpHost, intent: Intent) -> _Call:
    """The request in full; the operator's headers win over the playbook's, ours over both."""
    headers = CIMultiDict({"Accept-Encoding": "identity", "User-Agent": "consulguard"})
    if params.body is not None:
        kind = "text/plain; charset=utf-8" if isinstance(params.body, str) else "application/json"
        headers["Content-Type"] = kind
    headers.update(params.headers)
    headers.update(host.headers)
    headers.update({"Idempotency-Key": intent.id, "X-Consulguard-Epoch": str(intent.epoch)})
    data = None if params.body is None else _shown(params.body).encode()
    return _Call(params.method, URL(http_door.place(params.url).url, encoded=True), data, headers)


async def _send(call: _Call, found: Sequence[str], intent: Intent, ctx: ActContext) -> tuple[int, str]:
    """Status and the start of the body."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=min(CONNECT_S, intent.timeout_s / 2))
    async with http_door.session(found, call.headers) as session:
        with ctx.effect(intent):
            async with session.request(
                call.method,
                call.url,
                data=call.data,
                timeout=timeout,
                allow_redirects=False,
                middlewares=(Once(),),
            ) as answer:
                return answer.status, (await answer.content.read(READ_MAX)).decode("utf-8", "replace")


def _judge(params: HttpParams, status: int, text: str) -> Ending:
    sentence = f"{http_door.place(params.url).host} answered {status}" + (f": {text}" if text else "")
    if status in params.expect_status or (not params.expect_status and 200 <= status < 300):
        return done(sentence)
    if status == 429:
        return retry(sentence)
    if status >= 500 or status == 408:  # a server that fails may fail after it has done it
        return unknown(sentence)
    return failed(f"{sentence} (redirects are not followed)" if 300 <= status < 400 else sentence)


def _shown(body: str | dict[str, Any] | list[Any]) -> str:
    return body if isinstance(body, str) else msgspec.json.encode(body).decode()
