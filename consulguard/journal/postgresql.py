"""The journal in PostgreSQL, for replicas that share it.

Whoever opens it to write becomes its one writer by a token in the database, which every later write holds under a
row lock and compares: from then on nothing of an earlier writer is taken, whatever it believes. Epochs are looked
at in the same transaction. With ``take_over`` an earlier writer's connection is broken off first: stopped in the
middle of a commit, it would keep the row locked.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast

import psycopg

from consulguard.errors import StaleEpoch, StoreCorrupt, StoreSilent, StoreUnavailable
from consulguard.journal import chain, pg, rows
from consulguard.journal.base import BaseSession
from consulguard.journal.sqlite import DEFAULTS
from consulguard.journal.store import JournalSettings, Mark
from consulguard.journal.tables import Tables
from consulguard.journal.threaded import ThreadedStore

TAKE_OVER_TRIES, TAKE_OVER_EVERY_S = 50, 0.1
SCHEMA = "consulguard"


class PostgresSession(BaseSession):
    """``known``: marks that others have kept of this journal; one beyond its end means that it lost entries."""

    said = (psycopg.Error, UnicodeDecodeError)

    def __init__(
        self, path: Path, channels: tuple[str, ...], settings: JournalSettings, *, readonly: bool
    ) -> None:
        super().__init__(path, channels, settings, readonly=readonly)
        self.answer_s = settings.answer_s
        self.dsn: Callable[[], str] = str
        self.schema = SCHEMA
        self.take_over = False
        self.known: list[Mark] = []
        self._token = secrets.token_hex(16)

    @property
    def name(self) -> str:
        return f"in PostgreSQL, schema {self.schema}"

    def _open(self) -> None:
        try:
            con = pg.connect(self.dsn())
            self._con = pg.Pg(con)
            if self.off:  # while we were connecting there was nothing to break off
                raise StoreSilent(f"open the journal {self.name}: nobody waits for it any more")
            pg.settle(con, self.schema, readonly=self._readonly)
            if not self._readonly:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                pg.prepare(con, self.schema)
                rows.refuse_newer(self._con, self.name)  # before its writer is shut out
                self._become_writer(con)
                self._last = self._check_tail(self._con)
            self._broken, self._marked = None, None
            self.behind = self._compare(self._con)
            self.write_mark()
        except self.said as error:
            raise pg.plainly(error, f"open the journal {self.name}") from error
        except OSError as error:
            raise StoreUnavailable(f"open the journal: {error.strerror or error}") from error

    def abandon(self) -> None:
        self._drop_connection()
        self._marked = self._last = (0, chain.GENESIS)

    def break_off(self) -> None:
        self.off, con = True, self._con
        if con is not None:
            pg.break_off(_own(con))

    def integrity(self, con: Tables) -> str:
        """PostgreSQL's pages have checksums of their own where the cluster was made with them."""
        return ""

    def shrink(self, con: Tables) -> bool:
        """PostgreSQL's own vacuum sees to that."""
        return False

    def _become_writer(self, con: psycopg.Connection[Any]) -> None:
        for _ in range(TAKE_OVER_TRIES):
            if pg.lock(con, self.schema):
                con.execute("UPDATE writer SET token = %s WHERE id = 1", (self._token,))
                return
            found = pg.holder(con, self.schema)
            if found is not None and not self.take_over:
                raise StoreUnavailable(
                    f"the journal {self.name} is in use by {_process(found)}: stop it first, or set"
                    " coordinate.backend so that replicas take turns"
                )
            if found is not None:
                pg.end(con, found[0])
            time.sleep(TAKE_OVER_EVERY_S)
        raise StoreUnavailable(f"the journal {self.name} could not be taken over from its last writer")

    def _transaction(self, con: Tables, *, write: bool) -> AbstractContextManager[None]:
        return self._as_writer(_own(con)) if write else pg.transaction(_own(con), write=False)

    @contextmanager
    def _as_writer(self, con: psycopg.Connection[Any]) -> Iterator[None]:
        """Whoever would become the writer waits until this transaction is over."""
        with pg.transaction(con, write=True):
            found = con.execute("SELECT token FROM writer WHERE id = 1 FOR UPDATE").fetchone()
            if found is None or found[0] != self._token:
                raise StaleEpoch("another replica has taken the journal over; nothing was written")
            yield

    def _compare(self, con: Tables) -> str:
        """A replica that has never written has no mark of its own."""
        try:
            own = self.read_mark()
        except ValueError as error:
            return str(error)
        with pg.transaction(_own(con), write=False):
            marks = [mark for mark in (own, *self.known) if mark is not None]
            return next((said for mark in marks if (said := rows.behind(con, mark))), "")

    def _plainly(self, error: Exception, doing: str) -> StoreUnavailable | StoreCorrupt:
        if self.off:  # whoever has broken it off had waited for an answer
            return StoreSilent(f"{doing}: PostgreSQL has not answered in time")
        return pg.plainly(error, doing)

    def _gate(self, doing: str) -> None:
        """The room on the server's disk is the server's to watch."""

    def _drop_connection(self) -> None:
        con, self._con = self._con, None
        if con is not None:
            _own(con).close()


class PostgresStore(ThreadedStore):
    """A ``Store``. ``path``: the mark lies beside it. ``dsn`` is asked at each opening: passwords rotate.

    ``take_over``: the caller holds a lease, so whoever has it open does not any more.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        dsn: Callable[[], str],
        channels: Sequence[str] = ("console",),
        settings: JournalSettings = DEFAULTS,
        readonly: bool = False,
    ) -> None:
        session = PostgresSession(Path(path), tuple(channels), settings, readonly=readonly)
        session.dsn = dsn
        super().__init__(session, settings)
        self._pg = session

    def shared(self, *, take_over: bool, known: Sequence[Mark] = (), schema: str = SCHEMA) -> PostgresStore:
        """Before it is opened: how it is shared. ``known``: marks that others have kept of it."""
        self._pg.take_over, self._pg.known, self._pg.schema = take_over, list(known), schema
        return self


def _process(found: tuple[int, str]) -> str:
    pid, name = found
    return name.removeprefix("consulguard ") if name.startswith("consulguard process ") else f"process {pid} there"


def _own(con: Tables) -> psycopg.Connection[Any]:
    return cast(pg.Pg, con).con
