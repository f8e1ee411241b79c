"""One error tree. Temporary and final are types; foreign errors are translated where they enter the house.

::

    ConsulguardError
    ├── ConfigError            a person's file, flag or environment is wrong; says where and what to do
    │   └── PlaybookError
    ├── Temporary              trying again later may help
    │   ├── ConsulUnavailable      unreachable, 5xx, timeout, no leader
    │   ├── StoreUnavailable
    │   │   ├── StaleEpoch         a newer leader writes the journal
    │   │   ├── StoreSilent            no answer, not even a no
    │   │   └── StoreFull              the disk
    │   ├── LeaseUnavailable       the lock's keeper gave no answer: nobody knows
    │   ├── NotSent                an effect that certainly did not leave
    │   ├── ExportUnavailable      where the journal is exported to does not take it now
    │   └── NotifyUnavailable      a channel did not take the message, or its answer was lost
    └── Final                  trying again is no use
        ├── ConsulRefused          400, 403, 404 where that is an answer
        ├── BadAnswer              a 200 that is not what it claims to be
        ├── StoreCorrupt
        ├── ExportRefused          where the journal is exported to will never take this entry
        ├── LeaseLost              another may hold it now
        ├── NotifyRefused          the channel will never take this message
        └── ActionRefused          params or target are not allowed
"""

from __future__ import annotations

from collections.abc import Mapping


class ConsulguardError(Exception):
    """Root of everything we raise."""

    exit_code = 1


class ConfigError(ConsulguardError):
    """A sentence a person can act on; ``where`` is ``file:line: key`` as far as known."""

    exit_code = 78

    def __init__(self, message: str, *, where: str = "") -> None:
        self.message = message
        self.where = where
        super().__init__(f"{where}: {message}" if where else message)


class PlaybookError(ConfigError):
    """A playbook that cannot be used."""


class Temporary(ConsulguardError):
    """Trying again later may help."""


class ConsulUnavailable(Temporary):
    """Consul did not give data: unreachable, 5xx, timeout. Never to be read as "no checks".

    ``sent`` is False only when the request certainly did not leave (connection refused): for writes that is
    the difference between RETRY and UNKNOWN.
    """

    exit_code = 5

    def __init__(self, message: str, *, status: int = 0, sent: bool = True) -> None:
        self.status = status
        self.sent = sent
        super().__init__(message)


class StoreUnavailable(Temporary):
    """The journal could not be written or read: the outcome of the write is unknown."""


class StaleEpoch(StoreUnavailable):
    """The journal has entries of a newer epoch: another leader writes it now. Nothing was written."""


class StoreSilent(StoreUnavailable):
    """The journal's database has not answered in time: somebody with another way to it may fare better."""


class StoreFull(StoreUnavailable):
    """The journal's disk is short of space: it can be written again when there is room."""


class ExportUnavailable(Temporary):
    """Elasticsearch does not take documents now, or its answer was lost."""


class NotifyUnavailable(Temporary):
    """A channel did not take the message now.

    ``retry_after_s``: wait at least that long, with the whole channel if ``for_all``, else with this message.
    ``ref``, when given, replaces the message's stored reference: what was learned even so.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float = 0.0,
        for_all: bool = True,
        ref: Mapping[str, object] | None = None,
    ) -> None:
        self.retry_after_s = retry_after_s
        self.for_all = for_all
        self.ref = ref
        super().__init__(message)


class LeaseUnavailable(Temporary):
    """Whatever keeps the lease gave no answer: whether it is ours is not known."""


class NotSent(Temporary):
    """The effect was certainly not sent: its intent expired, the lease moved on, or a read before it failed."""


class Final(ConsulguardError):
    """Trying again is no use."""


class ConsulRefused(Final):
    """Consul answered, and the answer is no."""

    exit_code = 5

    def __init__(self, message: str, *, status: int) -> None:
        self.status = status
        super().__init__(message)


class BadAnswer(Final):
    """A 200 whose body is not what it claims to be: stale, never empty."""


class StoreCorrupt(Final):
    """The journal's chain does not hold."""


class ExportRefused(Final):
    """Elasticsearch will never take this document, or nothing from us."""


class LeaseLost(Final):
    """The lease is certainly not ours any more."""


class NotifyRefused(Final):
    """The channel will never take this message; a newer version may fare better."""


class ActionRefused(Final):
    """Params or target are not allowed; nothing was sent."""
