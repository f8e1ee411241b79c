"""What Slack lets us do, found out by asking: tokens, scopes, membership. Nothing is posted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from consulguard.app.rights import Finding
from consulguard.config import Loaded, settings
from consulguard.config.chat import ChatSettings, chat

PAGES = 20


class Scope(NamedTuple):
    what: str  # what it is for
    needed: str = ""  # "always", "chat" (where people may speak to us), "" (something is lost without it)


SCOPES: dict[str, Scope] = {
    "chat:write": Scope("to post and edit messages, and to answer", "always"),
    "commands": Scope("the command /consulguard", "chat"),
    "users:read": Scope("to know deactivated, guest, bot and foreign users", "chat"),
    "usergroups:read": Scope("roles and approvers by user group"),
    "files:write": Scope("the topology as a picture; without it, words"),
    "channels:read": Scope("to find the channel by its name, and whether we are in it"),
    "channels:history": Scope("to find a post whose answer was lost; without it, a duplicate at most"),
    "groups:read": Scope("as channels:read, for private channels"),
    "groups:history": Scope("as channels:history, for private channels"),
}


async def slack_rights(loaded: Loaded, timeout_s: float) -> list[Finding]:
    """Which token, scope or membership is missing, each with what to do. Raises ConfigError."""
    slack = loaded.config.slack
    if not slack.enabled:
        return []
    chosen = chat(loaded)
    client = AsyncWebClient(
        token=settings.slack_token(loaded).get(), base_url=slack.api_url, timeout=int(timeout_s) or 1
    )
    try:
        who = await client.auth_test()
    except SlackApiError as error:
        return [_no(f"Slack refuses: {_code(error)}; check the bot token (xoxb-...) and its scopes")]
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return [_no(f"Slack cannot be reached: {error}")]
    found = [_yes(f"signed in as {who.get('user')} in {who.get('team')} ({who.get('team_id')})")]
    try:
        found += _scopes(_granted(who.headers), chosen is not None)
        found.append(await _membership(client, slack.channel))
        found += await _speaking(client, loaded, chosen, str(who.get("team_id")))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        found.append(_no(f"Slack does not answer any more: {error}"))
    return found


def _granted(headers: Any) -> set[str] | None:
    """The token's scopes; None where Slack does not say."""
    said = {str(name).lower(): str(value) for name, value in dict(headers).items()}.get("x-oauth-scopes")
    return None if said is None else {scope.strip() for scope in said.split(",") if scope.strip()}


def _scopes(granted: set[str] | None, speaking: bool) -> Iterator[Finding]:
    if granted is None:
        yield _yes("Slack does not say which scopes the token has")
        return
    for scope, (what, needed) in SCOPES.items():
        if scope not in granted:
            must = needed == "always" or (needed == "chat" and speaking)
            text = f"scope {scope} is missing ({what}); add it under OAuth & Permissions and install the app again"
            yield _no(text) if must else _yes(f"scope {scope} is not there: {what}")


async def _membership(client: AsyncWebClient, channel: str) -> Finding:
    try:
        found = await _channel(client, channel)
    except SlackApiError as error:
        if _code(error) == "missing_scope":
            return _yes(
                f"nobody says whether we are in {channel}: scope {error.response.get('needed')} is missing"
            )
        return _no(
            f"channel {channel}: {_code(error)}; give the id (C...) or invite the bot: /invite @consulguard"
        )
    if found is None:
        return _no(f"there is no channel {channel}, or it is private: give its id (C...) and invite the bot")
    if found.get("is_archived"):
        return _no(f"channel {channel} is archived")
    if not found.get("is_member"):
        return _no(f"the bot is not in {channel}; there: /invite @consulguard")
    return _yes(f"the bot is in {channel}")


async def _channel(client: AsyncWebClient, channel: str) -> dict[str, Any] | None:
    if not channel.startswith("#"):
        info = await client.conversations_info(channel=channel)
        return dict(info.get("channel") or {})
    cursor = ""
    for _ in range(PAGES):
        page = await client.conversations_list(limit=1000, cursor=cursor, exclude_archived=False)
        for row in page.get("channels") or []:
            if row.get("name") == channel.removeprefix("#"):
                return dict(row)
        cursor = str((page.get("response_metadata") or {}).get("next_cursor") or "")
        if not cursor:
            break
    return None


async def _speaking(
    client: AsyncWebClient, loaded: Loaded, chosen: ChatSettings | None, team: str
) -> list[Finding]:
    """What people need to speak to us."""
    if chosen is None:
        return [_yes("one way: for commands and buttons give an app token (xapp-...) or slack.listen")]
    found = []
    teams = loaded.config.access.slack_teams
    if team not in teams:
        found.append(_no(f"access.slack_teams does not hold {team}: nobody there may say anything"))
    roles = loaded.config.access
    if not any(
        r.slack_users or r.slack_usergroups for r in (roles.viewer, roles.operator, roles.approver, roles.admin)
    ):
        found.append(_no("no role in access lists anybody of Slack: nobody may say anything"))
    if chosen.app_token is not None:
        try:
            await client.apps_connections_open(app_token=chosen.app_token())
            found.append(_yes("Socket Mode: the app token is good"))
        except SlackApiError as error:
            text = f"Socket Mode: Slack refuses: {_code(error)}; the app token (xapp-...) needs connections:write"
            found.append(_no(text))
    if chosen.listen:
        found.append(_yes(f"HTTP: signed requests are expected at {chosen.listen}"))
    return found


def _code(error: SlackApiError) -> str:
    return str(error.response.get("error", "unknown error"))


def _yes(text: str) -> Finding:
    return Finding(area="slack", ok=True, text=text)


def _no(text: str) -> Finding:
    return Finding(area="slack", ok=False, text=text)
