"""The dead-man switch: a process that was stopped or is stuck ends before it acts on what it once knew.

Effects leave from the event loop's thread alone. That thread looks at the clock whenever the loop comes round and
again at the last gate before an effect; a thread of its own looks four times a second, for the case that the loop
never comes round. Whoever sees it first ends the process with code 70: nothing is cleaned up, as after a kill, and
the next life takes up what was open. Should even Python not get a turn, the kernel ends it with SIGALRM: its timer
runs on while the process is stopped, and the signal waits for the moment it wakes.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from consulguard.act import process
from consulguard.clock import Clock
from consulguard.model import Value

EXIT_CODE = 70
LOOK_EVERY_S = 0.25
ROUND_S = 1.0  # an idle loop comes round at least this often
ALARM_FACTOR = 2.0  # the kernel's turn, in loop limits: later than ours
STDERR = 2


class Limits(Value, frozen=True, kw_only=True):
    """Seconds; 0 switches one off."""

    loop_s: float = 5.0  # the event loop did not come round
    append_s: float = 5.0  # one commit of the journal takes
    silence_s: float = 30.0  # no decision was made, although nothing is enough for one


@dataclass(slots=True, kw_only=True)
class Pulse:
    """When the parts were last seen to move, on the monotonic clock. Single values: a thread may read them."""

    turned_at: float | None = None  # the decision loop ended a turn; None: it has not begun
    append_since: float | None = None  # the commit that is under way
    round_by: float | None = None  # when the event loop must have come round

    @contextlib.contextmanager
    def appending(self, now: float) -> Iterator[None]:
        """Around one commit of the journal."""
        self.append_since = now
        try:
            yield
        finally:
            self.append_since = None


def leave(reason: str) -> None:
    """End the process at once. It says one line if that is possible without waiting."""
    process.kill_all()
    line = f"consulguard: dead-man switch: {reason}; ending without another effect\n".encode()[:500]
    with contextlib.suppress(OSError, ValueError):
        if select.select((), (STDERR,), (), 0)[1]:
            os.write(STDERR, line)
    os._exit(EXIT_CODE)


class DeadMan:
    """Watches every ``Pulse`` it is armed with; the process's own knows when its event loop must come round.

    ``leave`` must not return; where it does (tests), the fence stays shut.
    """

    def __init__(
        self, clock: Clock, pulse: Pulse, limits: Limits | None = None, leave: Callable[[str], None] = leave
    ) -> None:
        self.pulse = pulse
        self.limits = limits or Limits()
        self.fired = ""
        self._clock = clock
        self._leave = leave
        self._watcher: threading.Thread | None = None
        self._watched: tuple[Pulse, ...] = ()  # replaced, never changed: a thread reads it
        self._stop = threading.Event()

    def stuck(self) -> bool:
        """Look, and end the process where it must end. True where that did not end it."""
        if self._watched and not self.fired and (reason := self._reason(self._clock.monotonic())):
            self.fired = reason
            self._leave(reason)
        return bool(self.fired)

    def came_round(self, rests_s: float = 0.0) -> None:
        """The event loop is about to rest for at most so long, or to run what is ready."""
        self.stuck()
        if self._watched and self.limits.loop_s:
            self.pulse.round_by = self._clock.monotonic() + rests_s + self.limits.loop_s
            signal.setitimer(signal.ITIMER_REAL, rests_s + self.limits.loop_s * ALARM_FACTOR)

    @contextlib.contextmanager
    def armed(self, pulse: Pulse | None = None) -> Iterator[None]:
        """Watch a pulse until the block is left. Only in the main thread of a process of its own.

        Several may be watched at a time: whichever stands still ends the process.
        """
        pulse = pulse or self.pulse
        pulse.turned_at = pulse.append_since = pulse.round_by = None  # an earlier life's are over
        if not self._watched:
            self.pulse.round_by = None
            self._stop.clear()
            self._watcher = threading.Thread(target=self._watch, name="dead-man", daemon=True)
            self._watcher.start()
        self._watched = (*self._watched, pulse)
        try:
            yield
        finally:
            self._watched = tuple(watched for watched in self._watched if watched is not pulse)
            if not self._watched:
                signal.setitimer(signal.ITIMER_REAL, 0)
                self._stop.set()
                if self._watcher is not None:
                    self._watcher.join()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            self.stuck()

    def _reason(self, now: float) -> str:
        limits, round_by = self.limits, self.pulse.round_by
        if limits.loop_s and round_by is not None and now > round_by:
            return f"the event loop is {limits.loop_s + now - round_by:.1f} s late"
        return next((reason for pulse in self._watched if (reason := self._still(pulse, now))), "")

    def _still(self, pulse: Pulse, now: float) -> str:
        # They may change while we look: each is read once.
        limits, append_since, turned_at = self.limits, pulse.append_since, pulse.turned_at
        if limits.append_s and append_since is not None and now - append_since > limits.append_s:
            return f"the journal has taken {now - append_since:.1f} s for one commit"
        if limits.silence_s and turned_at is not None and now - turned_at > limits.silence_s:
            return f"the decision loop has not turned for {now - turned_at:.1f} s"
        return ""


class WatchedSelector(selectors.DefaultSelector):
    """A selector that tells the dead-man switch whenever the loop comes round, before anything is run."""

    def __init__(self, dead_man: DeadMan) -> None:
        super().__init__()
        self._dead_man = dead_man

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As the loop asks, but never for longer than ``ROUND_S``."""
        rests_s = ROUND_S if timeout is None else max(0.0, min(timeout, ROUND_S))
        self._dead_man.came_round(rests_s)
        ready = super().select(rests_s)
        self._dead_man.came_round()
        return ready
