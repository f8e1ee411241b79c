"""A journal that has lost entries is taken as it stands only by a person who says where it ends."""

from __future__ import annotations

import json

from consulguard.journal import SqliteStore

from tests.shell.cli.support import Cli
from tests.support.messages import draft


async def test_accept(cli: Cli) -> None:
    path = cli.folder / "state" / "journal.sqlite"
    async with SqliteStore(path) as store:
        await store.append([draft(1), draft(2)])
    old = path.read_bytes()
    async with SqliteStore(path) as store:
        await store.append([draft(3), draft(4)])
        running = cli.with_config("journal", "accept", "--seq", "4")
        assert (running.code, "in use by process" in running.err) == (74, True)
    assert cli.with_config("journal", "accept", "--seq", "4").out == "nothing to accept: nothing is lost\n"
    path.write_bytes(old)

    assert cli.with_config("journal", "verify").code == 1
    wrong = cli.with_config("journal", "accept", "--seq", "4")
    assert (wrong.code, "the journal ends at entry 2, not 4" in wrong.err) == (2, True)
    right = cli.with_config("journal", "accept", "--seq", "2")
    assert right.code == 0
    assert "entry 4 was acknowledged" in right.out
    async with SqliteStore(path) as store:
        assert (store.behind, (await store.verify()).ok) == ("", True)
        (noted,) = [entry async for entry in store.entries(after=2)]
        assert (noted.kind, json.loads(noted.body)["accepted"]) == ("mark", 2)
