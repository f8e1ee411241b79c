"""Taking over from another replica while the journal does not answer: the real Consul and PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from consulguard.app.turns import Place, Replica, store
from consulguard.clock import SystemClock
from consulguard.config import Loaded, load
from consulguard.testing import RealConsul

from tests.support.chaos import BLACKHOLE, Chaos
from tests.support.postgresql import RealPostgres

WITHIN_S = 10.0  # less than the lease lasts: whoever waited for the journal would hold it no more


def settings(folder: Path, name: str, consul: str, dsn: str) -> Loaded:
    (folder / "dsn").write_text(dsn)
    (folder / "dsn").chmod(0o600)
    text = {
        "mode": "observe",
        "consul": {"http_addr": consul},
        "journal": {"path": "state/journal", "store": "postgresql", "dsn_file": "dsn"},
        "coordinate": {"backend": "consul", "key": f"consulguard/{name}"},
        "playbooks": {"allow_empty": True, "dir": "."},
    }
    (folder / "c.json").write_text(json.dumps(text))
    return load(str(folder / "c.json"), {}, {})


@contextlib.asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


async def test_a_lease_gained_while_the_journal_is_silent_is_kept(
    real_consul: RealConsul, postgres: RealPostgres, tmp_path: Path
) -> None:
    """Whoever waited for what it was reading would not renew."""
    never, reading, clock, name = asyncio.Event(), asyncio.Event(), SystemClock(), f"turns{uuid.uuid4().hex[:8]}"
    there = await postgres.database(name)
    async with Chaos(f"tcp://127.0.0.1:{postgres.port}") as way:
        port = way.address.rpartition(":")[2]
        loaded = settings(tmp_path, name, real_consul.address, f"{there} port={port}")

        def silent_when_read(chunk: bytes) -> None:
            if b"FROM entries WHERE seq >" in chunk:
                way.set(BLACKHOLE)
                reading.set()

        async with store(loaded):  # there is something to read
            pass
        first, second = (Replica(loaded, clock, Place(name=name)) for name in "ab")
        async with contextlib.aclosing(first), contextlib.aclosing(second):
            async with contextlib.AsyncExitStack() as leading:
                await leading.enter_async_context(first.turn(never, nothing))
                way.heard = silent_when_read
                taking_over = second.turn(never, nothing)
                waits = asyncio.create_task(taking_over.__aenter__())
                await asyncio.wait_for(reading.wait(), WITHIN_S)
            turn = await asyncio.wait_for(waits, WITHIN_S)
            assert turn is not None
            assert turn.lease.sends()
            await taking_over.__aexit__(None, None, None)
