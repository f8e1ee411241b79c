"""The channels to people that are switched on, and their pace."""

from __future__ import annotations

from typing import Any

from consulguard import registry
from consulguard.clock import Clock
from consulguard.config import Loaded, settings
from consulguard.errors import ConfigError
from consulguard.notify import Notifier, OutboxSettings
from consulguard.notify.alertmanager import AlertmanagerSettings
from consulguard.notify.apprise import AppriseSettings
from consulguard.notify.slack import SlackSettings

FAST = OutboxSettings(interval_s=0.05, idle_s=60.0)
SLOW = OutboxSettings()  # as Slack allows
_PACES = {"console": FAST, "alertmanager": FAST}  # by kind


def pace(name: str) -> OutboxSettings:
    """How fast a notifier of this name may be fed."""
    return _PACES.get(name.partition(":")[0], SLOW)


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
            url = settings.secret(loaded, given.url_file, "the file with apprise's URL")
            return [_made("apprise", AppriseSettings(name=full), url.get)]
        case "alertmanager":
            wanted = AlertmanagerSettings(name=full, url=given.url, refresh_s=given.refresh)
            token = settings.secret(loaded, given.token_file, "the token file") if given.token_file else None
            return [_made("alertmanager", wanted, clock, token.get if token else None)]
        case _:
            return []


def _slack(loaded: Loaded, channel: str, name: str) -> Notifier:
    wanted = SlackSettings(channel=channel, name=name, base_url=loaded.config.slack.api_url)
    return _made("slack", wanted, settings.slack_token(loaded).get)


def _made(kind: str, *args: Any) -> Notifier:
    notifier: Notifier = registry.load(registry.NOTIFIERS, kind)(*args)
    return notifier
