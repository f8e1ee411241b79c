"""What a Slack workspace holds, as the twin keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

JsonDict = dict[str, Any]


class SlackRefusal(Exception):
    """Answered as ``{"ok": false, "error": ...}``; ``more`` goes into the answer too."""

    def __init__(self, error: str, messages: list[str] | None = None, more: JsonDict | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.messages = messages or []
        self.more = more or {}


@dataclass
class SlackMessage:
    channel: str
    ts: str
    text: str
    blocks: list[JsonDict] = field(default_factory=list)
    attachments: list[JsonDict] = field(default_factory=list)
    thread_ts: str = ""
    edits: int = 0
    metadata: JsonDict = field(default_factory=dict)
    files: list[str] = field(default_factory=list)  # ids


@dataclass
class SlackChannel:
    id: str
    name: str
    is_member: bool = True
    is_archived: bool = False
    is_private: bool = False
    members: list[str] = field(default_factory=list)


@dataclass
class SlackUser:
    """A person, as ``users.info`` shows them."""

    id: str
    name: str
    team_id: str = "T0TWIN"
    deleted: bool = False
    is_bot: bool = False
    is_restricted: bool = False  # a guest of several channels
    is_ultra_restricted: bool = False  # a guest of one
    is_stranger: bool = False  # of another workspace, seen through a shared channel


@dataclass
class SlackUsergroup:
    id: str
    handle: str
    users: list[str] = field(default_factory=list)
    disabled: bool = False


@dataclass
class SlackFile:
    id: str
    name: str
    length: int
    body: bytes | None = None
    title: str = ""
    done: bool = False


@dataclass
class SlackView:
    """A modal on somebody's screen."""

    id: str
    trigger_id: str
    view: JsonDict


@dataclass
class Ephemeral:
    """What one person alone saw."""

    channel: str
    user: str
    text: str
    blocks: list[JsonDict] = field(default_factory=list)


@dataclass
class Workspace:
    """All of it. ``url`` is where the twin listens, once it does."""

    team: str = "T0TWIN"
    app: str = "A0TWIN"
    bot: str = "B0GUARD"
    bot_user: str = "U0GUARD"
    url: str = ""
    channels: dict[str, SlackChannel] = field(default_factory=dict)
    users: dict[str, SlackUser] = field(default_factory=dict)
    usergroups: dict[str, SlackUsergroup] = field(default_factory=dict)
    messages: list[SlackMessage] = field(default_factory=list)
    ephemerals: list[Ephemeral] = field(default_factory=list)
    files: dict[str, SlackFile] = field(default_factory=dict)
    views: list[SlackView] = field(default_factory=list)
    triggers: set[str] = field(default_factory=set)  # given out and not used yet
    used_triggers: set[str] = field(default_factory=set)
    numbers: int = 0

    def number(self) -> int:
        """One that was never given before."""
        self.numbers += 1
        return self.numbers

    def stamp(self) -> str:
        """The next message's ``ts``."""
        return f"1700000000.{self.number():06}"

    def trigger(self) -> str:
        """A trigger id, good for one modal."""
        made = f"{self.number()}.{self.number()}.twin"
        self.triggers.add(made)
        return made
