"""The channels to people that are switched on, and their pace."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec

from consulguard import registry
from consulguard.clock import Clock
from consulguard.config import Loaded, settings
from consulguard.errors import ConfigError
from consulguard.journal import Store
from consulguard.model import OutboxRow
from consulguard.notify import Notifier, OutboxSettings, OutboxWorker, Pace
from consulguard.notify.alertmanager import AlertmanagerSettings
from consulguard.notify.apprise import AppriseSettings

Observe = Callable[[OutboxRow, str], None]
FAST = OutboxSettings(interval_s=0.05, idle_s=60.0)
# Slack takes about a message a second in a channel, and about 50 edits a minute: both go one after the other.
SLACK = OutboxSettings(interval_s=1.2, crowd=20)
_PACES = {"console": FAST, "alertmanager": FAST, "slack": SLACK}  # by kind


def paced(
    store: Store, channels: list[Notifier], clock: Clock, observe: Observe, loaded: Loaded
) -> tuple[OutboxWorker, ...]:
    """A worker for each receiver; those that tell the same Slack channel share its pace."""
    paces: dict[str, Pace] = {}
    made = []
    for channel in channels:
        pace, place = _PACES.get(_kind(channel), OutboxSettings()), _place(channel)
        if place:
            pace = msgspec.structs.replace(pace, board_s=loaded.config.notify.board_interval)
        worker = OutboxWorker(store, channel, clock, random.random, pace, observe)
        if place:
            worker.pace = paces.setdefault(place, worker.pace)
        made.append(worker)
    return tuple(made)


def _kind(channel: Notifier) -> str:
    return channel.name.partition(":")[0]


def _place(channel: Notifier) -> str:
    """Which Slack channel it tells; empty where it tells none."""
    if _kind(channel) != "slack":
        return ""
    from consulguard.notify.slack import SlackNotifier

    return channel.place if isinstance(channel, SlackNotifier) else ""


def notifiers(loaded: Loaded, clock: Clock) -> list[Notifier]:
    """The channels that are switched on. Raises ConfigError."""
    chosen: list[Notifier] = []
    if loaded.config.notify.console:
        chosen.append(_made("console"))
    if loaded.config.slack.enabled:
        if not loaded.config.slack.channel:
            raise ConfigError("slack.enabled needs slack.channel", where="slack")
        chosen.append(_slack(loaded, loaded.config.slack.channel, "slack"))
    for name in sorted(loaded.config.receivers):
        chosen += _receiver(loaded, name, clock)
    return chosen


def _receiver(loaded: Loaded, name: str, clock: Clock) -> list[Notifier]:
    given = loaded.config.receivers[name]
    full = f"{given.kind}:{name}"
    match given.kind:
        case "slack":
            return [_slack(loaded, given.channel, full)]
        case "apprise":
            url = settings.token_file(loaded, given.url_file, "the file with apprise's URL")
            return [_made("apprise", AppriseSettings(name=full), url.get)]
        case "alertmanager":
            wanted = AlertmanagerSettings(name=full, url=given.url, refresh_s=given.refresh)
            token = settings.token_file(loaded, given.token_file, "the token file") if given.token_file else None
            return [_made("alertmanager", wanted, clock, token.get if token else None)]
        case _:
            return []


def _slack(loaded: Loaded, channel: str, name: str) -> Notifier:
    from consulguard.notify.slack import SlackSettings  # heavy, and only for those who use it

    slack = loaded.config.slack
    wanted = SlackSettings(channel=channel, name=name, base_url=slack.api_url, dashboard=slack.dashboard_url)
    return _made("slack", wanted, settings.slack_token(loaded).get)


def _made(kind: str, *args: Any) -> Notifier:
    notifier: Notifier = registry.load(registry.NOTIFIERS, kind)(*args)
    return notifier
