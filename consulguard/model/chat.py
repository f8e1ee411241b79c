"""People at the doors: who speaks, what they are offered to press, and what they asked not to hear of."""

from __future__ import annotations

from datetime import datetime

from consulguard.model.base import Value
from consulguard.model.remedy import Matcher


class Caller(Value, frozen=True, kw_only=True):
    """Who speaks. The door has made sure of every field; nothing here is only the caller's own word."""

    via: str  # slack, cli, http
    user: str  # Slack user id (U...), or the system user's name
    name: str = ""  # for people to read; never compared
    team: str = ""  # Slack team id
    channel: str = ""  # Slack channel id
    groups: tuple[str, ...] = ()  # ids of the Slack user groups this user is in


class Silence(Value, frozen=True, kw_only=True):
    """Alertmanager's: what all matchers fit is not told, and not remediated, until ``ends_at``."""

    id: str
    matchers: tuple[Matcher, ...]
    author: str
    comment: str
    starts_at: datetime
    ends_at: datetime
