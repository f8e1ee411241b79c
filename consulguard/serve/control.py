"""The control socket: how the command line speaks to a running daemon on the same machine.

A Unix socket in the data directory, mode 0600: whoever may read the journal may use it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, web

from consulguard.errors import ConsulguardError

Handler = Callable[[str, dict[str, Any], str], Awaitable[dict[str, Any]]]
BODY_CAP = 64 * 1024
SHUTDOWN_S = 1.0  # for requests that are being answered; aiohttp's own minute is longer than we are given to end


class Control:
    """Serves ``POST /v1/command`` with ``{"command", "args", "who"}`` on a Unix socket."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. A socket file left by a dead process is replaced: the journal's lock says we are alone."""
        app = web.Application(client_max_size=BODY_CAP)
        app.router.add_post("/v1/command", self._command)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(self._path)).start()
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Stop listening and remove the socket file."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._path.unlink(missing_ok=True)

    async def _command(self, request: web.Request) -> web.Response:
        try:
            body = msgspec.json.decode(await request.read(), type=dict[str, Any])
            command, args, who = body["command"], body.get("args", {}), body.get("who", "")
            answer = await self._handler(str(command), dict(args), str(who))
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            return web.json_response({"error": f"not a command: {error}"}, status=400)
        except ConsulguardError as error:
            return web.json_response({"error": str(error)}, status=409)
        return web.json_response(answer)


async def call(
    path: Path, command: str, args: dict[str, Any], who: str, timeout_s: float
) -> dict[str, Any] | None:
    """Send a command to the daemon; None when no daemon listens there.

    Raises ConsulguardError when it refuses, does not answer, or may not be spoken to.
    """
    body = msgspec.json.encode({"command": command, "args": args, "who": who})
    connector = UnixConnector(path=str(path))
    try:
        async with (
            ClientSession(connector=connector, timeout=ClientTimeout(total=timeout_s)) as session,
            session.post("http://daemon/v1/command", data=body) as response,
        ):
            answer = msgspec.json.decode(await response.read(), type=dict[str, Any])
    except TimeoutError:
        raise ConsulguardError(f"the daemon did not answer within {timeout_s:g} s") from None
    except (OSError, ClientError, msgspec.DecodeError) as error:
        reason = getattr(error, "errno", None)
        if reason in (errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED):
            return None
        told = os.strerror(reason) if reason else str(error)
        raise ConsulguardError(f"{path}: the daemon cannot be spoken to: {told}") from None
    if "error" in answer:
        raise ConsulguardError(str(answer["error"]))
    return answer
