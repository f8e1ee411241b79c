"""Connecting to a PostgreSQL journal, and saying plainly what PostgreSQL says. All of it on the store's thread."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, cast

import psycopg
from psycopg import sql

from consulguard.errors import ConfigError, StoreCorrupt, StoreSilent, StoreUnavailable
from consulguard.journal.tables import Found

CONNECT_S = 5
WAIT_MS = 5000  # a statement, a lock, or a commit that waits for us: beyond it the server breaks it off
LOCK = 0x6367  # the first half of our advisory locks; the second is the schema's name

MIGRATIONS = (
    """
CREATE TABLE entries (
    seq BIGINT PRIMARY KEY, at BIGINT NOT NULL, epoch BIGINT NOT NULL, kind TEXT NOT NULL,
    version BIGINT NOT NULL, body BYTEA NOT NULL, hash TEXT NOT NULL);
CREATE TABLE snapshots (
    seq BIGINT PRIMARY KEY, hash TEXT NOT NULL, digest TEXT NOT NULL, body BYTEA NOT NULL);
CREATE TABLE base (id BIGINT PRIMARY KEY CHECK (id = 1), seq BIGINT NOT NULL, hash TEXT NOT NULL);
CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, channel TEXT NOT NULL, key TEXT NOT NULL,
    version BIGINT NOT NULL, digest TEXT NOT NULL, rev BIGINT NOT NULL, state TEXT NOT NULL,
    message BYTEA NOT NULL, told BIGINT NOT NULL,
    skipped BIGINT NOT NULL, resolved BIGINT NOT NULL, attempts BIGINT NOT NULL,
    due BIGINT NOT NULL, queued BIGINT NOT NULL, reason TEXT NOT NULL, ref BYTEA NOT NULL,
    UNIQUE (channel, key));
CREATE INDEX outbox_order ON outbox (channel, state, due, queued);
CREATE INDEX outbox_turn ON outbox (queued);
CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
CREATE TABLE writer (id BIGINT PRIMARY KEY CHECK (id = 1), token TEXT NOT NULL);
INSERT INTO writer (id, token) VALUES (1, '');
""",
)
SCHEMA_VERSION = len(MIGRATIONS)


class Pg:
    """A connection that takes the statements of ``rows`` and ``outbox``."""

    def __init__(self, con: psycopg.Connection[Any]) -> None:
        self.con = con

    def execute(self, text: str, parameters: Sequence[Any] = (), /) -> Found:
        return cast(Found, self.con.execute(_ours(text), parameters))

    def executemany(self, text: str, rows: Iterable[Sequence[Any]], /) -> object:
        with self.con.cursor() as cursor:
            cursor.executemany(_ours(text), rows)
        return None


@cache
def _ours(text: str) -> Any:
    return text.replace("%", "%%").replace("?", "%s")


def plainly(error: Exception, doing: str) -> StoreUnavailable | StoreCorrupt:
    """The same in our words, without the parts of a connection string."""
    code = getattr(error, "sqlstate", None)
    lines = str(error).strip().splitlines()
    said = lines[0][:200] if lines and code else type(error).__name__
    if code in ("XX001", "XX002"):
        return StoreCorrupt(f"{doing}: PostgreSQL finds the journal damaged ({said})")
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        return StoreSilent(f"{doing}: PostgreSQL has not let us in within {CONNECT_S} s")
    if not code and os.strerror(errno.ETIMEDOUT) in str(error):  # libpq tells no number
        return StoreSilent(f"{doing}: PostgreSQL has not answered: nothing comes back from its machine")
    return StoreUnavailable(f"{doing}: PostgreSQL: {said}" + (f" ({code})" if code else ""))


def connect(dsn: str) -> psycopg.Connection[Any]:
    """Raises ConfigError."""
    try:
        return psycopg.connect(
            dsn,
            autocommit=True,
            connect_timeout=CONNECT_S,
            application_name=f"consulguard process {os.getpid()} on {socket.gethostname()}"[:63],
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=2,
            tcp_user_timeout=WAIT_MS,
        )
    except psycopg.ProgrammingError:
        raise ConfigError("journal.dsn_file does not hold a PostgreSQL connection string") from None


def settle(con: psycopg.Connection[Any], schema: str, *, readonly: bool) -> None:
    """Its tables are the journal's from now on, and it waits for nothing for long."""
    for setting in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        con.execute(f"SET {setting} = {WAIT_MS}")
    if readonly:
        con.execute("SET default_transaction_read_only = on")
    con.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))


def break_off(con: psycopg.Connection[Any]) -> None:
    """End the connection under whoever waits for its answer, on whatever thread."""
    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(con.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def prepare(con: psycopg.Connection[Any], schema: str) -> None:
    """What a writer needs: a server that keeps what it acknowledges, and today's tables. Raises ConfigError."""
    if _one(con, "SELECT pg_is_in_recovery()"):
        raise StoreUnavailable("this PostgreSQL server is a standby: connect to the primary")
    for setting in ("synchronous_commit", "fsync"):
        if _one(con, "SELECT current_setting(%s)", setting) == "off":
            raise ConfigError(
                f"this PostgreSQL has {setting} = off: it acknowledges commits that a crash can lose, and what was"
                f" begun would be forgotten; set {setting} = on",
                where="journal",
            )
    if _one(con, "SELECT to_regnamespace(%s)", f'"{schema}"') is None:
        con.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    with con.transaction():
        con.execute("CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY)")
        done = refuse_newer(con)
        for number, script in enumerate(MIGRATIONS[done:], done + 1):
            con.execute(script.encode())
            con.execute("INSERT INTO migrations (version) VALUES (%s)", (number,))


def refuse_newer(con: psycopg.Connection[Any]) -> int:
    """The tables' version. Raises ConfigError where a newer consulguard made them."""
    version = int(_one(con, "SELECT coalesce(max(version), 0) FROM migrations"))
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"this journal was written by a newer consulguard (schema {version}, this one writes"
            f" {SCHEMA_VERSION}): upgrade, or name another schema",
            where="journal",
        )
    return version


def lock(con: psycopg.Connection[Any], schema: str) -> bool:
    """Whether nobody else has it; ours as long as this connection lives. A convenience, not the fence."""
    return bool(_one(con, "SELECT pg_try_advisory_lock(%s, hashtext(%s))", LOCK, schema))


_HOLDER = """
SELECT a.pid, a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = %s::oid
AND l.objid = (hashtext(%s)::bigint & 4294967295)::oid
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def holder(con: psycopg.Connection[Any], schema: str) -> tuple[int, str] | None:
    """PostgreSQL's process of whoever has the lock, and what that calls itself."""
    return con.execute(_HOLDER, (LOCK, schema)).fetchone()


def end(con: psycopg.Connection[Any], pid: int) -> None:
    """Break another connection off, with whatever it has not committed."""
    con.execute("SELECT pg_terminate_backend(%s)", (pid,))


@contextmanager
def transaction(con: psycopg.Connection[Any], *, write: bool) -> Iterator[None]:
    """All or nothing; for a reader, one moment of the journal."""
    with con.transaction():
        if not write:
            con.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def _one(con: psycopg.Connection[Any], text: str, *values: Any) -> Any:
    row = con.execute(text.encode(), values).fetchone()
    assert row is not None
    return row[0]
