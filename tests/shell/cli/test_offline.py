"""A word to a journal that no daemon holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from consulguard.app.codec import encode
from consulguard.events import Commanded
from consulguard.journal import Draft, SqliteStore

from tests.shell.cli.support import Cli


async def test_it_is_not_written_down_as_older_than_what_stands_there(cli: Cli) -> None:
    """Whoever wrote last had a clock that is ahead of ours."""
    path = cli.folder / "state" / "journal.sqlite"
    later = datetime.now(UTC) + timedelta(days=1)
    paused = Commanded(at=later, command="pause", who="ann", args={"reason": "clock"})
    async with SqliteStore(path) as store:
        await store.append([Draft(at=later, kind="event", body=encode(paused))])
    assert cli.with_config("resume").code == 0
    async with SqliteStore(path) as store:
        moments = [entry.at async for entry in store.entries()]
    assert len(moments) == 2
    assert moments == sorted(moments)
