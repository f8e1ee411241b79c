"""What a replica tries for, and what it gives away, as members come and go."""

from __future__ import annotations

import asyncio

import pytest
from consulguard.app.shards import GIVE_AWAY_S, START_S, Ring, together
from consulguard.coordinate import Alive, Members, owner
from consulguard.errors import LeaseUnavailable
from consulguard.testing import FakeClock

from tests.support.waiting import eventually

UNITS = tuple(f"dc{number}" for number in range(12))


class Known(Members):
    """Members as the test says they are."""

    valid_s, renew_s = 15.0, 5.0

    def __init__(self, *others: str) -> None:
        self.others = set(others)
        self.free = True  # our name
        self.answers = True
        self.looks = self.stays = 0
        self.left = False

    async def stay(self) -> bool:
        self._ask()
        self.stays += 1
        return self.free

    async def alive(self) -> Alive:
        self._ask()
        self.looks += 1
        mine = {"me"} if self.free and self.stays and not self.left else set()
        return dict.fromkeys(self.others | mine, UNITS)

    async def leave(self) -> None:
        self.left = True

    async def close(self) -> None:
        await self.leave()

    def _ask(self) -> None:
        if not self.answers:
            raise LeaseUnavailable("away")


class Scene:
    def __init__(self, *others: str) -> None:
        self.clock, self.known, self.stop = FakeClock(), Known(*others), asyncio.Event()
        self.ring = Ring(self.known, "me", self.clock)

    def ours(self) -> set[str]:
        return {unit for unit in UNITS if self.ring.ours(unit)}

    def given_away(self) -> set[str]:
        return {unit for unit in UNITS if self.ring._given_away(unit)}

    async def look(self) -> str:
        return await self.ring._look()


async def test_alone_everything_is_ours_and_nothing_is_before_we_know() -> None:
    scene = Scene()
    assert scene.ours() == set()
    await scene.look()
    assert scene.ours() == set()  # others may be about to come
    scene.clock.advance(START_S)
    assert scene.ours() == set(UNITS)
    assert scene.given_away() == set()


async def test_what_the_ring_gives_another_is_given_away_when_it_has_lasted() -> None:
    scene = Scene()
    await scene.look()
    scene.clock.advance(START_S)
    scene.known.others = {"other"}
    await scene.look()
    theirs = {unit for unit in UNITS if owner(unit, dict.fromkeys(("me", "other"), UNITS)) == "other"}
    assert theirs
    assert scene.ours() == set(UNITS) - theirs  # what is not ours is not tried for from now on
    assert scene.given_away() == set()
    scene.clock.advance(GIVE_AWAY_S - 0.1)
    await scene.look()
    assert scene.given_away() == set()
    scene.clock.advance(0.2)
    await scene.look()
    assert scene.given_away() == theirs


async def test_one_that_comes_and_goes_moves_nothing() -> None:
    scene = Scene()
    for _ in range(10):
        scene.known.others ^= {"other"}
        scene.clock.advance(GIVE_AWAY_S * 0.6)
        await scene.look()
        assert scene.given_away() == set()


async def test_who_does_not_know_tries_for_nothing_and_keeps_what_it_has() -> None:
    scene = Scene("other")
    await scene.look()
    scene.known.answers = False
    scene.clock.advance(GIVE_AWAY_S + 1.0)
    with pytest.raises(LeaseUnavailable):
        await scene.look()
    assert scene.ours()  # for as long as the others must take us for alive
    scene.clock.advance(Known.valid_s - GIVE_AWAY_S)
    assert scene.ours() == scene.given_away() == set()
    scene.known.answers = True
    await scene.look()
    assert scene.ours()


async def test_another_with_our_name() -> None:
    scene = Scene("me")
    scene.known.free = False
    assert "coordinate.member" in await scene.look()
    assert scene.ours() == set()


async def test_it_says_that_it_is_there_as_often_as_needed_and_leaves_when_asked_to_end() -> None:
    scene = Scene()
    await scene.look()
    await scene.look()
    assert scene.known.stays == 1
    scene.clock.advance(Known.renew_s)
    await scene.look()
    assert scene.known.stays == 2
    task = asyncio.create_task(scene.ring.run(scene.stop))

    async def looks() -> int:
        return scene.known.looks

    await eventually(looks, lambda n: n > 3)
    scene.stop.set()
    await task
    assert scene.known.left


async def test_where_one_unit_fails_the_others_end_first() -> None:
    stop, ended = asyncio.Event(), []

    async def good() -> None:
        await stop.wait()
        await asyncio.sleep(0)
        ended.append("good")

    async def bad() -> None:
        raise LeaseUnavailable("away")

    with pytest.raises(LeaseUnavailable):
        await together(stop, good(), bad())
    assert ended == ["good"]
