"""The way back to Slack: Web API, response URLs, uploads. Each call has an end and few repetitions."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from consulguard.errors import NotifyRefused, NotifyUnavailable

CONNECT_S = 3.0
CALL_S = 5.0
WAITS_S = (0.5, 2.0)  # before the second and the third try
PATIENCE_S = 10.0  # longer than this nobody waits for an answer to a click
HOOKS = ("hooks.slack.com", "hooks.slack-gov.com")
FILES = ("files.slack.com", "files.slack-gov.com")

_PASSING = {
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
}


class SlackSaysNo(NotifyRefused):
    """Slack has answered, and the answer is no: ``code`` is its word for why."""

    def __init__(self, method: str, code: str, needed: str = "") -> None:
        self.code = code
        self.needed = needed  # the scope that is missing, where that is it
        super().__init__(f"Slack refused {method}: {code}" + (f" ({needed})" if needed else ""))


class SlackWeb:
    """``token`` (xoxb-...) is asked before each call, so a rotated token needs no restart."""

    def __init__(self, token: Callable[[], str], base_url: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._token = token
        self._base_url = base_url
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def read(self, method: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """A method that changes nothing: tried again after whatever may pass.

        Raises SlackSaysNo and NotifyUnavailable, as all of these.
        """
        return await _patiently(lambda: self._call(method, {"data": dict(args)}), again=True)

    async def write(self, method: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """A method that shows something: not sent again when its answer was lost."""
        return await _patiently(lambda: self._call(method, {"json": dict(args)}), again=False)

    async def respond(self, url: str, body: Mapping[str, Any]) -> None:
        """Answer by the response URL of a command or click."""
        self._check_host(url, HOOKS)
        await _patiently(lambda: self._post(url, "response_url", json=dict(body)), again=False)

    async def upload(self, channel: str, name: str, data: bytes, comment: str) -> None:
        """A file into a channel, in Slack's three steps."""
        asked = {"filename": name, "length": len(data)}
        place = await self.read("files.getUploadURLExternal", asked)
        url, file = str(place.get("upload_url")), str(place.get("file_id"))
        self._check_host(url, FILES)
        await _patiently(lambda: self._post(url, "the upload", data=data), again=True)
        done = {"files": [{"id": file, "title": name}], "channel_id": channel, "initial_comment": comment}
        await self.write("files.completeUploadExternal", done)

    def _check_host(self, url: str, hosts: tuple[str, ...]) -> None:
        """Only Slack's own, or where its API is said to be: nothing that came in sends us anywhere else."""
        try:
            parts, api = urlsplit(url), urlsplit(self._base_url)
            fine = (parts.scheme == "https" and parts.netloc in hosts) or (
                (parts.scheme, parts.netloc) == (api.scheme, api.netloc)
            )
        except ValueError:
            fine = False
        if not fine:
            raise SlackSaysNo("an answer", "not an address of Slack's")

    async def _call(self, method: str, how: Mapping[str, Any]) -> dict[str, Any]:
        client = AsyncWebClient(
            token=self._token(), base_url=self._base_url, session=self._open(), ssl=self._tls, retry_handlers=[]
        )
        try:
            answer = await client.api_call(method, **how)
        except SlackClientError as error:
            raise _refusal(method, getattr(error, "response", None)) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _Passing(f"Slack cannot be reached: {error}", sent=False) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError) as error:
            raise _Passing(f"no answer to {method}: {type(error).__name__}", sent=True) from error
        return answer.data if isinstance(answer.data, dict) else {}

    async def _post(self, url: str, what: str, **body: Any) -> dict[str, Any]:
        try:
            async with self._open().post(url, allow_redirects=False, ssl=self._tls or True, **body) as answer:
                status, headers = answer.status, answer.headers
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _Passing(f"Slack cannot be reached: {error}", sent=False) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _Passing(f"no answer to {what}: {type(error).__name__}", sent=True) from error
        if status == 429 or status >= 500:
            raise _Passing(f"Slack refused {what}: {status}", sent=False, after_s=_after(headers))
        if status != 200:
            raise SlackSaysNo(what, f"http_{status}")
        return {}

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=CALL_S, sock_connect=CONNECT_S)
            # No kept connections: on a fresh one, a failure to connect is certainly nothing sent.
            self._session = aiohttp.ClientSession(
                timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)
            )
        return self._session


class _Passing(NotifyUnavailable):
    """May be over soon. ``sent``: it may have been done all the same."""

    def __init__(self, message: str, *, sent: bool, after_s: float = 0.0) -> None:
        super().__init__(message, retry_after_s=after_s)
        self.sent = sent


async def _patiently(once: Callable[[], Awaitable[dict[str, Any]]], *, again: bool) -> dict[str, Any]:
    for wait in WAITS_S:
        try:
            return await once()
        except _Passing as error:
            if error.retry_after_s > PATIENCE_S or (error.sent and not again):
                raise
            await asyncio.sleep(max(wait, error.retry_after_s))
    return await once()


def _refusal(method: str, response: Any) -> NotifyRefused | NotifyUnavailable:
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0) or 0)
    data = getattr(response, "data", None)
    said = data if isinstance(data, dict) else {}
    code = str(said.get("error") or f"http_{status}")
    if status == 429 or status >= 500 or code in _PASSING:
        after = _after(getattr(response, "headers", None) or {})
        return _Passing(f"Slack refused {method}: {code}", sent=False, after_s=after)
    return SlackSaysNo(method, code, str(said.get("needed") or ""))


def _after(headers: Mapping[str, Any]) -> float:
    said = str({str(k).lower(): v for k, v in dict(headers).items()}.get("retry-after", ""))
    return float(min(int(said), 3600)) if said.isascii() and said.isdigit() else 0.0
