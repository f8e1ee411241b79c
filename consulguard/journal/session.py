"""A SQLite journal as its one thread sees it: the file, its lock, and the room on its disk."""

from __future__ import annotations

import os
import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

from consulguard.errors import StoreCorrupt, StoreFull, StoreUnavailable
from consulguard.journal import chain, db
from consulguard.journal.base import BaseSession
from consulguard.journal.lock import FileLock
from consulguard.journal.store import JournalSettings
from consulguard.journal.tables import Tables

_AT_ONCE = 5000  # pages given back per commit: the journal stays free for appends in between


class Session(BaseSession):
    """Holds the lock on the file while it is open to write."""

    said = db.SAID_BY_SQLITE

    def __init__(
        self, path: Path, channels: tuple[str, ...], settings: JournalSettings, *, readonly: bool
    ) -> None:
        super().__init__(path, channels, settings, readonly=readonly)
        self._lock = FileLock(path.with_name(path.name + ".lock"))

    def _open(self) -> None:
        try:
            if self._readonly:
                self._con = con = db.connect_readonly(self.path, busy_s=self._settings.busy_s)
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
                self._gate("open")
                self._con = con = db.connect(self.path, busy_s=self._settings.busy_s)
                self._last = self._check_tail(con)
            self._broken, self._marked = None, None
            self.behind = self._compare(con)
            self.write_mark()
        except self.said as error:
            raise self._plainly(error, f"open {self.path}") from error
        except OSError as error:
            raise StoreUnavailable(f"open {self.path}: {error.strerror or error}") from error

    def abandon(self) -> None:
        """Let go of connection and lock, whatever their state."""
        self._drop_connection()
        self._lock.release()
        self._marked = self._last = (0, chain.GENESIS)

    def break_off(self) -> None:
        """Nothing waits for a file for long."""

    def integrity(self, con: Tables) -> str:
        return db.integrity(_own(con))

    def shrink(self, con: Tables) -> bool:
        db.give_back(_own(con), _AT_ONCE)
        return db.free_pages(_own(con)) > 0

    def _transaction(self, con: Tables, *, write: bool) -> AbstractContextManager[None]:
        return db.transaction(_own(con), write=write)

    def _plainly(self, error: Exception, doing: str) -> StoreUnavailable | StoreCorrupt:
        return db.plainly(cast("sqlite3.Error | UnicodeDecodeError", error), doing)

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

    def _drop_connection(self) -> None:
        con, self._con = self._con, None
        if con is not None:
            _own(con).close()


def _own(con: Tables) -> sqlite3.Connection:
    return cast(sqlite3.Connection, con)
