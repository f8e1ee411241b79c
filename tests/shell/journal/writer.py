"""Appends to the journal given on the command line and says what was acknowledged; killed by the test."""

from __future__ import annotations

import asyncio
import sys

from consulguard.errors import StoreUnavailable
from consulguard.journal import JournalSettings, SqliteStore

from tests.support.messages import draft, message


async def main(path: str, batch: int, size: int, batches: int = 0) -> int:
    """``batches`` 0: until it is killed, or refused."""
    store = SqliteStore(path, settings=JournalSettings(mark_every_s=0.01, free_space=0))
    try:
        await store.open()
    except StoreUnavailable as error:
        print("refused", error, flush=True)
        return 3
    seq = (await store.last())[0]
    print("open", flush=True)
    last = seq + batch * batches if batches else 0
    while seq != last or not last:
        drafts = [draft(seq + n, size=size) for n in range(1, batch + 1)]
        try:
            seq = await store.append(drafts, [message(version=seq + 1, thread=(f"at {seq}",))])
        except StoreUnavailable as error:
            print("failed", error, flush=True)
            break
        print("ack", seq, flush=True)
        if batches and seq % (2 * batch) == 0:
            await store.save_snapshot(seq, b"state %d" % seq)
    else:
        await store.close()
        print("closed", flush=True)
        return 0
    try:
        await store.append([draft(0)])
    except StoreUnavailable:
        print("still refused", flush=True)
    await store.close()
    return 4


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], int(sys.argv[2]), *map(int, sys.argv[3:]))))
