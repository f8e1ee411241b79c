"""What a channel already shows of ours, looked up when a post may have arrived without our learning of it.

Slack gives no way to make a post happen only once: ``client_msg_id`` is for its own clients. But a message may
carry metadata, and the channel's history gives it back to the app that wrote it. That needs the scope
``channels:history`` (``groups:history`` for a private channel); without it nothing can be looked up, and this says
so by ``Blind``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from consulguard.errors import NotifyRefused
from consulguard.model import JsonObject, OutboxRow, Value

EVENT = "consulguard_message"
LOOKED_AT = 200  # the newest messages of a channel, or of a thread
_ID = re.compile(r"[CGD][A-Z0-9]{4,}")
PAGES = 20  # of 1,000 channels, to find one by its name

Ask = Callable[[str, JsonObject], Awaitable[Mapping[str, object]]]


class Blind(NotifyRefused):
    """Slack does not let us look."""


class Mark(Value, frozen=True, kw_only=True):
    """What a message of ours carries, to be known again. ``nonce`` is of one attempt and its repetitions."""

    nonce: str
    incident: str = ""
    lines: int = 0  # of a reply: how many of the row's thread lines it tells


class _Metadata(msgspec.Struct):
    event_type: str = ""
    event_payload: dict[str, object] = {}


class _Message(msgspec.Struct):
    ts: str = ""
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Channel(msgspec.Struct):
    id: str
    name: str = ""


def carried(mark: Mark) -> JsonObject:
    """The argument ``metadata`` of a post."""
    return {"metadata": {"event_type": EVENT, "event_payload": msgspec.to_builtins(mark)}}


def of(row: OutboxRow, nonce: str, lines: int = 0) -> Mark:
    incident = row.message.incident.id if row.message.incident is not None else ""
    return Mark(nonce=nonce, incident=incident, lines=lines)


class Seen:
    """Reads one channel through ``ask``, which raises ``Blind`` where Slack refuses."""

    def __init__(self, channel: str, ask: Ask) -> None:
        self._name = channel
        self._ask = ask
        self.known = channel if _ID.fullmatch(channel) else ""  # the channel's id

    def learned(self, channel: str) -> None:
        """The channel's id, as an answer told it."""
        self.known = channel

    async def parents(self) -> list[tuple[str, Mark]]:
        """Our newest messages of the channel: ``ts`` and mark, newest first."""
        found = {"channel": await self.id(), "limit": LOOKED_AT, "include_all_metadata": True}
        return _marks(await self._ask("conversations.history", found))

    async def replies(self, channel: str, ts: str) -> list[tuple[str, Mark]]:
        """The same of a thread."""
        found = {"channel": channel, "ts": ts, "limit": LOOKED_AT, "include_all_metadata": True}
        return _marks(await self._ask("conversations.replies", found))

    async def id(self) -> str:
        cursor = ""
        for _ in range(PAGES):
            if self.known:
                return self.known
            wanted = {"limit": 1000, "types": "public_channel,private_channel", "exclude_archived": True}
            answer = await self._ask("conversations.list", wanted | ({"cursor": cursor} if cursor else {}))
            self.known = _named(answer, self._name.removeprefix("#"))
            cursor = _cursor(answer)
            if not self.known and not cursor:
                break
        if not self.known:
            raise Blind(f"Slack shows no channel {self._name}")
        return self.known


def _marks(answer: Mapping[str, object]) -> list[tuple[str, Mark]]:
    """Messages that are not ours, or say it in a way we cannot read, are left out."""
    found = []
    messages = answer.get("messages")
    for raw in messages if isinstance(messages, list) else ():
        try:
            message = msgspec.convert(raw, _Message)
            if message.metadata.event_type == EVENT:
                found.append((message.ts, msgspec.convert(message.metadata.event_payload, Mark)))
        except msgspec.ValidationError:
            continue
    return found


def _named(answer: Mapping[str, object], name: str) -> str:
    try:
        channels = msgspec.convert(answer.get("channels"), list[_Channel])
    except msgspec.ValidationError:
        return ""
    return next((channel.id for channel in channels if channel.name == name), "")


def _cursor(answer: Mapping[str, object]) -> str:
    meta = answer.get("response_metadata")
    return str(meta.get("next_cursor") or "") if isinstance(meta, dict) else ""
