"""The journal as its one thread sees it: connection, lock, mark, and whether it may still be used."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from consulguard.errors import StaleEpoch, StoreCorrupt, StoreFull, StoreUnavailable
from consulguard.journal import chain, db, outbox, rows
from consulguard.journal.lock import FileLock
from consulguard.journal.mark import mark_path, read_mark, write_mark
from consulguard.journal.store import Draft, JournalSettings, Mark
from consulguard.model import Entry, Message

T = TypeVar("T")


class Session:
    """Not thread-safe: every method but ``path`` and ``behind`` belongs on the store's thread."""

    def __init__(
        self, path: Path, channels: tuple[str, ...], settings: JournalSettings, *, readonly: bool
    ) -> None:
        self.path = path
        self.behind = ""
        self._channels = channels
        self._settings = settings
        self._readonly = readonly
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._con: sqlite3.Connection | None = None
        self._broken: StoreUnavailable | StoreCorrupt | None = None
        self._last = (0, chain.GENESIS)
        self._marked: tuple[int, str] | None = None

    def open(self) -> None:
        """Take the lock, connect, check the chain from the newest snapshot on, compare with the mark."""
        try:
            if self._readonly:
                self._con = db.connect_readonly(self.path, busy_s=self._settings.busy_s)
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
                self._gate("open")
                self._con = db.connect(self.path, busy_s=self._settings.busy_s)
                self._last = self._check_tail(self._con)
            self._broken, self._marked = None, None
            self.behind = self._compare(self._con)
            self.write_mark()
        except BaseException as error:
            self.abandon()
            if isinstance(error, db.SAID_BY_SQLITE):
                raise db.plainly(error, f"open {self.path}") from error
            if isinstance(error, OSError):
                raise StoreUnavailable(f"open {self.path}: {error.strerror or error}") from error
            raise

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

    def abandon(self) -> None:
        """Let go of connection and lock, whatever their state."""
        self._drop_connection()
        self._lock.release()
        self._marked = self._last = (0, chain.GENESIS)

    def run(self, work: Callable[[sqlite3.Connection], T], doing: str, *, write: bool = False) -> T:
        """``work`` in one transaction. An error of SQLite ends the use of this session."""
        con = self._usable(doing, write)
        try:
            with db.transaction(con, write=write):
                return work(con)
        except db.SAID_BY_SQLITE as error:
            said = db.plainly(error, doing)
            self._break(said)
            raise said from error

    def append(self, drafts: Sequence[Draft], messages: Sequence[Message]) -> int:
        """One commit. What came last is remembered only when the commit was acknowledged."""
        self._gate("append")
        entries = chain.link(*self._last, drafts)

        def work(con: sqlite3.Connection) -> None:
            self.fence(con, entries)
            rows.insert(con, entries)
            outbox.put(con, self._channels, messages, self._settings)

        self.run(work, "append", write=True)
        if entries:
            self._last = (entries[-1].seq, entries[-1].hash)
        return self._last[0]

    def fence(self, con: sqlite3.Connection, entries: Sequence[Entry]) -> None:
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

    def _usable(self, doing: str, write: bool) -> sqlite3.Connection:
        if self._broken:
            kind = StoreFull if isinstance(self._broken, StoreFull) else StoreUnavailable
            raise kind(f"{doing}: the journal must be reopened after an earlier failure ({self._broken})")
        if self._con is None:
            raise StoreUnavailable(f"{doing}: the journal {self.path} is not open")
        if write and self._readonly:
            raise StoreUnavailable(f"{doing}: the journal {self.path} was opened to read only")
        return self._con

    def _break(self, reason: StoreUnavailable | StoreCorrupt) -> None:
        """Nothing is read either: the failed connection may show rows that were never committed."""
        if not self._readonly:
            self._broken = reason
            self._drop_connection()

    def _drop_connection(self) -> None:
        con, self._con = self._con, None
        if con is not None:
            con.close()

    def _gate(self, doing: str) -> None:
        """Refuse while there is still room to say so, and to write down what was told."""
        try:
            disk = os.statvfs(self.path.parent)
        except OSError as error:
            raise StoreUnavailable(f"{doing}: {error}") from error
        free = disk.f_bavail * disk.f_frsize
        if free < self._settings.free_space:
            raise StoreFull(
                f"{doing}: {free >> 10} KiB are left on the disk of {self.path}, less than the"
                f" {self._settings.free_space >> 10} KiB to be kept free; nothing was written"
            )

    def _check_tail(self, con: sqlite3.Connection) -> tuple[int, str]:
        """Follow the chain from the newest snapshot (else the base) to the end.

        What lies before was followed when it was replayed into that snapshot; ``verify`` follows it all.
        """
        with db.transaction(con, write=False):
            snapshot = rows.newest_snapshot(con)
            after = snapshot[0] if snapshot else 0
            while True:
                chunk = rows.read(con, after, self._settings.chunk)
                if not chunk:
                    return rows.last(con)
                after = chunk[-1].seq

    def _compare(self, con: sqlite3.Connection) -> str:
        try:
            mark = self.read_mark()  # before the journal: a running writer moves the journal first
        except ValueError as error:
            return str(error)
        with db.transaction(con, write=False):
            return rows.behind(con, mark)
