"""Who speaks: a Slack user id, looked up in Slack itself. Names are for people to read and decide nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import structlog

from consulguard.clock import Clock
from consulguard.errors import NotifyRefused, NotifyUnavailable
from consulguard.model import Caller
from consulguard.serve.slack import Envelope, SlackWeb

KEEP_S = 300.0
USERS_MAX = 5_000
log = structlog.get_logger("consulguard.slack")

_NOBODY = (
    ("deleted", "this account is deactivated"),
    ("is_bot", "bots have no say here"),
    ("is_workflow_bot", "bots have no say here"),
    ("is_ultra_restricted", "guests have no say here"),
    ("is_restricted", "guests have no say here"),
    ("is_stranger", "people of other workspaces have no say here"),
)


class Stranger(Exception):
    """Not somebody who may be asked for their role at all; the text says why."""


class People:
    """``named``: ids and handles of the user groups that decide something; without one Slack is not asked."""

    def __init__(self, web: SlackWeb, clock: Clock, app: str, named: Callable[[], Collection[str]]) -> None:
        self._web = web
        self._clock = clock
        self._app = app
        self._named = named
        self._users: dict[str, tuple[float, dict[str, Any]]] = {}
        self._groups: tuple[float, dict[str, frozenset[str]]] | None = None  # id or handle -> users
        self._asking = asyncio.Lock()

    async def caller(self, envelope: Envelope, channel: str) -> Caller:
        """``channel``: where they speak, also where the envelope itself does not say. Raises Stranger."""
        if envelope.app != self._app:
            raise Stranger("this came from another Slack app")
        if not envelope.team or envelope.user_team not in ("", envelope.team):
            raise Stranger("people of other workspaces have no say here")
        user = await self._user(envelope)
        return Caller(
            via="slack",
            user=envelope.user,
            name=str(user.get("real_name") or user.get("name") or envelope.user),
            team=envelope.team,
            channel=channel,
            groups=await self._groups_of(envelope.user),
        )

    async def _user(self, envelope: Envelope) -> dict[str, Any]:
        key, now = f"{envelope.team} {envelope.user}", self._clock.monotonic()
        kept = self._users.get(key)
        if kept is None or now - kept[0] >= KEEP_S:
            kept = (now, await self._asked(envelope.user))
            self._users.pop(key, None)
            self._users[key] = kept
            if len(self._users) > USERS_MAX:
                del self._users[next(iter(self._users))]
        user = kept[1]
        for field, why in _NOBODY:
            if user.get(field) is not False and (field in user or field == "deleted"):
                raise Stranger(why)
        if user.get("team_id") != envelope.team:
            raise Stranger("people of other workspaces have no say here")
        return user

    async def _asked(self, user: str) -> dict[str, Any]:
        try:
            found = (await self._web.read("users.info", {"user": user})).get("user")
        except NotifyRefused as error:
            log.warning("slack_user_not_known", user=user, reason=str(error))
            raise Stranger("Slack does not say who you are") from None
        except NotifyUnavailable as error:
            log.warning("slack_user_not_known", user=user, reason=str(error))
            raise Stranger("Slack cannot say just now who you are; please try again") from None
        if not isinstance(found, dict) or found.get("id") != user:
            raise Stranger("Slack does not say who you are")
        return found

    async def _groups_of(self, user: str) -> tuple[str, ...]:
        named = self._named()
        if not named:
            return ()
        async with self._asking:
            now = self._clock.monotonic()
            if self._groups is None or now - self._groups[0] >= KEEP_S:
                self._groups = (now, await self._all_groups())
        found = self._groups[1]
        return tuple(sorted(name for name in named if user in found.get(name, ())))

    async def _all_groups(self) -> dict[str, frozenset[str]]:
        """Members by id and by handle. Where Slack does not say, nobody is in any group."""
        args = {"include_users": "true", "include_disabled": "false"}
        try:
            rows = (await self._web.read("usergroups.list", args)).get("usergroups")
        except (NotifyRefused, NotifyUnavailable) as error:
            log.warning("slack_groups_not_known", reason=str(error))
            return {}
        members: dict[str, frozenset[str]] = {}
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and not row.get("date_delete"):
                users = row.get("users")
                held = frozenset(str(user) for user in users) if isinstance(users, list) else frozenset()
                members |= {str(row.get("id")): held, str(row.get("handle")): held}
        return members
