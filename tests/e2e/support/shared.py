"""Reading a journal in PostgreSQL from outside, with nothing but SQL and JSON: shares no code with the bot."""

from __future__ import annotations

import json

import psycopg

from tests.e2e.support.journal import Line, Record


def read(dsn: str, schema: str = "consulguard") -> Record:
    """The journal as it is committed now; empty while there is none."""
    try:
        with psycopg.connect(dsn) as con:
            con.execute(f'SET search_path = "{schema}"')
            rows = con.execute("SELECT seq, at, epoch, kind, body FROM entries ORDER BY seq").fetchall()
            told = con.execute("SELECT key, message FROM outbox").fetchall()
    except psycopg.Error:  # it is being made
        return Record((), {})
    lines = tuple(Line(seq, at / 1e6, epoch, kind, json.loads(body)) for seq, at, epoch, kind, body in rows)
    return Record(lines, {key: json.loads(message) for key, message in told})
