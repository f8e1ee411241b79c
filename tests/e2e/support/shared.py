"""Reading a journal in PostgreSQL from outside, with nothing but SQL and JSON: shares no code with the bot."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from tests.e2e.support.journal import Line, Record


class Journal:
    """Read on from where the last look ended: cheap enough to be asked again and again."""

    def __init__(self, dsn: str, schema: str = "consulguard") -> None:
        self.dsn = dsn
        self._schema = schema
        self._con: psycopg.Connection[Any] | None = None
        self._lines: list[Line] = []

    def record(self, *, told: bool = False) -> Record:
        """The journal as it is committed now; empty while there is none. ``told``: with the messages as well."""
        last = self._lines[-1].seq if self._lines else 0
        found = self.ask("SELECT seq, at, epoch, kind, body FROM entries WHERE seq > %s ORDER BY seq", last)
        self._lines += [Line(seq, at / 1e6, epoch, kind, json.loads(body)) for seq, at, epoch, kind, body in found]
        messages = self.ask("SELECT key, message FROM outbox") if told else ()
        return Record(tuple(self._lines), {key: json.loads(message) for key, message in messages})

    def ask(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        """Nothing while the journal is being made, or where the server broke off."""
        try:
            if self._con is None:
                self._con = psycopg.connect(self.dsn, autocommit=True)
                self._con.execute(f'SET search_path = "{self._schema}"'.encode())
            return self._con.execute(text.encode(), values).fetchall()
        except psycopg.Error:
            self.close()
            return []

    def close(self) -> None:
        con, self._con = self._con, None
        if con is not None:
            con.close()


def read(dsn: str, schema: str = "consulguard") -> Record:
    """One look, with the messages."""
    journal = Journal(dsn, schema)
    try:
        return journal.record(told=True)
    finally:
        journal.close()
