"""What a lease backend promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from consulguard.events import LeaseChanged


class Lease(ABC):
    """Says when this process may act. An epoch is a number that rises with every holder, never falls."""

    @abstractmethod
    def changes(self, last_epoch: int) -> AsyncIterator[LeaseChanged]:
        """Every change from now on: a new life holds nothing. ``last_epoch`` is the newest in the journal."""
