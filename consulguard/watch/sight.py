"""May our token see everything? On older servers a lack of rights looks like an empty mesh."""

from __future__ import annotations

import asyncio
import secrets

import msgspec

from consulguard.clock import Clock
from consulguard.consulapi import ConsulClient
from consulguard.errors import BadAnswer, ConsulRefused, ConsulUnavailable
from consulguard.watch.settings import WatchSettings
from consulguard.watch.view import ViewKeeper

SOURCE = "acl"
FRESH_S = 10.0  # an answer this young still counts when an absence is to be believed
UNSUPPORTED = (400, 401, 404, 405)  # ACLs are off, or the server does not have the endpoint


class Verdict(msgspec.Struct):
    Resource: str
    Access: str
    Allow: bool = False


class Sight:
    """Asks Consul (read-only) whether a node and a service of random name could be read."""

    def __init__(self, client: ConsulClient, clock: Clock, view: ViewKeeper, settings: WatchSettings) -> None:
        self._client = client
        self._clock = clock
        self._view = view
        self._settings = settings
        self._asked_at: float | None = None
        self._clear = True
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        while True:
            await self.ask()
            retry_s = self._settings.acl_probe_s if self._clear else self._settings.forbidden_retry_s
            await asyncio.sleep(retry_s)

    async def may_see(self) -> bool:
        """Whether what is missing from an answer is really missing; asks anew if the last answer is old."""
        if not self._settings.acl_probe:
            return True
        async with self._lock:
            now = self._clock.monotonic()
            if self._asked_at is None or now - self._asked_at > FRESH_S:
                await self.ask()
            return self._clear

    async def ask(self) -> None:
        """One probe; its outcome is the view's."""
        name = f"consulguard-probe-{secrets.token_hex(4)}"
        wanted = [{"Resource": kind, "Access": "read", "Segment": name} for kind in ("node", "service")]
        try:
            answer = await self._client.send("POST", "/v1/internal/acl/authorize", json=wanted)
            verdicts = answer.json(list[Verdict])
        except ConsulRefused as error:
            self._clear = error.status in UNSUPPORTED
            if not self._clear:
                self._view.problem(SOURCE, f"acl: {error}")
        except (ConsulUnavailable, BadAnswer):
            self._clear = False  # not known now; the feeds tell the view why
            return
        else:
            denied = [v.Resource for v in verdicts if not v.Allow]
            self._clear = not denied
            if denied:
                self._view.problem(SOURCE, f"acl: the token may not read every {' and every '.join(denied)}")
        self._asked_at = self._clock.monotonic()
        if self._clear:
            self._view.clear(SOURCE)
