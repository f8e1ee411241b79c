"""Two standing doubts: is there a leader, and does the whole list still agree with what the feeds told us?"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from consulguard.consulapi import Answer, ConsulClient
from consulguard.errors import BadAnswer, ConsulRefused, ConsulUnavailable
from consulguard.model import Status
from consulguard.watch.book import Key, by_key
from consulguard.watch.decode import Check, is_odd, status_of
from consulguard.watch.feed import MAX_CONTACT_MS
from consulguard.watch.health import ODD, HealthFeeds
from consulguard.watch.pace import Backoff, Bucket
from consulguard.watch.settings import WatchSettings
from consulguard.watch.view import ViewKeeper

NOT_PASSING = {"filter": 'Status != "passing"'}
LEADER = "leader"
AUDIT = "audit"
SOON_S = 5.0  # between audits while they decide whether the view is trusted
SOON_TIMEOUT_S = 10.0  # of these: one that hangs at a silent server keeps the trust waiting
PROBE_TIMEOUT_S = 5.0
PROBE_RATE = 2.0  # a second at most, while something fails

Difference = tuple[Key, Status | None, Status | None]  # key, what the audit says, what we say


class LeaderProbe:
    """``/v1/status/leader`` is answered without the leader, so it tells at once when there is none. Asked every
    ``probe_s``, and as soon as anything else fails: a feed's error is borne for a while, a missing leader is not.
    """

    def __init__(self, client: ConsulClient, view: ViewKeeper, settings: WatchSettings) -> None:
        self._client = client
        self._view = view
        self._settings = settings
        self._backoff = Backoff(settings.backoff_min_s, settings.probe_s)
        self._bucket = Bucket(PROBE_RATE, 1)
        self._address = client.address
        self._leader = ""
        self.on_switch: Callable[[str], None] = lambda address: None
        self.on_return: Callable[[], None] = lambda: None  # the probe had failed, and does no longer
        self.on_elected: Callable[[str, str], None] = lambda old, new: None

    async def run(self) -> None:
        was_sound = True
        while True:
            self._view.troubled.clear()
            sound = await self.once()
            if sound and self._client.address != self._address:
                self._address = self._client.address
                self.on_switch(self._address)
            elif sound and not was_sound:
                self.on_return()
            was_sound = sound
            await self._wait(self._settings.probe_s if sound else self._backoff.next())

    async def once(self) -> bool:
        try:
            answer = await self._client.get("/v1/status/leader", timeout_s=PROBE_TIMEOUT_S)
            leader = answer.json(str)
        except (ConsulUnavailable, ConsulRefused, BadAnswer) as error:
            self._view.problem(LEADER, f"leader probe: {error}", grace_s=self._settings.grace_s)
            return False
        if not leader:
            self._view.problem(LEADER, "Consul has no leader: what it shows is frozen")
            return False
        self._backoff.reset()
        self._view.clear(LEADER)
        self._view.alive()
        old, self._leader = self._leader, leader
        if old not in ("", leader):
            self.on_elected(old, leader)
        return True

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._view.troubled.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._bucket.delay())


class Audit:
    """Reads all that is not passing, from any server, and compares. One difference is news on its way; the same
    difference twice is a hole in what the feeds told.
    """

    def __init__(
        self, client: ConsulClient, health: HealthFeeds, view: ViewKeeper, settings: WatchSettings
    ) -> None:
        self._client = client
        self._health = health
        self._view = view
        self._settings = settings
        self._last: set[Difference] | None = None
        self._wake = asyncio.Event()
        self.on_hole: Callable[[int], None] = lambda count: None

    def soon(self) -> None:
        """Audit again now, and as often as it takes to trust the view."""
        self._last = None
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wait()
            if self._health.book.complete:
                await self.once()

    async def once(self) -> None:
        """One audit; a failed one counts for nothing."""
        try:
            answer = await self._client.get(
                "/v1/health/state/any",
                params=NOT_PASSING,
                consistency="stale",
                max_bytes=self._settings.list_bytes,
                timeout_s=SOON_TIMEOUT_S if self._view.audits_left else 60.0,
            )
            known = {key: known.status for key, known in self._health.book.known.items()}
            found, odd = await asyncio.to_thread(_differences, answer, known)
        except (ConsulUnavailable, ConsulRefused, BadAnswer) as error:
            self._view.problem(AUDIT, f"audit: {error}", grace_s=self._settings.grace_s)
            return
        if not _sound(answer):
            return
        self._view.clear(AUDIT)
        self._judge({d for d in found if d[0] not in self._health.book.waiting})
        await self._health.take(ODD, odd)

    def _judge(self, found: set[Difference]) -> None:
        last, self._last = self._last, found
        holes = found & last if last is not None else set()
        if holes:
            self._last = None
            self.on_hole(len(holes))
        elif not found or last is not None:
            self._view.audited(True)

    async def _wait(self) -> None:
        """A jittered ``audit_s``; much less while an audit is what trust waits for."""
        undecided = self._view.audits_left or self._last
        usual = self._settings.audit_s * random.uniform(2 / 3, 4 / 3)
        self._wake.clear()
        try:
            async with asyncio.timeout(min(SOON_S, usual) if undecided else usual):
                await self._wake.wait()
        except TimeoutError:
            pass


def _differences(answer: Answer, known: dict[Key, Status]) -> tuple[set[Difference], list[Check]]:
    """What the answer says otherwise than ``known``, and its checks in states Consul does not define."""
    checks = answer.json(list[Check])
    theirs = {key: status_of(check) for key, check in by_key(checks)[0].items()}
    found = {
        (key, theirs.get(key), known.get(key))
        for key in theirs.keys() | known.keys()
        if theirs.get(key) is not known.get(key) and theirs.get(key) is not Status.UNKNOWN
    }
    return found, [c for c in checks if is_odd(c)]


def _sound(answer: Answer) -> bool:
    fresh = (answer.last_contact_ms or 0) <= MAX_CONTACT_MS
    return answer.known_leader is not False and fresh and not answer.filtered_by_acls
