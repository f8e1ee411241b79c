"""How people speak to the bot in Slack, from the file's words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consulguard.config.load import Loaded
from consulguard.config.settings import slack_token, token_file
from consulguard.consulapi import TokenSource
from consulguard.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """Secrets are asked for each time: they follow their files."""

    app: str  # id
    api_url: str
    bot_token: Callable[[], str]
    app_token: Callable[[], str] | None  # None: no Socket Mode
    signing_secret: Callable[[], str] | None  # None: no HTTP door
    listen: str = ""


def chat(loaded: Loaded) -> ChatSettings | None:
    """None where Slack is only told. Raises ConfigError when a part of it is missing."""
    slack = loaded.config.slack
    wants_socket = slack.socket_mode and bool(loaded.slack_app_token or slack.app_token_file)
    if not slack.enabled or not (wants_socket or slack.listen):
        return None
    if not slack.app_id:
        raise ConfigError("commands and buttons need slack.app_id (A..., on the app's own page)", where="slack")
    token = _secret(loaded, loaded.slack_app_token, slack.app_token_file) if wants_socket else None
    secret = _secret(loaded, loaded.slack_signing_secret, slack.signing_secret_file) if slack.listen else None
    if slack.listen and secret is None:
        needed = "slack.listen needs slack.signing_secret_file or $SLACK_SIGNING_SECRET"
        raise ConfigError(needed, where="slack")
    return ChatSettings(
        app=slack.app_id,
        api_url=slack.api_url,
        bot_token=slack_token(loaded).get,
        app_token=token.get if token is not None else None,
        signing_secret=secret.get if secret is not None else None,
        listen=slack.listen,
    )


def _secret(loaded: Loaded, value: str, name: str) -> TokenSource | None:
    if value:
        return TokenSource(value)
    return token_file(loaded, name, "the Slack secret file") if name else None
