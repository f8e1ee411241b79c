"""The wall clock is set while the daemon runs and between two lives. On the twin, which has its own clock."""

from __future__ import annotations

from pathlib import Path

import pytest
from consulguard.testing import ConsulTwin

from tests.e2e.support.scene import Scene
from tests.support.wall import DAY, HOUR, Wall

pytestmark = pytest.mark.slow


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
