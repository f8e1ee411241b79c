"""The one loop of blocking queries. Every feed is a ``Source`` that this loop keeps asking."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from typing import TypeVar

import msgspec
import structlog

from consulguard.consulapi import Answer, ConsulClient
from consulguard.errors import BadAnswer, ConsulguardError, ConsulRefused, ConsulUnavailable
from consulguard.watch.pace import Backoff, Bucket
from consulguard.watch.settings import WatchSettings
from consulguard.watch.view import ViewKeeper

T = TypeVar("T")
RETRY_S = 15.0  # after a bug, before its loop is started again
log = structlog.get_logger("consulguard.watch")
MAX_CONTACT_MS = 5000  # a follower that has not heard from its leader for longer shows frozen states


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What a feed asks, and who takes the answers. ``apply`` gets only bodies that differ from the last one."""

    name: str  # as people read it in the view's reasons
    path: str
    apply: Callable[[Answer], Awaitable[None]]
    params: Mapping[str, str] = {}
    rate: float = 1.0  # reads a second at most, once ``burst`` is used up
    quick_rate: float = 0.0  # the same after news in a body no larger than settings.quick_bytes; 0: no difference
    big_rate: float = 0.0  # the same while the body is larger than settings.big_bytes; 0: no difference
    burst: int = 2
    essential: bool = True  # False: a refusal is told, but costs no trust
    missing_ok: bool = False  # a 404 means "nothing there"
    woke: Callable[[], None] | None = None  # a new index with the same body


