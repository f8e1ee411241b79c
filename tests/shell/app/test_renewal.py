"""A configuration read again: when it is lived by, and when the old one stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from consulguard.app.renewal import Renewal
from consulguard.clock import SystemClock
from consulguard.config import Loaded, load

from tests.support.waiting import eventually

SOUND = "mode: observe\nplaybooks: {allow_empty: true, dir: playbooks}\n"


class Place:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "c.yaml"
        (folder / "playbooks").mkdir()
        self.file.write_text(SOUND)
        self.lived: list[Loaded] = []
        loaded = load(str(self.file), {("notify", "console"): (False, "--quiet")}, {})
        self.renewal = Renewal(loaded, self.lived.append, SystemClock())

    async def now(self, text: str) -> tuple[list[str], str]:
        """The modes lived by since the start, and what is wrong, after the file has become ``text``."""
        aside = self.file.with_suffix(".new")
        aside.write_text(text)
        aside.rename(self.file)
        await self.renewal.look(forced=False)
        return [str(loaded.config.mode) for loaded in self.lived], self.renewal.wrong


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_nothing_has_changed(place: Place) -> None:
    assert not await place.renewal.look(forced=False)
    assert not await place.renewal.look(forced=True)
    assert await place.now(f"# a word\n{SOUND}") == ([], "")


async def test_a_sound_change_with_the_flags_of_the_start(place: Place) -> None:
    assert await place.now(SOUND.replace("observe", "approve")) == (["approve"], "")
    assert place.lived[0].config.notify.console is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mode: maybe\n", "c.yaml:1: mode"),
        (f"{SOUND}slack: {{enabled: true}}\n", "slack.channel"),
        (f"{SOUND}coordinate: {{backend: consul}}\n", "journal.store: postgresql"),
        (f"{SOUND}consul: {{token_file: nowhere}}\n", "nowhere"),
        (f"{SOUND}notify: {{heartbeat_url_file: nowhere}}\n", "nowhere"),
        (SOUND.replace("allow_empty: true, ", ""), "playbook"),
    ],
)
async def test_what_a_start_would_refuse_changes_nothing(place: Place, text: str, said: str) -> None:
    lived, wrong = await place.now(text)
    assert lived == []
    assert said in wrong
    assert not await place.renewal.look(forced=False), "and it is looked at once"
    assert await place.now(SOUND) == ([], "")


async def test_the_file_is_gone_for_a_moment(place: Place) -> None:
    place.file.unlink()
    assert not await place.renewal.look(forced=False)
    assert "c.yaml" in place.renewal.wrong
    assert await place.now(SOUND.replace("observe", "auto")) == (["auto"], "")


async def test_who_waits_to_lead_looks_at_the_playbooks_as_well(place: Place) -> None:
    async def wrong() -> str:
        place.renewal.now()
        return place.renewal.wrong

    looking = asyncio.create_task(place.renewal.run())
    playbook = place.file.parent / "playbooks" / "broken.yaml"
    playbook.write_text("id: [\n")
    await eventually(wrong, lambda said: "broken.yaml" in said)
    playbook.unlink()
    await eventually(wrong, lambda said: not said)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert place.lived == []


async def test_asked_from_outside(place: Place) -> None:
    place.file.write_text("mode: maybe\n")
    assert "mode" in await place.renewal.reload()
