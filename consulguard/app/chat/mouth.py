"""How an answer reaches people: by the response URL, else by the Web API, else it is only logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from consulguard.app.chat import tell
from consulguard.errors import NotifyRefused, NotifyUnavailable
from consulguard.model import Value
from consulguard.serve.slack import Envelope, SlackWeb

log = structlog.get_logger("consulguard.slack")


class Place(Value, frozen=True, kw_only=True):
    """Where an answer belongs. ``thread``: of the message whose button was pressed."""

    channel: str
    user: str
    thread: str = ""
    response_url: str = ""


def place_of(envelope: Envelope) -> Place:
    return Place(
        channel=envelope.channel,
        user=envelope.user,
        thread=envelope.thread,
        response_url=envelope.response_url,
    )


class Mouth:
    """Nothing here raises: who waits for an answer that cannot be brought sees the message change."""

    def __init__(self, web: SlackWeb) -> None:
        self._web = web

    async def whisper(self, place: Place, lines: Sequence[str]) -> None:
        """Only to who asked."""
        body = tell.said(lines)
        if await self._by_url(place, {**body, "response_type": "ephemeral"}):
            return
        await self._by_api("chat.postEphemeral", {"channel": place.channel, "user": place.user, **body})

    async def announce(self, place: Place, lines: Sequence[str]) -> None:
        """To the whole channel, below the message it is about."""
        body = tell.said(lines)
        thread = {"thread_ts": place.thread} if place.thread else {}
        if await self._by_url(place, {**body, **thread, "response_type": "in_channel"}):
            return
        await self._by_api("chat.postMessage", {"channel": place.channel, **thread, **body})

    async def _by_url(self, place: Place, body: dict[str, Any]) -> bool:
        """Whether that needs no second way. A lost answer needs none: it has most likely arrived."""
        if not place.response_url:
            return False
        try:
            await self._web.respond(place.response_url, {**body, "replace_original": False})
        except NotifyRefused as error:
            log.info("slack_response_url_refused", reason=str(error))
            return False
        except NotifyUnavailable as error:
            log.warning("slack_answer_lost", reason=str(error))
        return True

    async def _by_api(self, method: str, args: dict[str, Any]) -> None:
        if not args.get("channel"):
            return
        try:
            await self._web.write(method, {**args, "unfurl_links": False, "unfurl_media": False})
        except (NotifyRefused, NotifyUnavailable) as error:
            log.warning("slack_answer_lost", reason=str(error))
