"""Slack's Web API as a notifier: one call per delivery, so that the worker's pace is Slack's pace.

The stored reference holds ``channel`` and ``ts`` of the message, ``rev`` of the row it shows, ``nonce`` of a post
that may have arrived, and ``unsure``: how many posts were sent whose answer was lost.

After a lost answer the channel's history is asked for the nonce, and the message that is found is taken over.
Where Slack does not let us look, it is posted once more (one duplicate at most); after two losses in a row it
waits ``unsure_s``, since by then one of them has most likely arrived. The first post of a process looks too:
another one may have died between a post and its record.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from consulguard.errors import NotifyRefused, NotifyUnavailable
from consulguard.model import JsonObject, OutboxRow, Value
from consulguard.notify.base import Told
from consulguard.notify.slack import render, seen
from consulguard.notify.slack.seen import Blind, Mark, Seen

# A person can mend these while we wait; the newest version is told then.
_MENDABLE = {
    "access_denied",
    "account_inactive",
    "channel_not_found",
    "ekm_access_denied",
    "invalid_auth",
    "is_archived",
    "missing_scope",
    "no_permission",
    "not_allowed_token_type",
    "not_authed",
    "not_in_channel",
    "org_login_required",
    "restricted_action",
    "team_access_not_granted",
    "token_expired",
    "token_revoked",
}
_PASSING = {"fatal_error", "internal_error", "message_limit_exceeded", "request_timeout", "service_unavailable"}
_LIMITED = {"ratelimited", "rate_limited"}
_TOO_RICH = {
    "attachment_payload_limit_exceeded",
    "invalid_attachments",
    "invalid_blocks",
    "invalid_blocks_format",
    "msg_blocks_too_long",
    "msg_too_long",
    "too_many_attachments",
}
_WRITES = {"chat.postMessage", "chat.update"}
_LOST = {"cant_update_message", "edit_window_closed", "message_not_found", "thread_not_found"}


class SlackSettings(Value, frozen=True, kw_only=True):
    channel: str  # id (C...) or #name
    name: str = "slack"  # of this receiver
    base_url: str = "https://slack.com/api/"
    dashboard: str = ""  # an address for the menu; see ``render.parent``
    connect_s: float = 5.0
    timeout_s: float = 10.0  # of a whole call; below the worker's own, so that a lost answer is seen as one
    mend_s: float = 60.0  # after a refusal that a person can mend (token, scope, membership)
    unsure_s: float = 600.0  # after two lost answers in a row


class SlackNotifier:
    """``token`` is asked before each call, so a rotated token needs no restart."""

    def __init__(
        self, settings: SlackSettings, token: Callable[[], str], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.name = settings.name
        self._settings = settings
        self._token = token
        self._tls = tls
        self._client: AsyncWebClient | None = None
        self._seen = Seen(settings.channel, self._ask)
        self._earlier: dict[str, str] | None = None  # incident -> ts of its message, before this process

    @property
    def place(self) -> str:
        """What has a pace of its own: a channel of a Slack."""
        return f"{self._settings.base_url} {self._settings.channel}"

    async def deliver(self, row: OutboxRow) -> Told:
        """Post or edit the message first, then its thread, one of these each time."""
        if "ts" not in row.ref:
            return await self._post(row)
        if row.ref.get("rev") != row.rev:
            return await self._edit(row)
        if row.message.thread:
            return await self._reply(row)
        return Told(ref=row.ref, lines=0)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None and client.session is not None:
            await client.session.close()

    async def _post(self, row: OutboxRow) -> Told:
        ref = await self._sure(row, self._shown)
        if "ts" in ref:  # it is there: the next delivery edits it
            return Told(ref=ref, lines=0, done=False)
        mark = seen.of(row, str(ref.get("nonce") or secrets.token_hex(8)))
        asked = {"channel": self._settings.channel} | seen.carried(mark)
        answer = await self._rich_or_plain(row, "chat.postMessage", asked, ref | {"nonce": mark.nonce})
        channel = answer.get("channel", self._settings.channel)
        self._seen.learned(str(channel))
        ref = {"channel": channel, "ts": answer.get("ts", ""), "rev": row.rev}
        return Told(ref=ref, lines=0, done=not row.message.thread)

    async def _edit(self, row: OutboxRow) -> Told:
        where = {"channel": row.ref["channel"], "ts": row.ref["ts"]}
        try:
            await self._rich_or_plain(row, "chat.update", where, row.ref)
        except _Gone as error:  # somebody removed it: post anew
            raise NotifyUnavailable(str(error), ref={}) from error
        return Told(ref={**row.ref, "rev": row.rev}, lines=0, done=not row.message.thread)

    async def _reply(self, row: OutboxRow) -> Told:
        body, lines = render.reply(row)
        ref = await self._sure(row, self._answered)
        kept = {name: value for name, value in row.ref.items() if name not in ("unsure", "nonce")}
        if ref.get("unsure", 0) >= 2:  # posted twice, most likely seen: go on
            return Told(ref=kept, lines=lines, done=lines == len(row.message.thread))
        if (told := ref.get("lines")) is not None:  # it is there
            told = min(told, len(row.message.thread))
            return Told(ref=kept, lines=told, done=told == len(row.message.thread))
        nonce = str(ref.get("nonce") or secrets.token_hex(8))
        where = {"channel": row.ref["channel"], "thread_ts": row.ref["ts"]}
        where |= seen.carried(seen.of(row, nonce, lines))
        try:
            await self._rich_or_text(where, body, ref | {"nonce": nonce})
        except _Gone:
            return Told(ref={})  # somebody removed the message: no thread, and a new message with the next news
        return Told(ref=kept, lines=lines, done=lines == len(row.message.thread))

    async def _sure(self, row: OutboxRow, look: Callable[[OutboxRow], Awaitable[JsonObject | None]]) -> JsonObject:
        """The reference with what Slack shows of a post that may have arrived; unchanged where we are blind."""
        try:
            found = await look(row)
        except Blind:
            return row.ref
        if found is None:  # certainly not there
            return {name: value for name, value in row.ref.items() if name != "unsure"}
        return found

    async def _shown(self, row: OutboxRow) -> JsonObject | None:
        """The row's message where it is there: by the attempt's nonce, or as another process left it."""
        nonce, first = row.ref.get("nonce"), self._earlier is None and row.message.incident is not None
        parents = await self._parents() if nonce or first else []
        found = next((ts for ts, mark in parents if mark.nonce == nonce), "")
        found = found or (self._earlier or {}).pop(row.key, "")
        return {"channel": await self._seen.id(), "ts": found} if found else None

    async def _parents(self) -> list[tuple[str, Mark]]:
        try:
            parents = await self._seen.parents()
        except Blind:
            self._earlier = self._earlier or {}
            raise
        if self._earlier is None:
            self._earlier = {mark.incident: ts for ts, mark in reversed(parents) if mark.incident}
        return parents

    async def _answered(self, row: OutboxRow) -> JsonObject | None:
        nonce = row.ref.get("nonce")
        if not nonce:
            return None
        thread = await self._seen.replies(str(row.ref["channel"]), str(row.ref["ts"]))
        mark = next((mark for _, mark in thread if mark.nonce == nonce), None)
        return None if mark is None else {**row.ref, "lines": mark.lines, "unsure": 0}

    async def _rich_or_plain(
        self, row: OutboxRow, method: str, where: JsonObject, ref: JsonObject
    ) -> Mapping[str, object]:
        message, dashboard = row.message, self._settings.dashboard
        try:
            return await self._call(method, where | render.parent(message, dashboard), ref)
        except _TooRich:
            return await self._call(method, where | render.plain(message), ref)

    async def _rich_or_text(self, where: JsonObject, body: JsonObject, ref: JsonObject) -> None:
        try:
            await self._call("chat.postMessage", where | body, ref)
        except _TooRich:
            await self._call("chat.postMessage", where | {"text": body["text"]}, ref)

    async def _ask(self, method: str, args: JsonObject) -> Mapping[str, object]:
        """A read. Raises ``Blind`` where Slack does not let us, ``NotifyUnavailable`` where it cannot now."""
        given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in args.items()}
        return await self._send(method, {"data": given}, {})

    async def _call(self, method: str, args: JsonObject, ref: JsonObject) -> Mapping[str, object]:
        """A write, never sent twice. What it raises says whether the message may have arrived."""
        extra = {"parse": "none", "link_names": False}
        if method == "chat.postMessage":
            extra |= {"unfurl_links": False, "unfurl_media": False, "mrkdwn": False}
        return await self._send(method, {"json": args | extra}, ref)

    async def _send(self, method: str, given: JsonObject, ref: JsonObject) -> Mapping[str, object]:
        client = self._ready()
        client.token = self._token()
        try:
            answer = await client.api_call(method, **given)
        except aiohttp.ClientConnectorError as error:
            raise NotifyUnavailable(f"Slack cannot be reached: {error}") from error
        except aiohttp.ConnectionTimeoutError as error:
            raise NotifyUnavailable("Slack cannot be reached: no connection in time") from error
        except SlackClientError as error:
            raise self._refusal(error, method, ref) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError) as error:
            raise self._unsure(method, ref, f"{type(error).__name__} {error}".strip()) from error
        return _body(answer)

    def _ready(self) -> AsyncWebClient:
        if self._client is None:
            timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s, sock_connect=self._settings.connect_s)
            # No kept connections: on a fresh one, a failure to connect is certainly a message not sent.
            session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True))
            self._client = AsyncWebClient(
                base_url=self._settings.base_url,
                session=session,
                ssl=self._tls,
                retry_handlers=[],  # the sdk's own would send a message again whose answer was lost
            )
        return self._client

    def _refusal(self, error: SlackClientError, method: str, ref: JsonObject) -> Exception:
        """What Slack's answer means for the message."""
        response = getattr(error, "response", None)
        status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0) or 0)
        code = str(_body(response).get("error") or f"http_{status}")
        reason = f"Slack refused {method}: {code}"
        if status == 429 or code in _LIMITED:
            return NotifyUnavailable(reason, retry_after_s=_retry_after(response))
        if method not in _WRITES and status < 500 and code not in _PASSING:
            return Blind(reason)
        if code in _TOO_RICH:
            return _TooRich(reason)
        if code in _LOST:
            return _Gone(reason)
        if code in _MENDABLE:
            return NotifyUnavailable(reason, retry_after_s=self._settings.mend_s)
        if code in _PASSING or status >= 500:  # most likely not posted; where we can look, we make sure
            return NotifyUnavailable(reason, ref=ref if "nonce" in ref else None)
        if status == 200 and code == "http_200":  # an answer nobody can read: the message may be there
            return self._unsure(method, ref, "unreadable answer")
        return NotifyRefused(reason)

    def _unsure(self, method: str, ref: JsonObject, reason: str) -> NotifyUnavailable:
        """The request left and no answer came. Editing twice does no harm, posting twice does."""
        said = f"Slack's answer to {method} was lost: {reason}"
        if method != "chat.postMessage":
            return NotifyUnavailable(said)
        lost = int(ref.get("unsure", 0)) + 1
        hold = self._settings.unsure_s if lost >= 2 and "ts" not in ref else 0.0
        return NotifyUnavailable(said, retry_after_s=hold, for_all=False, ref={**ref, "unsure": lost})


class _TooRich(NotifyRefused):
    """Slack takes a plain line instead."""


class _Gone(NotifyRefused):
    """The message we would edit or reply to is not there any more."""


def _body(answer: AsyncSlackResponse | object) -> Mapping[str, object]:
    data = getattr(answer, "data", None)
    return data if isinstance(data, dict) else {}


def _retry_after(response: object) -> float:
    """Seconds, whole and at least one; 30 where Slack does not say."""
    headers = getattr(response, "headers", None) or {}
    said = str({str(k).lower(): v for k, v in dict(headers).items()}.get("retry-after", ""))
    return float(min(max(int(said), 1), 3600)) if said.isascii() and said.isdigit() else 30.0