class Feed:
    """Keeps one source current. Errors never become data: index and last body stay as they are."""

    def __init__(
        self,
        source: Source,
        client: ConsulClient,
        view: ViewKeeper,
        settings: WatchSettings,
        resync: Callable[[str], Awaitable[None]],
    ) -> None:
        self.source = source
        self.index = 0
        self._client = client
        self._view = view
        self._settings = settings
        self._resync = resync
        self._digest = b""
        self._waits = False  # the last answer without news came after the whole wait
        self._agent = ""  # that gave the last answer
        self._generation = 0  # of resets: an answer to a question from before a reset moves nothing
        self._whole = False  # an answer without the filtered mark has been seen
        self._scope: asyncio.Timeout | None = None
        self._bucket = Bucket(source.rate, source.burst)
        self._backoff = Backoff(settings.backoff_min_s, settings.backoff_max_s)

    async def run(self) -> None:
        while True:
            await self.turn()

    def reset(self) -> None:
        """Forget the index: the next answer is taken whole."""
        self.index, self._digest = 0, b""
        self._generation += 1
        self.nudge()

    def nudge(self) -> None:
        """Ask again now: another agent or leader has taken over, or a pause has lost its reason."""
        self._bucket.refill()
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(0)

    async def turn(self) -> None:
        """One look: wait for its turn, ask, take the answer or the blow."""
        if (delay := self._bucket.delay()) > 0:
            await self._pause(delay)
        generation, index, wait_s = self._generation, self.index, self._view.wait_s
        began = asyncio.get_running_loop().time()
        try:
            answer = await self._unless_nudged(self._ask(wait_s))
            if answer is None:
                return
            took_s = asyncio.get_running_loop().time() - began
            if index and answer.index == index and self._is_restored(took_s, wait_s):
                await self._resync(f"{self.source.name}: Consul's state was replaced: a snapshot was restored")
            else:
                await self._take(answer, generation)
        except ConsulRefused as error:
            await self._refused(error)
        except (ConsulUnavailable, BadAnswer) as error:
            await self._failed(error)

    def _is_restored(self, took_s: float, wait_s: float) -> bool:
        """Of an answer that says nothing new: a wait that ends early means that the server has thrown away what it
        watched, and asked with the old index again would stay blind. Only a server known to wait is judged by it.
        """
        whole, known = took_s >= wait_s * 0.95, self._waits
        self._waits = whole
        return known and not whole

    def _ask(self, wait_s: float) -> Awaitable[Answer]:
        return self._client.get(
            self.source.path,
            params=self.source.params,
            index=self.index,
            wait_s=wait_s,
            max_bytes=self._settings.list_bytes,
            missing_ok=self.source.missing_ok,
        )

    async def _take(self, answer: Answer, generation: int) -> None:
        name = self.source.name
        if self._agent not in ("", answer.address):
            self._view.troubled.set()
        self._agent = answer.address
        if answer.index is None:
            self.index = 0
            self._view.unsettle()
            raise BadAnswer(f"no usable X-Consul-Index: {answer.headers.get('X-Consul-Index', '')!r}")
        if answer.known_leader is False or (answer.last_contact_ms or 0) > MAX_CONTACT_MS:
            self._view.problem(name, f"{name}: the answer is frozen: the server has no contact with a leader")
            await self._pause(1.0)
            return
        index = max(1, answer.index)
        if index < self.index:
            await self._resync(f"{name}: the index went back from {self.index} to {index}")
            return
        if index != self.index:
            digest = await self._compare(answer)
            if generation == self._generation:
                self.index, self._digest = index, digest
        else:  # a server that does not wait must not be asked at the pace of news
            self._bucket.rate = self._pace(len(answer.body), news=False)
        self._backoff.reset()
        self._view.good(name)

    async def _compare(self, answer: Answer) -> bytes:
        """Hand the body on if it is another one; an ACL-filtered one never replaces a whole one.

        Returns the digest of the body that is in force.
        """
        name = self.source.name
        if answer.filtered_by_acls:
            self._view.problem(f"{name} filtered", f"{name}: Consul left results out for lack of ACL rights")
            if self._whole:
                return self._digest
        else:
            self._whole = True
            self._view.clear(f"{name} filtered")
        digest = blake2b(answer.body, digest_size=16).digest()
        if digest != self._digest:
            await self.source.apply(answer)
        elif self.source.woke is not None:
            self.source.woke()
        self._bucket.rate = self._pace(len(answer.body), news=digest != self._digest)
        return digest

    def _pace(self, size: int, *, news: bool) -> float:
        """News is worth being quick for; a set that is empty wakes us on every write, which is none."""
        source, settings = self.source, self._settings
        if size > settings.big_bytes:
            return source.big_rate or source.rate
        if news and size <= settings.quick_bytes:
            return source.quick_rate or source.rate
        return source.rate

    async def _refused(self, error: ConsulRefused) -> None:
        """A no is not "nothing there": what the feed would say is unknown now."""
        name = self.source.name
        tell = self._view.problem if self.source.essential else self._view.note
        tell(name, f"{name}: {error}")
        await self._pause(self._settings.forbidden_retry_s)

    async def _failed(self, error: ConsulguardError) -> None:
        name = self.source.name
        self._view.problem(name, f"{name}: {error}", grace_s=self._settings.grace_s)
        self._bucket.refill()  # it spares the server large answers; errors are small, and have their own pace
        await self._pause(self._backoff.next())

    async def _pause(self, seconds: float) -> bool:
        """Sleep; False when nudged out of it."""
        return await self._unless_nudged(asyncio.sleep(seconds, True)) is not None

    async def _unless_nudged(self, work: Awaitable[T]) -> T | None:
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scope = scope
                return await work
        except TimeoutError:
            if not scope.expired():
                raise
            return None
        finally:
            self._scope = None


async def door(view: ViewKeeper, name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Run one of the watcher's loops. The only broad except of this room: a bug in one loop costs the view its
    trust, not the house its eyes.
    """
    source = f"internal {name}"
    while True:
        try:
            return await loop()
        except Exception as error:
            log.exception("watch_loop_failed", loop=name)
            view.problem(source, f"{name}: internal error: {type(error).__name__}: {error}")
        await asyncio.sleep(RETRY_S)
        view.clear(source)
