"""The journal as its one thread sees it, whatever keeps it: connection, mark, and whether it may still be used."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TypeVar

from consulguard.errors import StaleEpoch, StoreCorrupt, StoreFull, StoreSilent, StoreUnavailable
from consulguard.journal import chain, outbox, rows
from consulguard.journal.mark import mark_path, read_mark, write_mark
from consulguard.journal.store import Draft, JournalSettings, Mark
from consulguard.journal.tables import Tables
from consulguard.model import Entry, Message

T = TypeVar("T")


class BaseSession(ABC):
    """Not thread-safe: every method but ``path``, ``behind`` and ``break_off`` belongs on the store's thread.

    ``path``: where the mark lies beside, and for SQLite the journal itself. ``said``: the errors of the database.
    """

    said: tuple[type[Exception], ...]
    answer_s: float | None = None  # what waits for the database for longer is broken off

    def __init__(
        self, path: Path, channels: tuple[str, ...], settings: JournalSettings, *, readonly: bool
    ) -> None:
        self.path = path
        self.behind = ""
        self._channels = channels
        self._settings = settings
        self._readonly = readonly
        self._con: Tables | None = None
        self.off = False  # nobody waits any more: set by ``break_off``, unset by whoever opens it
        self._broken: StoreUnavailable | StoreCorrupt | None = None
        self._last = (0, chain.GENESIS)
        self._marked: tuple[int, str] | None = None

    @property
    def name(self) -> str:
        """For sentences about it."""
        return str(self.path)

    def open(self) -> None:
        """Take it, connect, check the chain from the newest snapshot on, compare with the mark, or let go."""
        with ExitStack() as undo:
            undo.callback(self.abandon)
            self._open()
            undo.pop_all()

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def abandon(self) -> None:
        """Let go of everything, whatever its state."""

    @abstractmethod
    def break_off(self) -> None:
        """Whatever waits for the database ends in an error, also what begins to. From any thread."""

    @abstractmethod
    def integrity(self, con: Tables) -> str:
        """Empty when the database finds itself sound, else its first finding."""

    @abstractmethod
    def shrink(self, con: Tables) -> bool:
        """Give some unused room back; whether there is more."""

    @abstractmethod
    def _transaction(self, con: Tables, *, write: bool) -> AbstractContextManager[None]:
        """All or nothing; for a reader, one moment of the journal."""

    @abstractmethod
    def _plainly(self, error: Exception, doing: str) -> StoreUnavailable | StoreCorrupt:
        """The same in our words."""

    @abstractmethod
    def _gate(self, doing: str) -> None:
        """Raise where nothing should be written now."""

    @abstractmethod
    def _drop_connection(self) -> None: ...

    def close(self) -> None:
        """Raises ``StoreUnavailable`` when the mark cannot be written, with everything released all the same."""
        usable = self._con is not None
        try:
            self.write_mark()
        except StoreUnavailable:
            if usable:
                raise
        finally:
            self.abandon()

    def run(self, work: Callable[[Tables], T], doing: str, *, write: bool = False) -> T:
        """``work`` in one transaction. An error of the database ends the use of this session."""
        con = self._usable(doing, write)
        try:
            with self._transaction(con, write=write):
                return work(con)
        except self.said as error:
            said = self._plainly(error, doing)
            self._break(said)
            raise said from error

    def append(self, drafts: Sequence[Draft], messages: Sequence[Message]) -> int:
        """One commit. What came last is remembered only when the commit was acknowledged."""
        self._gate("append")
        entries = chain.link(*self._last, drafts)

        def work(con: Tables) -> None:
            self.fence(con, entries)
            rows.insert(con, entries)
            outbox.put(con, self._channels, messages, self._settings)

        self.run(work, "append", write=True)
        if entries:
            self._last = (entries[-1].seq, entries[-1].hash)
        return self._last[0]

    def fence(self, con: Tables, entries: Sequence[Entry]) -> None:
        """Looked at in the commit itself: raises ``StaleEpoch`` where the epochs would fall."""
        newest = rows.newest_epoch(con)
        for entry in entries:
            if entry.epoch < newest:
                raise StaleEpoch(
                    f"append: an entry of epoch {entry.epoch} comes after one of epoch {newest}:"
                    " a newer leader writes this journal; nothing was written"
                )
            newest = entry.epoch

    def read_mark(self) -> Mark | None:
        """Raises ``ValueError`` when the mark cannot be understood."""
        try:
            return read_mark(mark_path(self.path))
        except OSError as error:
            raise StoreUnavailable(f"read the mark: {error}") from error

    def write_mark(self) -> None:
        """Never while the journal is behind: the old mark is the evidence. Raises ``StoreUnavailable``."""
        if self._readonly or self.behind or self._marked == self._last:
            return
        try:
            write_mark(mark_path(self.path), Mark(seq=self._last[0], hash=self._last[1]))
        except OSError as error:
            kind = StoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreUnavailable
            raise kind(f"write the journal's mark: {error.strerror or error}") from error
        self._marked = self._last

    def mark_or_break(self) -> None:
        """As ``write_mark``; a failure shows at the next use."""
        try:
            self.write_mark()
        except StoreUnavailable as error:
            self._break(error)

    def accept(self) -> None:
        """The mark becomes the journal's end, whatever it was."""
        self._usable("accept", True)
        self.behind, self._marked = "", None
        self.write_mark()

    def _usable(self, doing: str, write: bool) -> Tables:
        if self._broken:
            why = self._broken
            kind = type(why) if isinstance(why, StoreFull | StoreSilent) else StoreUnavailable
            raise kind(f"{doing}: the journal must be reopened after an earlier failure ({why})")
        if self._con is None:
            raise StoreUnavailable(f"{doing}: the journal {self.name} is not open")
        if write and self._readonly:
            raise StoreUnavailable(f"{doing}: the journal {self.name} was opened to read only")
        return self._con

    def _break(self, reason: StoreUnavailable | StoreCorrupt) -> None:
        """Nothing is read either: the failed connection may show rows that were never committed."""
        if not self._readonly:
            self._broken = reason
            self._drop_connection()

    def _check_tail(self, con: Tables) -> tuple[int, str]:
        """Follow the chain from the newest snapshot (else the base) to the end.

        What lies before was followed when it was replayed into that snapshot; ``verify`` follows it all.
        """
        with self._transaction(con, write=False):
            snapshot = rows.newest_snapshot(con)
            after = snapshot[0] if snapshot else 0
            while True:
                chunk = rows.read(con, after, self._settings.chunk)
                if not chunk:
                    rows.refuse_newer(con, self.name)
                    return rows.last(con)
                after = chunk[-1].seq

    def _compare(self, con: Tables) -> str:
        try:
            mark = self.read_mark()  # before the journal: a running writer moves the journal first
        except ValueError as error:
            return str(error)
        with self._transaction(con, write=False):
            return rows.behind(con, mark)
