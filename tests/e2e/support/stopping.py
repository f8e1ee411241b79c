"""A pair whose leader is stopped again and again, with a step prepared or with its request on the wire."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from consulguard.app.dead_man import EXIT_CODE

from tests.e2e.support.fenced import Fenced
from tests.e2e.support.pair import Pair, own_servers
from tests.support.postgresql import RealPostgres

LOOK_S = 0.1
PATIENCE_S = 180.0
GRACE_S = 1.0  # for what should not come
AHEAD = 2  # services that are there before they fail: a new one has to be seen first
POINT = "act.before_send:stop:*"  # whoever should not stand there is let go at once
NO_DEAD_MAN = {"loop_lag": "0s", "append": "0s", "silence": "0s"}  # nothing but the lease is left
# Besides the dead-man switch: the kernel's alarm, where it comes before our own look; and a journal whose server
# has broken off what a process that stood still had begun.
JOURNAL_LOST = 74
ENDED = (EXIT_CODE, -signal.SIGALRM, JOURNAL_LOST)
DEAD_MAN = {"loop_lag": "5s", "append": "5s", "silence": "30s"}  # as shipped


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One run, as the target saw it."""

    seconds: float  # how long the leader stood still
    wire: bool  # its request was already on the wire
    effects: int  # behind the fence: must be one
    stale_effects: int  # of an epoch older than one seen before: must be none
    repeated: int  # attempts that had an effect twice: must be none
    stale: int  # what would have reached a target without a fence: requests of an older epoch
    again: int  # and requests of an attempt it had seen
    new_leader: bool  # whether the lease went on meanwhile
    died: bool  # the old leader ended when it woke
    took_s: float  # from the stop to the effect


class Stopping:
    """Armed daemons: both stop before every effect."""

    def __init__(self, pair: Pair, target: Fenced, key: str) -> None:
        self.pair = pair
        self.target = target
        self._key = key
        self._services = 0
        self._done_at: dict[str, float] = {}
        self._died = False
        self._old = ""  # who led when the present run began
        self.stood = False  # in the present run, the leader has been stopped

    async def effect(self, name: str) -> None:
        self._done_at.setdefault(name, time.monotonic())
        await self.pair.heal(name)

    async def begin(self) -> None:
        for number in range(1, AHEAD + 1):
            await self.pair.register(f"s-{number}")
        for which in ("a", "b"):
            self.pair.make(which, "s-.*")
            self.pair.start(which, POINT)
            await self._until("somebody leads", lambda: self.pair.settled_at() > 0)

    async def run(self, seconds: float, *, wire: bool = False) -> Seen:
        """The leader stops with a step prepared, for so long; returns when the step is done and all is quiet."""
        self.stood = False
        self._services += 1
        name, before = f"s-{self._services}", len(self.target.asked)
        await self.pair.register(f"s-{self._services + AHEAD}")
        await self._until("a leader", self._led)
        old, epoch = self._old, self.pair.epochs()[-1]
        if wire:
            self.target.delay_next()
        await self.pair.fail(name)
        await self._stopped(old, name, wire=wire)
        stopped_at, self.stood = time.monotonic(), True
        await self._let_pass(stopped_at + seconds, but=old)
        self.target.let_go()
        self.pair.bots[old].signal(signal.SIGCONT)
        await self._until("the step is done", lambda: self._over(name))
        await self._let_pass(time.monotonic() + GRACE_S)
        died = await self._mended()
        return self._seen(
            self.target.asked[before:],
            seconds=seconds,
            wire=wire,
            new_leader=self.pair.epochs()[-1] != epoch,
            died=died,
            took_s=self._done_at[name] - stopped_at,
        )

    def _seen(self, asked: list[Any], **told: Any) -> Seen:
        done = [one for one in self.target.asked if one.done]
        attempts = [one.attempt for one in done]
        falls = sum(after.epoch < before.epoch for before, after in itertools.pairwise(done))
        return Seen(
            effects=sum(one.done for one in asked),
            stale_effects=falls,
            repeated=len(attempts) - len(set(attempts)),
            stale=sum(one.stale for one in asked),
            again=sum(one.again for one in asked),
            **told,
        )

    # ---- inside

    async def _stopped(self, old: str, name: str, *, wire: bool) -> None:
        """The leader stands still where it should."""
        bot = self.pair.bots[old]
        if wire:
            await self._until("the request is on the wire", lambda: self.target.on_the_wire == name)
            bot.signal(signal.SIGSTOP)
        await self._until("the leader stands", lambda: bot.stopped, but=old)

    async def _until(self, what: str, holds: Callable[[], Any], *, but: str = "") -> None:
        end = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > end:
                said = "\n".join(f"--- {name}: {bot.output()}" for name, bot in self.pair.bots.items())
                raise AssertionError(f"not within {PATIENCE_S:g} s: {what}\n{said}")
            await self._let_pass(time.monotonic() + LOOK_S, but=but)

    async def _let_pass(self, end: float, *, but: str = "") -> None:
        """Until then, everybody but one goes on from where the fail-point has stopped him."""
        while True:
            for name, bot in self.pair.bots.items():
                if name != but and bot.stopped:
                    bot.signal(signal.SIGCONT)
            if time.monotonic() >= end:
                return
            await asyncio.sleep(LOOK_S)

    def _over(self, name: str) -> bool:
        """It was done, and whoever leads knows it. Who was ended by the dead-man switch begins again."""
        self._begin_again()
        done = any(one.done for one in self.target.about(name))
        return done and self._settled()

    def _led(self) -> bool:
        self._begin_again()
        self._old = self._leader() or ""
        return bool(self._old) and self._settled()

    def _settled(self) -> bool:
        """In the newest life of the one that leads."""
        return self.pair.settled_at() > 0

    def _begin_again(self) -> None:
        for name, bot in self.pair.bots.items():
            code = bot.ended_with()
            if code is not None:
                assert code in ENDED, bot.output()
                bot.forget()
                self.pair.start(name, POINT)
                self._died = True

    async def _mended(self) -> bool:
        def both_run() -> bool:
            self._begin_again()
            return all(self.pair.stands_by(name) for name in self.pair.bots)

        await self._until("both run", both_run)
        died, self._died = self._died, False
        return died

    def _leader(self) -> str | None:
        """Whose process holds the lock, as Consul has it."""
        url = f"{self.pair.consul.address}/v1/kv/{self._key}"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            (found,) = json.load(answer)
            if found.get("Session"):
                return self._named(found["Value"])
        return None

    def _named(self, value: str) -> str | None:
        pid = int(base64.b64decode(value).rpartition(b"/")[2])
        return next((name for name, bot in self.pair.bots.items() if bot.runs and bot.pid == pid), None)


@contextlib.asynccontextmanager
async def stopping(
    postgres: RealPostgres, name: str, *, dead_man: bool, ttl: str = "0s"
) -> AsyncIterator[Stopping]:
    """A pair with a Consul of its own: nobody sees what others let fail. ``ttl``: 0s is the default."""
    made: Stopping
    async with contextlib.AsyncExitStack() as stack:
        consul, journal, folder = await stack.enter_async_context(own_servers(postgres, name))
        target = await stack.enter_async_context(Fenced(lambda about: made.effect(about)))
        key = f"consulguard/{name}"
        pair = Pair(
            consul,
            journal,
            folder,
            target,
            coordinate={"backend": "consul", "key": key, "ttl": ttl},
            server={"dead_man": DEAD_MAN if dead_man else NO_DEAD_MAN},
        )
        stack.push_async_callback(pair.end)
        made = Stopping(pair, target, key)
        await made.begin()
        yield made
