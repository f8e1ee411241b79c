"""``consulguard shards``: which replica leads which unit, and which one the ring wants to."""

from __future__ import annotations

import asyncio

from consulguard.app import whose
from consulguard.cli import contracts, doors, printing
from consulguard.cli.options import Options
from consulguard.clock import SystemClock
from consulguard.config import Loaded
from consulguard.errors import LeaseUnavailable


def shards(options: Options) -> int:
    """Units and replicas: who owns which by the ring, who holds each lease, and since which epoch."""
    loaded = options.load_all()
    try:
        found = asyncio.run(_look(loaded, options.timeout_s))
    except TimeoutError:
        raise LeaseUnavailable(f"no answer within {options.timeout_s:g} s; give more with --timeout") from None
    if not printing.data(options, contracts.whole(found)):
        _tables(options, found)
    return doors.OK


async def _look(loaded: Loaded, within_s: float) -> whose.Shards:
    async with asyncio.timeout(within_s):
        return await whose.look(loaded, SystemClock())


def _tables(options: Options, found: whose.Shards) -> None:
    out = printing.console(options)
    rows = [
        (u.datacenter or "the agent's", u.partition or "default", u.owner or "-", u.holder or "-", u.epoch or "-")
        for u in found.units
    ]
    printing.table(out, ("DATACENTER", "PARTITION", "OWNER", "HOLDER", "EPOCH"), rows)
    if found.members:
        out.print()
        told = [(m.name, ", ".join(m.owns) or "-", m.points, f"{m.share:.1%}") for m in found.members]
        printing.table(out, ("MEMBER", "OWNS", "POINTS", "SHARE"), told)
