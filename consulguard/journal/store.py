"""What a journal promises, whatever keeps it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from consulguard.model import Entry, JsonObject, Message, OutboxRow, StillOpen, Value

BODY_VERSION = 1  # of the bodies' encoding; what holds a newer one is read, and never written to


class Draft(Value, frozen=True, kw_only=True):
    """An entry before it has its place in the chain. ``version`` is that of the body's encoding."""

    at: datetime
    kind: str  # event, intent, message, mark
    body: bytes
    epoch: int = 0
    version: int = BODY_VERSION


class Mark(Value, frozen=True, kw_only=True):
    """The high-water mark: the newest entry known to be durable, kept outside the journal's own file."""

    seq: int
    hash: str


class Report(Value, frozen=True, kw_only=True):
    """The outcome of a full check. ``first_bad_seq`` is 0 where no single entry is to blame."""

    ok: bool
    entries: int
    first_bad_seq: int = 0
    reason: str = ""
    mark: Mark | None = None


class JournalSettings(Value, frozen=True, kw_only=True):
    free_space: int = 64 * 1024 * 1024  # bytes; with less left on the disk nothing more is appended
    mark_every_s: float = 1.0  # the mark is at most this much older than the journal
    busy_s: float = 5.0  # how long SQLite waits for another connection's lock
    answer_s: float = 15.0  # PostgreSQL is silent: connecting and shutting its last writer out take 5 s each
    chunk: int = 500  # entries read from disk at once
    outbox_pending: int = 1000  # keys waiting per channel; beyond it the oldest resolved one is dropped
    outbox_kept: int = 12_000  # told or failed keys kept per channel, so that their messages can be edited
    thread_lines: int = 500  # lines waiting for one key's thread; beyond it the oldest are left out


class Store(Protocol):
    """An append-only, hash-chained record of everything decided, with snapshots and an outbox.

    Every method may raise ``StoreUnavailable``. After a failed write the outcome is unknown: the store takes no
    more writes until it is closed, opened and replayed.
    """

    @property
    def behind(self) -> str:
        """Why the journal has lost entries it once acknowledged; empty when it has not."""
        ...

    async def open(self) -> None:
        """Take the journal for this process and check it. Raises ``StoreCorrupt`` when the chain does not hold."""
        ...

    async def close(self) -> None: ...

    def abandon(self) -> None:
        """Let go of it without waiting, also for what is being read: for who only reads."""
        ...

    async def append(self, drafts: Sequence[Draft], outbox: Sequence[Message] = ()) -> int:
        """Write all of it in one commit; returns the last entry's sequence number.

        Raises ``StaleEpoch``, with nothing written, when an epoch is lower than that of the entry before.
        """
        ...

    def entries(self, after: int = 0, limit: int | None = None) -> AsyncIterator[Entry]:
        """Entries with a greater sequence number than ``after``, oldest first, the chain checked on the way."""
        ...

    async def save_snapshot(self, seq: int, body: bytes) -> None:
        """Keep the state as it was after entry ``seq``."""
        ...

    async def load_snapshot(self) -> tuple[int, bytes] | None:
        """The newest sound snapshot."""
        ...

    async def outbox_due(self, channel: str, limit: int) -> list[OutboxRow]:
        """Rows waiting, soonest first. One with a ``retry_at`` in the future is not due yet."""
        ...

    async def outbox_sent(
        self, row: OutboxRow, ref: JsonObject, *, lines: int | None = None, done: bool = True
    ) -> None:
        """``row`` was told, with its first ``lines`` thread lines (None: all of them)."""
        ...

    async def outbox_failed(
        self, row: OutboxRow, reason: str, retry_at: datetime | None, ref: JsonObject | None = None
    ) -> None:
        """``row`` was not told. ``retry_at`` None: not to be tried again before a newer version."""
        ...

    async def outbox_open(self, channel: str, board: str, most: int) -> StillOpen:
        """What still fails, as far as this channel is concerned: the first ``most``, and the row ``board``."""
        ...

    async def outbox_crowd(self, channel: str, keep: int, now: datetime) -> list[OutboxRow]:
        """Incidents nobody was told of and that ask nobody, where more than ``keep`` wait; else nothing.

        One that is held at ``now`` does not wait.
        """
        ...

    async def outbox_add(
        self,
        channel: str,
        message: Message,
        *,
        folded: Sequence[OutboxRow] = (),
        not_before: datetime | None = None,
    ) -> None:
        """One more message for this channel alone, in one commit with what it tells for ``folded``.

        A folded row that changed meanwhile stays. It is told by itself with its next news, unless that is its end.
        """
        ...

    async def outbox_counts(self) -> Mapping[str, int]:
        """Rows by ``channel/state``, and ``dropped``: rows given up for room, ever."""
        ...

    async def verify(self) -> Report:
        """Check every entry, the snapshots and the mark."""
        ...

    async def compact(self, keep_after_seq: int) -> int:
        """Forget entries up to ``keep_after_seq`` that no kept snapshot needs; returns how many."""
        ...

    async def accept(self, seq: int) -> None:
        """A person accepts the journal as it stands, ending at ``seq``, though it is behind its mark."""
        ...

    async def last(self) -> tuple[int, str]:
        """Sequence number and hash of the newest entry; (0, the genesis hash) when there is none."""
        ...
