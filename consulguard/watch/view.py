"""May what we see be believed, and is it settled? Everything that says no ends up here as a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec

from consulguard.clock import Clock
from consulguard.events import AnyEvent, ViewChanged
from consulguard.model import View
from consulguard.watch.settings import WatchSettings

Emit = Callable[[AnyEvent], Awaitable[None]]
ROUNDS = 2  # looks of every feed before the view counts as settled
AUDITS = 2  # that must agree after a resync


class Problem(msgspec.Struct, kw_only=True):
    text: str
    since: float  # monotonic
    grace_s: float  # infinity: only a note


class ViewKeeper:
    """Collects problems and good looks, and publishes the ``View`` they make."""

    def __init__(self, clock: Clock, settings: WatchSettings, emit: Emit) -> None:
        self._clock = clock
        self._settings = settings
        self.emit = emit
        self._problems: dict[str, Problem] = {}
        self._rounds: dict[str, int] = {}
        self._first: set[str] = set()  # expected and never read yet
        self._audits_left = 0
        self._audit_reason = ""
        self._settle_from = clock.monotonic()
        self._settle_from_at = clock.now()
        self._as_of: datetime | None = None
        self._published: View | None = None
        self._was_trusted = False
        self._had_trust = False
        self._lock = asyncio.Lock()
        self.dirty = asyncio.Event()
        self.troubled = asyncio.Event()  # something failed or changed that may cost the trust
        self.on_return: Callable[[], None] = lambda: None  # trust is back: every feed must look again
        self.pending: set[str] = set()  # what else must have happened once before the view is settled
        self.services = self.instances = self.workloads = self.nodes = self.not_passing = 0
        self.version = ""

    # ---- what the feeds report

    def expect(self, name: str) -> None:
        """Without ``name`` there is no view: it must be read before anything is believed."""
        self._first.add(name)
        self._rounds[name] = 0

    def good(self, name: str) -> None:
        """``name`` gave a good answer."""
        self.clear(name)
        if name in self._rounds:
            self._rounds[name] += 1
            if name in self._first:
                self._first.discard(name)
                self.dirty.set()
            self.alive()

    def problem(self, source: str, text: str, *, grace_s: float = 0.0) -> None:
        """Something is wrong; after ``grace_s`` it costs the trust. The first text of an episode stays."""
        if 0 < grace_s < float("inf"):
            self.troubled.set()
        known = self._problems.get(source)
        if known is not None and known.grace_s <= grace_s:
            return
        since = known.since if known else self._clock.monotonic()
        self._problems[source] = Problem(text=text, since=since, grace_s=grace_s)
        self.dirty.set()

    def note(self, source: str, text: str) -> None:
        """Worth telling, but no reason for distrust."""
        self.problem(source, text, grace_s=float("inf"))

    def clear(self, source: str) -> None:
        if self._problems.pop(source, None) is not None:
            self.dirty.set()

    def unsettle(self) -> None:
        """Another agent answers, or the data were read anew: settling starts over."""
        self._settle_from, self._settle_from_at = self._clock.monotonic(), self._clock.now()
        self._rounds = dict.fromkeys(self._rounds, 0)
        self.dirty.set()

    def resync(self, reason: str) -> None:
        """All data are being read anew; nothing is believed until ``AUDITS`` audits in a row agree. Of several
        reasons in a row the first stays: the others mostly follow from it.
        """
        if not self._audits_left:
            self._audit_reason = reason
        self._audits_left = AUDITS
        self.unsettle()

    def audited(self, agrees: bool) -> None:
        if self._audits_left:
            self._audits_left = self._audits_left - 1 if agrees else AUDITS
            self.dirty.set()

    def alive(self) -> None:
        """The leader, or a feed through it, answered just now: without any problem, what we hold is as of now."""
        if not self._first and not any(p.grace_s != float("inf") for p in self._problems.values()):
            self._as_of = self._clock.now()

    @property
    def settled(self) -> bool:
        return self._published is not None and self._published.settled

    @property
    def audits_left(self) -> int:
        return self._audits_left

    @property
    def wait_s(self) -> float:
        """How long a feed may block: short while settling needs its next look."""
        return (
            self._settings.wait_s
            if self.settled
            else min(self._settings.wait_s, max(1.0, self._settings.settle_s / 2))
        )

    # ---- the view

    def build(self) -> View:
        now = self._clock.monotonic()
        doubts = [p.text for _, p in sorted(self._problems.items()) if now - p.since >= p.grace_s]
        if self._first:
            doubts.append(f"not read yet: {', '.join(sorted(self._first))}")
        if self._audits_left:
            doubts.append(f"{self._audit_reason}: {self._audits_left} more audits must agree")
        notes = [p.text for _, p in sorted(self._problems.items()) if p.grace_s == float("inf")]
        trusted = not doubts
        looked_twice = all(count >= ROUNDS for count in self._rounds.values())
        return View(
            trusted=trusted,
            reasons=(*doubts, *notes),
            services=self.services,
            instances=self.instances,
            workloads=self.workloads,
            nodes=self.nodes,
            not_passing=self.not_passing,
            as_of=self._as_of,
            settled=trusted
            and looked_twice
            and not self.pending
            and now - self._settle_from >= self._settings.settle_s,
            settled_at=self._settle_from_at + timedelta(seconds=self._settings.settle_s),
            version=self.version,
        )

    def at_once(self) -> View:
        """The view of a single look: trusted if nothing spoke against it, never settled."""
        for problem in self._problems.values():
            problem.grace_s = problem.grace_s if problem.grace_s == float("inf") else 0.0
        self.alive()
        view = self.build()
        return msgspec.structs.replace(view, settled=False, settled_at=None)

    async def publish(self) -> None:
        """Emit the view if it says something new, or its ``as_of`` has moved on by a heartbeat."""
        async with self._lock:
            if (view := self.build()).trusted and not self._was_trusted and self._published is not None:
                view = self._trusted_again()
            self._was_trusted = view.trusted
            if not self._says_something_new(view):
                return
            self._published = view
            await self.emit(ViewChanged(at=self._clock.now(), view=view))

    async def run(self) -> None:
        """Publish when something happened, and look once a second for what time alone changes."""
        while True:
            try:
                async with asyncio.timeout(1.0):
                    await self.dirty.wait()
            except TimeoutError:
                pass
            self.dirty.clear()
            await self.publish()

    def _trusted_again(self) -> View:
        """Trust was lost and is back: what happened in between is not known well enough to act at once."""
        if self._had_trust:
            self.unsettle()
            self.on_return()
        self._had_trust = True
        return self.build()

    def _says_something_new(self, view: View) -> bool:
        last = self._published
        if last is None or msgspec.structs.replace(view, as_of=last.as_of) != last:
            return True
        if view.as_of is None or view.as_of == last.as_of:
            return False
        return last.as_of is None or (view.as_of - last.as_of).total_seconds() >= self._settings.heartbeat_s
