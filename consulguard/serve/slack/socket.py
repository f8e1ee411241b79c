"""The socket door: Socket Mode, no public address needed. Acknowledged first, worked on afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

from consulguard.serve.slack.envelope import BadPayload, Envelope, Kind, from_command, from_interaction
from consulguard.serve.slack.inbox import BUSY, Inbox

CONNECTIONS = 2  # while Slack asks one to come anew, the other one listens
TIMEOUT_S = 10.0
RETRY_S = 1.0
RETRY_MAX_S = 60.0
log = structlog.get_logger("consulguard.slack")

_FAILURES = (SlackClientError, aiohttp.ClientError, OSError, TimeoutError, ValueError)


class SlackSocket:
    """Holds ``connections`` connections to Slack until cancelled. What goes wrong is logged, never raised.

    ``token`` (xapp-...) is asked for at each start of a connection.
    """

    def __init__(
        self, inbox: Inbox, token: Callable[[], str], base_url: str, *, connections: int = CONNECTIONS
    ) -> None:
        self._inbox = inbox
        self._token = token
        self._base_url = base_url
        self._number = connections
        self._clients: list[Any] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._number):
                group.create_task(self._hold(), name=f"slack socket {number}")

    async def connected(self) -> int:
        """Connections that are up."""
        return sum([await client.is_connected() for client in self._clients])

    async def _hold(self) -> None:
        """The sdk's client comes back by itself, but with the token it was made with and at one pace only."""
        wait = RETRY_S
        while True:
            try:
                if await self._one_client():
                    wait = RETRY_S
            except _FAILURES as error:
                log.warning("slack_socket_failed", reason=_told(error), retry_s=wait)
            await asyncio.sleep(wait)
            wait = min(wait * 2, RETRY_MAX_S)

    async def _one_client(self) -> bool:
        """One client from its first connection until it has lost it for longer than its own ways can mend."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            web = AsyncWebClient(base_url=self._base_url, session=session, retry_handlers=[])
            token = self._token()
            first = await web.apps_connections_open(app_token=token)
            client: Any = SocketModeClient(app_token=token, web_client=web, logger=_quiet())
            client.wss_uri = str(first["url"])
            client.socket_mode_request_listeners.append(self.heard)
            self._clients.append(client)
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await client.connect()
                log.info("slack_socket_connected")
                await self._while_up(client, token)
            finally:
                self._clients.remove(client)
                await _closed(client)
            return True

    async def _while_up(self, client: Any, token: str) -> None:
        """Until the connection has been down at two looks in a row, or the token has been changed."""
        down = 0
        while down < 2 and self._token() == token:
            await asyncio.sleep(client.ping_interval)
            down = 0 if await client.is_connected() else down + 1
        log.warning("slack_socket_lost")

    async def heard(self, client: Any, request: SocketModeRequest) -> None:
        """One envelope, as the sdk hands it over: acknowledged through ``client``, then begun."""
        try:
            envelope = _read(request)
        except BadPayload as error:
            log.warning("slack_payload_refused", reason=str(error))
            await client.send_socket_mode_response({"envelope_id": request.envelope_id})
            return
        taken = self._inbox.take(envelope)
        answer: dict[str, Any] = {"envelope_id": request.envelope_id}
        if taken is None and envelope.kind is Kind.COMMAND:
            answer["payload"] = {"response_type": "ephemeral", "text": BUSY}
        try:
            await client.send_socket_mode_response(answer)
        except _FAILURES as error:
            log.warning("slack_not_acknowledged", reason=_told(error))
        finally:
            if taken:
                self._inbox.begin(envelope)


def _read(request: SocketModeRequest) -> Envelope:
    if request.type == "slash_commands" and isinstance(request.payload, dict):
        return from_command(request.payload)
    if request.type == "interactive":
        return from_interaction(request.payload)
    raise BadPayload(f"nobody here asked for {str(request.type)[:40]!r}")


async def _closed(client: Any) -> None:
    """Closed, and nothing of it left running."""
    tasks = [client.message_processor, client.current_session_monitor, client.message_receiver]
    try:
        await client.close()
    except _FAILURES as error:
        log.debug("slack_socket_not_closed", reason=_told(error))
    left = [task for task in tasks if task is not None]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await client.aiohttp_client_session.close()


def _told(error: BaseException) -> str:
    """Slack's own word for it where there is one; never the token."""
    response = getattr(error, "response", None)
    data = getattr(response, "data", None)
    code = data.get("error") if isinstance(data, dict) else None
    return str(code) if code else f"{type(error).__name__} {error}".strip()[:200]


def _quiet() -> logging.Logger:
    """The sdk logs whole tracebacks of what we tell in a line."""
    logger = logging.getLogger("consulguard.slack.sdk")
    logger.setLevel(logging.CRITICAL)
    return logger
