"""The lease of an installation with one replica: held from start to end. No high availability."""

from __future__ import annotations

from collections.abc import AsyncIterator

from consulguard.clock import Clock
from consulguard.coordinate.lease import Lease
from consulguard.events import LeaseChanged


class SingleLease(Lease):
    """Each life has an epoch of its own: one more than the last one in the journal."""

    def __init__(self, clock: Clock, *_: object) -> None:
        self._clock = clock

    async def changes(self, last_epoch: int) -> AsyncIterator[LeaseChanged]:
        yield LeaseChanged(at=self._clock.now(), held=True, epoch=last_epoch + 1, reason="single replica")
