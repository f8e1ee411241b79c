"""The lease of an installation with one replica: always held. No high availability."""

from __future__ import annotations

from collections.abc import AsyncIterator

from consulguard.clock import Clock
from consulguard.events import LeaseChanged


class SingleLease:
    """Held from start to end. The epoch is given by the journal: one more than the last life's."""

    def __init__(self, clock: Clock, epoch: int) -> None:
        self._clock = clock
        self._epoch = epoch

    async def changes(self) -> AsyncIterator[LeaseChanged]:
        """One event: held."""
        yield LeaseChanged(at=self._clock.now(), held=True, epoch=self._epoch, reason="single replica")

    def epoch(self) -> int:
        """The epoch an intent must carry to be sent, 0 when the lease is not held."""
        return self._epoch
