"""Playbooks read again: what is taken over, what stays, and what people are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from consulguard.app import wiring
from consulguard.app.reload import Reloader, fingerprint
from consulguard.clock import SystemClock
from consulguard.config.load import load
from consulguard.events import Configured

BOOK = """
name: {name}
match: {{scope: instance, matchers: ['service="{service}"']}}
steps: [{{name: drain, uses: consul.maintenance, with: {{enable: true}}}}]
verify: {{within: 10s, target: {{passing_for: 1}}}}
"""


class Shelf:
    reloader: Reloader

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "playbooks"
        self.folder.mkdir()
        self.told: list[Configured] = []

    def put(self, name: str, service: str = "web", *, file: str = "") -> None:
        self.write(file or name, BOOK.format(name=name, service=service))

    def write(self, file: str, text: str) -> None:
        aside = self.folder / f".{file}"
        aside.write_text(text)
        aside.rename(self.folder / f"{file}.yaml")

    async def tell(self, given: Configured) -> None:
        self.told.append(given)

    async def next(self, change: Callable[[], None]) -> tuple[dict[str, str], str]:
        """What is in force after a change, name -> matcher, and why it is not what the files say."""
        before = len(self.told)
        change()
        self.reloader.now()
        async with asyncio.timeout(30):
            while len(self.told) == before:
                await asyncio.sleep(0.01)
        given = self.told[-1]
        return {p.id: p.match.matchers[0].value for p in given.playbooks}, given.stale


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = Shelf(tmp_path)
    shelf.put("a")
    shelf.put("b")
    config = tmp_path / "c.yaml"
    config.write_text("playbooks: {dir: playbooks, reload: 1h}\n")
    loaded, clock = load(str(config), env={}), SystemClock()
    given, _ = wiring.configured(loaded, clock.now())
    shelf.reloader = Reloader(loaded, given, shelf.tell, clock)
    task = asyncio.get_running_loop().create_task(shelf.reloader.run())
    yield shelf
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_changed_new_and_removed(shelf: Shelf) -> None:
    assert await shelf.next(lambda: shelf.put("a", "db")) == ({"a": "db", "b": "web"}, "")
    assert await shelf.next(lambda: shelf.put("c")) == ({"a": "db", "b": "web", "c": "web"}, "")
    assert await shelf.next(lambda: (shelf.folder / "b.yaml").unlink()) == ({"a": "db", "c": "web"}, "")


async def test_a_broken_one_keeps_its_last_good_version_and_holds_up_no_other(shelf: Shelf) -> None:
    shelf.write("a", "name: a\nstepz: []\n")
    playbooks, stale = await shelf.next(lambda: shelf.put("b", "db"))
    assert playbooks == {"a": "web", "b": "db"}
    assert "a.yaml:2: stepz" in stale
    assert await shelf.next(lambda: shelf.put("a", "cache")) == ({"a": "cache", "b": "db"}, "")


async def test_a_name_taken_twice_leaves_both_as_they_were(shelf: Shelf) -> None:
    playbooks, stale = await shelf.next(lambda: shelf.put("a", "db", file="b"))
    assert playbooks == {"a": "web", "b": "web"}
    assert "the name a is taken" in stale


async def test_a_broken_file_whose_playbook_moved_is_gone(shelf: Shelf) -> None:
    shelf.write("a", "name: [\n")
    playbooks, stale = await shelf.next(lambda: shelf.put("a", "db", file="moved"))
    assert playbooks == {"a": "db", "b": "web"}
    assert "a.yaml:" in stale


async def test_a_folder_that_is_not_to_be_trusted_changes_nothing(shelf: Shelf) -> None:
    shelf.put("a", "db")
    playbooks, stale = await shelf.next(lambda: shelf.folder.chmod(0o777))
    assert playbooks == {"a": "web", "b": "web"}
    assert "everybody may write the playbook folder" in stale
    assert await shelf.next(lambda: shelf.folder.chmod(0o755)) == ({"a": "db", "b": "web"}, "")


def test_a_fingerprint_tells_every_change(tmp_path: Path) -> None:
    seen = [fingerprint(tmp_path / "none"), fingerprint(tmp_path)]
    (tmp_path / "a.yaml").write_text("a")
    seen.append(fingerprint(tmp_path))
    (tmp_path / "b").write_text("b")
    (tmp_path / "b").rename(tmp_path / "a.yaml")
    seen.append(fingerprint(tmp_path))
    assert seen[0] == ()
    assert len(set(seen[1:])) == 3
