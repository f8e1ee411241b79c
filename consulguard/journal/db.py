"""Opening a SQLite journal, and saying plainly what SQLite says. All of it runs on the store's thread."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import quote

from consulguard.errors import ConfigError, StoreCorrupt, StoreFull, StoreUnavailable

SCHEMA_VERSION = 1
_SAID = 200  # characters of what SQLite says

_SCHEMA = """
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, epoch INTEGER NOT NULL, kind TEXT NOT NULL,
    version INTEGER NOT NULL, body BLOB NOT NULL, hash TEXT NOT NULL);
CREATE TABLE snapshots (
    seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, digest TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE base (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, hash TEXT NOT NULL);
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY, channel TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL,
    digest TEXT NOT NULL, rev INTEGER NOT NULL, state TEXT NOT NULL, message BLOB NOT NULL,
    told INTEGER NOT NULL, skipped INTEGER NOT NULL, resolved INTEGER NOT NULL, attempts INTEGER NOT NULL,
    due INTEGER NOT NULL, queued INTEGER NOT NULL, reason TEXT NOT NULL, ref BLOB NOT NULL,
    UNIQUE (channel, key));
CREATE INDEX outbox_order ON outbox (channel, state, due, queued);
CREATE INDEX outbox_turn ON outbox (queued);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""

_TABLES = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"

# A damaged schema may make SQLite say something that is no text.
SAID_BY_SQLITE = (sqlite3.Error, UnicodeDecodeError)


def plainly(error: sqlite3.Error | UnicodeDecodeError, doing: str) -> StoreUnavailable | StoreCorrupt:
    """The same in our words. Corrupt: the file is not, or no longer, a journal."""
    if isinstance(error, UnicodeDecodeError):
        return StoreCorrupt(f"{doing}: the journal is damaged (its schema cannot be read)")
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int) and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreCorrupt(f"{doing}: the journal is damaged ({_one_line(str(error))})")
    if isinstance(code, int) and code & 0xFF == sqlite3.SQLITE_FULL:
        return StoreFull(f"{doing}: the disk is full")
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    return StoreUnavailable(f"{doing}: {_one_line(str(error))} ({name})")


def _one_line(said: str) -> str:
    """SQLite repeats whole statements, and pages of findings."""
    line = " ".join(said.split())
    return line if len(line) <= _SAID else f"{line[:_SAID]} ..."


@contextmanager
def transaction(con: sqlite3.Connection, *, write: bool) -> Iterator[None]:
    """All or nothing; for a reader, one moment of the journal."""
    con.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield
        con.execute("COMMIT")
    finally:
        if con.in_transaction:
            con.execute("ROLLBACK")


def connect(path: Path, *, busy_s: float) -> sqlite3.Connection:
    """Open for writing; creates the journal where there is none. The caller holds the lock."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    _refuse_log_alone(path)
    con = sqlite3.connect(path, timeout=busy_s, isolation_level=None)
    with ExitStack() as undo:
        undo.callback(con.close)
        _tolerate_any_text(con)
        ours = _recognise(con, path)
        con.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect on an empty file only
        if con.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StoreUnavailable(f"{path} cannot be kept in WAL mode: is it on a network file system?")
        con.execute("PRAGMA synchronous = FULL")
        if not ours:
            _create(con)
        found = integrity(con)
        if found:
            raise StoreCorrupt(f"SQLite finds the journal damaged: {found}")
        undo.pop_all()
    return con


def connect_readonly(path: Path, *, busy_s: float) -> sqlite3.Connection:
    """Open beside a running writer, or on a medium that cannot be written."""
    if not path.is_file():
        raise StoreUnavailable(f"there is no journal at {path}")
    live = os.access(path.parent, os.W_OK) or path.with_name(path.name + "-wal").exists()
    # SQLite wants to make its index file even to read; where it cannot, nobody writes either.
    mode = "mode=ro" if live else "mode=ro&immutable=1"
    con = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{mode}", uri=True, timeout=busy_s, isolation_level=None
    )
    with ExitStack() as undo:
        undo.callback(con.close)
        _tolerate_any_text(con)
        if con.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'entries'").fetchone()[0] == 0:
            raise StoreCorrupt(f"{path} is not a consulguard journal")
        if con.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
            _check_schema(con, path)
        undo.pop_all()
    return con


def _tolerate_any_text(con: sqlite3.Connection) -> None:
    """Damaged text must reach the chain check, which names the entry; not fail in decoding."""
    con.text_factory = lambda raw: raw.decode(errors="replace")


def _recognise(con: sqlite3.Connection, path: Path) -> bool:
    """Whether it is a journal already; False: it is empty. Anything else is refused before it is touched."""
    version = con.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"this journal was written by a newer consulguard (schema {version}, this one writes"
            f" {SCHEMA_VERSION}): upgrade, or name another file",
            where=str(path),
        )
    empty = con.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if version != SCHEMA_VERSION and not (version == 0 and empty):
        raise StoreCorrupt(f"{path} is a database, but not a consulguard journal")
    if version == SCHEMA_VERSION:
        _check_schema(con, path)
    return not empty


def _check_schema(con: sqlite3.Connection, path: Path) -> None:
    """One flipped byte in it makes a column of another name or type, which SQLite finds sound."""
    if con.execute(_TABLES).fetchall() != _as_created():
        raise StoreCorrupt(f"{path}: the journal is damaged (its tables are not as they were made)")


@cache
def _as_created() -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as con:
        _create(con)
        return con.execute(_TABLES).fetchall()


def _refuse_log_alone(path: Path) -> None:
    """SQLite would throw away the log of a file that is empty. Making a journal never leaves the two like that."""
    log = path.with_name(path.name + "-wal")
    if path.stat().st_size == 0 and log.exists() and log.stat().st_size > 0:
        raise StoreCorrupt(f"{path} is empty or gone, but its log {log.name} is not: put the journal back")


def _create(con: sqlite3.Connection) -> None:
    with transaction(con, write=True):
        for statement in _SCHEMA.split(";\n"):
            con.execute(statement)
        con.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def integrity(con: sqlite3.Connection) -> str:
    """Empty when SQLite finds its file sound, else its first finding."""
    found = str(con.execute("PRAGMA integrity_check(1)").fetchone()[0])
    return "" if found == "ok" else _one_line(found.removeprefix("*** in database main ***"))


def free_pages(con: sqlite3.Connection) -> int:
    return int(con.execute("PRAGMA freelist_count").fetchone()[0])


def give_back(con: sqlite3.Connection, pages: int) -> None:
    """Return unused pages of the file to the file system."""
    con.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
