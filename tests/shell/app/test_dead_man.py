"""The dead-man switch by the clock: what it notices, what it lets pass, and that its fence stays shut."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from consulguard.act import ActContext
from consulguard.app import Daemon, Rooms
from consulguard.app.dead_man import ROUND_S, DeadMan, Limits, Pulse, WatchedSelector
from consulguard.app.service import health_of
from consulguard.clock import FakeClock, SystemClock
from consulguard.consulapi import ConsulClient
from consulguard.coordinate import SingleLease
from consulguard.errors import NotSent
from consulguard.events import Configured
from consulguard.journal import SqliteStore
from consulguard.policy import Policy
from hypothesis import given
from hypothesis import strategies as st

from tests.core.guard.scenes import PAY, an_intent
from tests.support.waiting import eventually


class Watched:
    """Armed, but without its thread and the kernel's timer, which are the process's own."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.clock = FakeClock()
        self.said: list[str] = []
        self.dead = DeadMan(self.clock, Pulse(), limits, leave=self.said.append)
        self.dead._watched = (self.dead.pulse,)

    def after(self, seconds: float) -> bool:
        self.clock.advance(seconds)
        return self.dead.stuck()


def rests(w: Watched, seconds: float) -> None:
    w.dead.pulse.round_by = w.clock.monotonic() + seconds + w.dead.limits.loop_s


def appends(w: Watched) -> None:
    w.dead.pulse.append_since = w.clock.monotonic()


def turned(w: Watched) -> None:
    w.dead.pulse.turned_at = w.clock.monotonic()


@pytest.mark.parametrize(
    ("begins", "limit_s", "word"),
    [
        (lambda w: rests(w, 0), 5.0, "event loop"),
        (lambda w: rests(w, 1), 6.0, "event loop"),
        (appends, 5.0, "journal"),
        (turned, 30.0, "decision loop"),
    ],
)
def test_each_limit_is_kept_to_the_second(begins: Callable[[Watched], None], limit_s: float, word: str) -> None:
    w = Watched()
    begins(w)
    assert not w.after(limit_s - 0.01)
    assert w.said == []
    assert w.after(0.02)
    assert len(w.said) == 1
    assert word in w.said[0]
    assert w.after(100)
    assert len(w.said) == 1, "it ends the process once"


@pytest.mark.parametrize("begins", [lambda w: rests(w, 0), appends, turned])
def test_a_limit_of_zero_is_switched_off(begins: Callable[[Watched], None]) -> None:
    w = Watched(Limits(loop_s=0, append_s=0, silence_s=0))
    begins(w)
    assert not w.after(1e6)


def test_a_commit_that_ended_and_what_has_not_begun_are_no_reason() -> None:
    w = Watched()
    with w.dead.pulse.appending(w.clock.monotonic()):
        assert not w.after(4)
    assert not w.after(1e6)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100), st.floats(0, 100))
def test_what_is_older_is_never_better(loop: float, append: float, silence: float, more: float) -> None:
    """I14: age never brings it back to life."""

    def dead(older: float) -> bool:
        w = Watched()
        rests(w, -loop - older)
        w.dead.pulse.append_since = w.clock.monotonic() - append - older
        w.dead.pulse.turned_at = w.clock.monotonic() - silence - older
        return w.dead.stuck()

    assert dead(more) or not dead(0.0)


async def test_the_gate_is_shut_from_the_first_late_look_on() -> None:
    w = Watched()
    client = ConsulClient(addresses=["http://127.0.0.1:1"])
    ctx = ActContext(consul=client, clock=w.clock, fence=lambda: 0 if w.dead.stuck() else 1)
    intent = an_intent(PAY, expires_at=w.clock.now() + timedelta(hours=1))
    rests(w, 0)
    ctx.gate(intent)
    w.clock.advance(5.1)
    with pytest.raises(NotSent):
        ctx.gate(intent)
    rests(w, 0)
    with pytest.raises(NotSent):
        ctx.gate(intent)
    await client.close()


def test_a_loop_that_rests_comes_round_and_one_that_blocks_is_seen_before_it_goes_on() -> None:
    w = Watched(Limits(loop_s=0.0))
    rounds: list[float] = []
    w.dead.came_round = lambda rests_s=0.0: rounds.append(rests_s)  # type: ignore[method-assign]

    async def idle() -> None:
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 2 * ROUND_S + 0.2)
        assert sum(r == ROUND_S for r in rounds) >= 2

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(WatchedSelector(w.dead))) as runner:
        runner.run(idle())
    assert 0.0 in rounds


async def test_its_thread_sees_a_loop_that_never_comes_round() -> None:
    said: list[str] = []
    dead = DeadMan(SystemClock(), Pulse(), Limits(loop_s=60.0, append_s=0.2), leave=said.append)
    with dead.armed():
        with dead.pulse.appending(SystemClock().monotonic()):

            async def look() -> list[str]:
                return said

            await eventually(look, bool, within_s=30.0)
    assert "journal" in said[0]


STOPS = """
import os, signal
from consulguard.app.dead_man import DeadMan, Limits, Pulse
from consulguard.clock import SystemClock
dead = DeadMan(SystemClock(), Pulse(), Limits(loop_s=0.5))
with dead.armed():
    dead.came_round()
    os.kill(os.getpid(), signal.SIGSTOP)
    os.write(1, b"went on")
"""


def test_stopped_for_long_it_ends_as_it_wakes() -> None:
    process = subprocess.Popen([sys.executable, "-c", STOPS], stdout=subprocess.PIPE)
    with process:
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(1.5)
        process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert process.returncode == -signal.SIGALRM


class Nothing:
    """A watcher that has nothing to tell: Consul is away."""

    def resume(self, known: object) -> None:
        pass

    def focus(self, targets: object) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()


async def test_a_loop_with_nothing_to_do_is_no_stuck_loop(tmp_path: Path) -> None:
    """Liveness fails only on a stuck loop, never because Consul is away."""
    clock, client = SystemClock(), ConsulClient(addresses=["http://127.0.0.1:1"])
    async with SqliteStore(tmp_path / "journal.sqlite", channels=()) as store:
        rooms = Rooms(
            clock=clock,
            store=store,
            watcher=lambda emit: Nothing(),  # type: ignore[arg-type, return-value]
            actions={},
            context=ActContext(consul=client, clock=clock, fence=lambda: 1),
            lease=SingleLease(clock),
            configured=Configured(at=clock.now(), policy=Policy(), playbooks=()),
        )
        daemon = Daemon(rooms)
        daemon.idle_s = 0.02
        task = asyncio.create_task(daemon.run())
        turned: set[float | None] = set()

        async def look() -> int:
            turned.add(rooms.pulse.turned_at)
            return len(turned)

        await eventually(look, lambda n: n >= 10, within_s=30.0)
        written = daemon.seq
        await eventually(look, lambda n: n >= 20, within_s=30.0)
        assert daemon.seq == written, "turning with nothing to do writes nothing"
        assert health_of(daemon).alive
        daemon.silence_s = -1.0
        assert not health_of(daemon).alive
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await client.close()


def test_any_of_several_that_stands_still_ends_it() -> None:
    w, other = Watched(), Pulse()
    w.dead._watched = (w.dead.pulse, other)
    turned(w)
    other.turned_at = w.clock.monotonic()
    assert not w.after(20.0)
    turned(w)
    assert w.after(10.1)
    assert "decision loop" in w.said[0]
