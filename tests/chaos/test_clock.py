"""The wall clock of one replica is wrong; what it leads, and what the other takes over from it, goes on."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import judged
from tests.chaos.world import World
from tests.support.wall import DAY, HOUR

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(480)]


async def test_the_leaders_clock_jumps_and_another_takes_over(world: World) -> None:
    a = await world.start("a", clock=True)
    await world.led("a")
    b = await world.start("b")
    for number, jump in enumerate((HOUR, -HOUR, DAY, -DAY)):
        a.jump(jump)
        await world.repaired(world.service(("fenced", "once", "keyed")[number % 3], number // 3))
    a.wanted = False
    a.kill()
    await world.led("b")
    await world.repaired(world.service("fenced", 2))
    a.jump(DAY)  # its next life begins a day ahead
    a.start()
    await world.until("a stands by", a.bot.journal.with_suffix(".sock").exists)
    b.wanted = False
    b.end()
    await world.led("a")
    await world.repaired(world.service("keyed", 2))  # and is journaled a day ahead
    b.start()
    await world.until("b stands by", b.bot.journal.with_suffix(".sock").exists)
    a.wanted = False
    a.end()
    await world.led("b")
    await world.repaired(world.service("once", 2))
    await judged(world, epochs=4)
