"""The journal's tables as plain SQL that SQLite and PostgreSQL both understand, with ``?`` for a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from consulguard.errors import StoreCorrupt
from consulguard.journal.chain import GENESIS


class Found(Protocol):
    """What a statement has found."""

    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Tables(Protocol):
    """A connection inside a transaction."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Found: ...
    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object: ...


def read_base(con: Tables) -> tuple[int, str]:
    """The entry before the oldest kept one: (0, genesis) until the journal was compacted."""
    row = con.execute("SELECT seq, hash FROM base WHERE id = 1").fetchone()
    if row is None:
        return 0, GENESIS
    seq, digest = row
    if not isinstance(seq, int) or not isinstance(digest, str) or len(digest) != len(GENESIS):
        raise StoreCorrupt("the journal's base record is damaged")
    return seq, digest
