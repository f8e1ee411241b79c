"""``consulguard journal export``: the record, for Elasticsearch."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated

import typer

from consulguard.cli import doors
from consulguard.cli.journal import readable
from consulguard.cli.options import Options
from consulguard.config.files import read_secret
from consulguard.errors import ExportUnavailable
from consulguard.journal import Store
from consulguard.journal.documents import index_template
from consulguard.journal.elastic import INDEX, ElasticSink
from consulguard.journal.export import Cursor, export

LOOK_S = 2.0  # between two looks for new entries
REST_S = 30.0  # after all tries of a batch have failed


def export_(
    options: Options,
    elasticsearch: Annotated[str, typer.Option(help="Its URL.", metavar="URL")],
    cursor: Annotated[Path, typer.Option(help="File that remembers how far it has come.")],
    index: Annotated[str, typer.Option(help="Data stream or index.")] = INDEX,
    api_key_file: Annotated[Path | None, typer.Option(help="Also: $ELASTICSEARCH_API_KEY.")] = None,
    elasticsearch_ca: Annotated[str, typer.Option(help="CA certificate of Elasticsearch.")] = "",
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Entries in one request.")] = 500,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    prepare: Annotated[bool, typer.Option("--prepare", help="Put the index template there first.")] = False,
) -> int:
    """Send the journal to Elasticsearch, each entry at least once, from where the last export ended."""
    key = os.environ.get("ELASTICSEARCH_API_KEY", "")
    if api_key_file is not None:
        key = read_secret(api_key_file, "the API key file").strip()
    store = readable(options.load())

    async def run() -> int:
        sink = ElasticSink(elasticsearch, index=index, api_key=key, ca_file=elasticsearch_ca)
        try:
            await store.open()
            if prepare:
                await sink.prepare()
            return await _run(store, sink, Cursor(cursor), batch, follow=follow)
        finally:
            await sink.close()
            await store.close()

    sent = asyncio.run(run())
    if not options.quiet:
        print(f"exported {sent} entries")
    return doors.OK


async def _run(store: Store, sink: ElasticSink, cursor: Cursor, batch: int, *, follow: bool) -> int:
    sent = await export(store, sink, cursor, batch=batch)
    while follow:
        await asyncio.sleep(LOOK_S)
        try:
            sent += await export(store, sink, cursor, batch=batch)
        except ExportUnavailable:  # told already; what is not sent is still in the journal
            await asyncio.sleep(REST_S)
    return sent


def template(options: Options) -> int:
    """Print the index template for Elasticsearch."""
    print(json.dumps(index_template(), indent=2))
    return doors.OK
