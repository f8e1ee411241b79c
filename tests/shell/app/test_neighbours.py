"""What a unit's leader tells, and how long it counts."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from consulguard.app.neighbours import BEAT_S, OLD_S, Herald, NeighbourWatch
from consulguard.coordinate import Lock
from consulguard.errors import LeaseUnavailable
from consulguard.events import HeardOf
from consulguard.journal import Mark
from consulguard.model import Neighbour, State, Target
from consulguard.testing import FakeClock

FAILS = Neighbour(
    target=Target(dc="dc2", service="db"), state=State.CRITICAL, since=datetime(2026, 1, 1, tzinfo=UTC)
)


class Beside(Lock):
    """A note, and nothing else of a lock."""

    valid_s = renew_s = 1.0

    def __init__(self) -> None:
        self.note: bytes | None = None
        self.answers = True
        self.closed = False

    async def read_note(self) -> bytes | None:
        if not self.answers:
            raise LeaseUnavailable("away")
        return self.note

    async def take(self) -> int | None:
        raise AssertionError

    async def renew(self) -> None:
        raise AssertionError

    async def release(self) -> None:
        raise AssertionError

    async def wait(self) -> None:
        raise AssertionError

    async def holder(self) -> str:
        raise AssertionError

    async def write_note(self, note: bytes) -> None:
        raise AssertionError

    async def close(self) -> None:
        self.closed = True


class Scene:
    def __init__(self) -> None:
        self.clock, self.lock = FakeClock(), Beside()
        self.told: list[HeardOf] = []
        self.failing: tuple[Neighbour, ...] | None = ()
        self.watch = NeighbourWatch({"dc2": self.lock}, self.clock, self.emit)
        self.herald = self.leader(epoch=7)

    def leader(self, epoch: int) -> Herald:
        async def told() -> tuple[Neighbour, ...] | None:
            return self.failing

        return Herald(epoch, self.clock, told)

    async def emit(self, event: HeardOf) -> None:
        self.told.append(event)

    async def write(self) -> None:
        """As the leader does, beside its mark."""
        mark = msgspec.to_builtins(Mark(seq=1, hash="x"))
        self.lock.note = msgspec.json.encode({**mark, "news": await self.herald.news()})

    async def look(self) -> list[tuple[tuple[Neighbour, ...], bool]]:
        self.told.clear()
        await self.watch.look("dc2")
        return [(event.failing, event.lost) for event in self.told]


async def test_news_are_told_once_and_replace_each_other() -> None:
    scene = Scene()
    assert await scene.look() == []
    scene.failing = (FAILS,)
    await scene.write()
    assert await scene.look() == [((FAILS,), False)]
    assert await scene.look() == []
    scene.failing = ()
    await scene.write()
    assert await scene.look() == [((), False)]
    assert msgspec.json.decode(scene.lock.note or b"", type=Mark) == Mark(seq=1, hash="x")


async def test_without_a_beat_for_a_minute_nothing_is_known() -> None:
    scene = Scene()
    scene.failing = (FAILS,)
    await scene.write()
    await scene.look()
    for _ in range(10):  # a leader at work, who has nothing new to say
        scene.clock.advance(BEAT_S)
        await scene.write()
        assert await scene.look() == []
    scene.failing = None  # it does not see its mesh any more
    for _ in range(4):
        assert await scene.look() == []
        scene.clock.advance(OLD_S / 4)
        await scene.write()
    scene.clock.advance(0.1)
    assert await scene.look() == [((), True)]
    assert await scene.look() == []
    scene.failing = (FAILS,)
    scene.clock.advance(BEAT_S)
    await scene.write()
    assert await scene.look() == [((FAILS,), False)]


async def test_who_cannot_be_read_is_not_heard_of_and_never_passing() -> None:
    scene = Scene()
    scene.lock.answers = False
    assert await scene.look() == []
    scene.clock.advance(OLD_S + 0.1)
    assert await scene.look() == [((), True)]


async def test_what_is_no_news_is_none() -> None:
    scene = Scene()
    for note in (b'{"seq": 1, "hash": "x"}', b"\xff", b'{"news": 1}', b""):
        scene.lock.note = note
        assert await scene.look() == []


async def test_a_new_leader_is_heard_at_once() -> None:
    scene = Scene()
    for _ in range(3):
        scene.clock.advance(BEAT_S)
        await scene.write()
    await scene.look()
    scene.herald, scene.failing = scene.leader(epoch=9), (FAILS,)
    await scene.write()
    assert await scene.look() == [((FAILS,), False)]
