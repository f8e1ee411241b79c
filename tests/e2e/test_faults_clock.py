"""The wall clock is set while the daemon runs and between two lives. On the twin, which has its own clock."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest
from consulguard.testing import ConsulTwin

from tests.e2e.support.scene import Scene

pytestmark = pytest.mark.slow
HOUR, DAY = 3600, 86_400
PLACES = "/usr/lib/*/faketime/libfaketime.so.1"


class Wall:
    """The wall clock of the processes that are given ``env``, moved by so many seconds; other clocks run on."""

    def __init__(self, folder: Path) -> None:
        library = next(iter(glob.glob(PLACES)), "")
        if not library:
            sentence = "no libfaketime: run scripts/install-test-tools.sh"
            if os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1":
                pytest.fail(sentence)
            pytest.skip(sentence)
        self._file = folder / "wall"
        self.env = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, seconds: int) -> None:
        aside = self._file.with_suffix(".new")
        aside.write_text(f"{seconds:+d}\n")
        aside.rename(self._file)


@pytest.fixture
def wall(tmp_path: Path) -> Wall:
    return Wall(tmp_path)


async def repaired(scene: Scene, service: str, wall: Wall, *jumps: int) -> None:
    """It fails and is repaired, so time goes on for the bot; the clock is set before each stage of that."""
    first, second, third = jumps
    wall.set(first)
    await scene.fail(service)
    await scene.until_run(service, "verifying")
    wall.set(second)
    await scene.heal(service)
    wall.set(third)
    await scene.until_run(service, "done")


def only_what_was_due(scene: Scene) -> None:
    assert (len(scene.intents("cooling")), len(scene.intents("held-down"))) == (1, 0)
    times = [line.at for line in scene.record().lines]
    assert times == sorted(times)
    assert times[-1] - times[0] < 30 * 60


async def test_the_wall_clock_is_set(wall: Wall, tmp_path: Path, unique: str) -> None:
    """By an hour and a day, both ways: no cooldown, hold-down or pause ends sooner or later for it."""
    async with ConsulTwin() as twin, Scene(twin, tmp_path, unique) as scene:
        useless = {"verify": {"within": "1s", "target": {"passing_for": 1}}, "on_failure": "undo"}
        scene.book("cooling", **useless)
        scene.book("held-down", hold_down="45m")
        fresh = ("hours", "days", "next-life")
        for name in fresh:
            scene.book(name)
        for name in ("cooling", "held-down", *fresh):
            await scene.service(name)
        bot = scene.make_bot(guards={"cooldown": "40m", "service_cooldown": "40m"})
        bot.start(env=wall.env)
        await scene.settled()
        await scene.fail("cooling", "held-down")
        await scene.until_run("cooling", "failed")
        await repaired(scene, "hours", wall, HOUR, -HOUR, HOUR)
        await repaired(scene, "days", wall, DAY, -DAY, DAY)
        only_what_was_due(scene)

        # The next life begins with a wall clock that is a day behind what the journal holds.
        await bot.stop()
        wall.set(-DAY)
        bot.start(env=wall.env)
        await scene.settled()
        await repaired(scene, "next-life", wall, -DAY, 0, -DAY)
        only_what_was_due(scene)
