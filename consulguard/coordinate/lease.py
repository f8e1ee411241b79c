"""What a lease promises, and the part that is the same whatever keeps it: our own clock.

A backend's lock (``Lock``) may believe us dead no sooner than ``valid_s`` seconds after we have *sent* a renewal
that was answered. We give the lease up before that, on a clock that runs on while the process is stopped or the
machine sleeps, so nobody else can hold it while we think we do.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import structlog

from consulguard.clock import Clock
from consulguard.errors import ConfigError, LeaseLost, LeaseUnavailable
from consulguard.events import LeaseChanged
from consulguard.model import Value

MARGIN_S = 1.0  # given up this much earlier: clocks of two machines do not run at quite the same rate
SENDING = 0.25  # of the whole time: with less left nothing is sent any more
RETRY_S = 1.0  # between two tries of a renewal that had no answer
ANSWER_S = 5.0  # one call to the backend
log = structlog.get_logger("consulguard.coordinate")


class LeaseSettings(Value, frozen=True, kw_only=True):
    """What every backend is told. ``name`` is for people: who holds it."""

    name: str
    key: str = "consulguard/leader"
    units: tuple[str, ...] = ()  # that this replica runs, by name: what a member tells the others
    ttl_s: float = 0.0  # 0: the backend's own
    hosts: tuple[str, ...] = ()  # ZooKeeper
    namespace: str = ""  # Kubernetes; empty: the pod's own
    kubeconfig: str = ""  # Kubernetes; empty: the pod's own service account
    epoch_offset: int = 0  # added to every epoch: after a move to a backend that counts lower


class Lease(ABC):
    """Says when this process may act. An epoch is a number that rises with every holder, never falls."""

    @abstractmethod
    def changes(self, last_epoch: int) -> AsyncIterator[LeaseChanged]:
        """Every change from now on: a new life holds nothing. ``last_epoch`` is the newest in the journal."""

    def sends(self) -> bool:
        """Whether an effect may leave at this very moment."""
        return True


class Lock(ABC):
    """One backend. Every method may raise ``LeaseUnavailable``: nobody knows, ask again.

    ``valid_s``: how long after the send of an answered ``take`` or ``renew`` nobody else can have it.
    """

    valid_s: float
    renew_s: float  # between two renewals

    @abstractmethod
    async def take(self) -> int | None:
        """One try: our epoch, or None while another holds it."""

    @abstractmethod
    async def renew(self) -> None:
        """Raises ``LeaseLost`` when it is certainly not ours any more."""

    @abstractmethod
    async def release(self) -> None:
        """Give it back, so that the next one need not wait. Nothing where we do not hold it."""

    @abstractmethod
    async def wait(self) -> None:
        """Return when another ``take`` may be worth it; after a second or two at the latest where nobody tells."""

    @abstractmethod
    async def holder(self) -> str:
        """The name of who holds it, for people; empty: nobody does."""

    @abstractmethod
    async def read_note(self) -> bytes | None:
        """What the holders keep beside the lock. It outlives them."""

    @abstractmethod
    async def write_note(self, note: bytes) -> None:
        """Only the holder writes it."""

    @abstractmethod
    async def close(self) -> None:
        """Never raises; a lease still held is released if that goes quickly."""

    def lost_reason(self) -> str:
        """Why the backend itself has told us that it is over; empty: it has not."""
        return ""


class SharedLease(Lease):
    """A lock that is renewed while it is held and given up by our own clock.

    ``gain`` waits for it, ``kept`` renews it in the background, ``lost`` is set when it is over for whatever
    reason, ``release`` gives it back. Once over it is never ours again without another ``gain``.
    """

    def __init__(self, lock: Lock, clock: Clock, *, offset: int = 0) -> None:
        self.lock = lock
        self.lost = asyncio.Event()
        self.reason = ""
        self.epoch = 0  # of the last time it was gained
        self._clock = clock
        self._offset = offset
        self._until = 0.0  # on the monotonic clock; 0: not held

    def holds(self) -> bool:
        """By our own clock, now. False after a pause that was too long, before anything else has run."""
        return self._clock.monotonic() < self._until and not self.lost.is_set()

    def sends(self) -> bool:
        """Held, and with enough time left for what leaves now to arrive."""
        early = self._clock.monotonic() < self._until - self.lock.valid_s * SENDING
        return self.holds() and early and not self.lock.lost_reason()

    async def gain(self, wanted: Callable[[], bool] = lambda: True) -> int:
        """Wait until it is ours; the epoch. Raises ConfigError where the backend cannot be used at all.

        ``wanted``: whether to try for it now, looked at before each try.
        """
        self.lost.clear()
        while True:
            if not wanted():
                await asyncio.sleep(RETRY_S)
            elif await self._try():
                break
            else:
                await self.lock.wait()
        log.info("lease_gained", epoch=self.epoch)
        return self.epoch

    async def _try(self) -> bool:
        sent = self._clock.monotonic()
        try:
            async with asyncio.timeout(ANSWER_S * 2):
                epoch = await self.lock.take()
        except (LeaseUnavailable, TimeoutError) as error:
            log.warning("lease_backend_unavailable", reason=str(error) or "no answer")
            return False
        if epoch is None:
            return False
        self.epoch, self.reason = epoch + self._offset, ""
        self._until = sent + self.lock.valid_s - MARGIN_S
        return self.holds()

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew until the block is left; it is released then."""
        task = asyncio.create_task(self._keep(), name="lease-renewal")
        try:
            yield
        finally:
            task.cancel()
            if not self.holds():
                self.lost.set()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self.release()

    async def release(self) -> None:
        """Give it back. Where that fails it runs out by itself."""
        if self.holds():
            log.info("lease_released", epoch=self.epoch)
        self._until = 0.0
        try:
            async with asyncio.timeout(ANSWER_S):
                await self.lock.release()
        except (LeaseLost, LeaseUnavailable, TimeoutError) as error:
            log.warning("lease_not_released", reason=str(error) or "no answer")

    async def changes(self, last_epoch: int) -> AsyncIterator[LeaseChanged]:
        """Held, with the epoch it was gained with; then lost.

        Raises ConfigError when the epoch does not rise above the journal's: the journal would take nothing.
        """
        if self.epoch <= last_epoch:
            raise ConfigError(
                f"the lease gives epoch {self.epoch}, but the journal has been written in epoch {last_epoch}: the"
                " lock store was replaced, restored or exchanged for another kind; set coordinate.epoch_offset to"
                f" at least {last_epoch - self.epoch + self._offset + 1}, the same for all replicas",
                where="coordinate",
            )
        if self.holds():
            yield LeaseChanged(at=self._now(), held=True, epoch=self.epoch, reason="the lease was gained")
            await self.lost.wait()
        yield LeaseChanged(at=self._now(), held=False, epoch=self.epoch, reason=self.reason or "the lease ran out")

    async def _keep(self) -> None:
        reason = "no renewal was answered in time"
        while self.holds():
            await self._rest(self.lock.renew_s)
            if told := self.lock.lost_reason():
                reason = told
                break
            try:
                while self.holds() and not await self._renewed():
                    await self._rest(RETRY_S)
            except LeaseLost as error:
                reason = str(error)
                break
        self._until, self.reason = 0.0, reason
        log.warning("lease_lost", epoch=self.epoch, reason=reason)
        self.lost.set()

    async def _rest(self, seconds: float) -> None:
        """Sleep, but not beyond our time, nor beyond what the backend tells."""
        end = min(self._clock.monotonic() + seconds, self._until)
        while self._clock.monotonic() < end and not self.lock.lost_reason():
            await asyncio.sleep(min(0.2, max(0.0, end - self._clock.monotonic())))

    async def _renewed(self) -> bool:
        """One renewal. An answer that comes after our time has run out does not bring it back."""
        sent = self._clock.monotonic()
        try:
            async with asyncio.timeout(min(ANSWER_S, max(0.0, self._until - sent))):
                await self.lock.renew()
        except (LeaseUnavailable, TimeoutError) as error:
            log.warning("lease_not_renewed", reason=str(error) or "no answer")
            return False
        if self.holds():
            self._until = sent + self.lock.valid_s - MARGIN_S
        return True

    def _now(self) -> datetime:
        return self._clock.now()
