"""``consulguard journal``: prove the record, or read its end."""

from __future__ import annotations

import asyncio
import collections
from typing import Annotated, Any

import msgspec
import typer

from consulguard.app import service, turns
from consulguard.cli import contracts, doors, printing
from consulguard.cli.options import Options
from consulguard.cli.word import user
from consulguard.clock import SystemClock
from consulguard.config import Loaded, settings
from consulguard.config.files import exists
from consulguard.errors import ConfigError
from consulguard.journal import Draft, Report, Store
from consulguard.model import Entry


def readable(loaded: Loaded) -> Store:
    """The journal, for a reader beside the daemon. Raises ConfigError when there is none yet."""
    path = settings.journal_path(loaded)
    if loaded.config.journal.store == "sqlite" and not exists(path):
        raise ConfigError("there is no journal yet; the daemon writes it (consulguard run)", where=str(path))
    return turns.store(loaded, readonly=True)


def verify(options: Options) -> int:
    """Prove that nothing in the record was changed, lost or put in between."""
    report = asyncio.run(_verify(readable(options.load())))
    if not printing.data(options, contracts.whole(report) | {"ok": report.ok}):
        sound = f"sound: {report.entries} entries, the chain holds"
        print(sound if report.ok else f"NOT SOUND at entry {report.first_bad_seq}: {report.reason}")
    return doors.OK if report.ok else doors.FAILURE


async def _verify(store: Store) -> Report:
    await store.open()
    try:
        return await store.verify()
    finally:
        await store.close()


def tail(
    options: Options, number: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many.")] = 20
) -> int:
    """The newest entries."""
    entries = asyncio.run(_tail(readable(options.load()), number))
    told = [_told(e) for e in entries]
    if not printing.data(options, told):
        out = printing.console(options)
        for entry, line in zip(entries, told, strict=True):
            body = msgspec.json.encode(line["body"]).decode()
            out.print(f"{entry.seq} {printing.when(line['at'])} {entry.kind} {printing.safe(body[:500])}")
    return doors.OK


def accept(
    options: Options, seq: Annotated[int, typer.Option("--seq", min=0, help="The entry it ends at.")]
) -> int:
    """Take a journal that has lost entries as it stands (`journal verify` says what), while no daemon runs."""
    loaded = options.load()
    readable(loaded)
    lost = asyncio.run(_accept(service.journal(loaded, ()), seq))
    if not options.quiet:
        print(f"accepted at entry {seq}: {lost}" if lost else "nothing to accept: nothing is lost")
    return doors.OK


async def _accept(store: Store, seq: int) -> str:
    """Why it was behind. The acceptance is an entry of its own, and comes first."""
    await store.open()
    try:
        if lost := store.behind:
            if (last := (await store.last())[0]) != seq:
                raise doors.UsageError(f"the journal ends at entry {last}, not {seq}", where="--seq")
            epochs = [entry.epoch async for entry in store.entries(after=max(0, seq - 1))]
            body = msgspec.json.encode({"accepted": seq, "who": user(), "lost": lost})
            draft = Draft(at=SystemClock().now(), kind="mark", body=body, epoch=max(epochs, default=0))
            await store.accept(await store.append([draft]))
        return lost
    finally:
        await store.close()


async def _tail(store: Store, number: int) -> list[Entry]:
    await store.open()
    try:
        last, _ = await store.last()
        newest: collections.deque[Entry] = collections.deque(maxlen=number)
        async for entry in store.entries(after=max(0, last - number)):
            newest.append(entry)
        return list(newest)
    finally:
        await store.close()


def _told(entry: Entry) -> dict[str, Any]:
    body = (
        msgspec.json.decode(entry.body) if entry.body[:1] in (b"{", b"[") else entry.body.decode(errors="replace")
    )
    return {
        "seq": entry.seq,
        "at": contracts.plain(entry.at),
        "kind": entry.kind,
        "epoch": entry.epoch,
        "body": body,
    }
