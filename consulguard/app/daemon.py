"""The daemon: one coroutine owns the state. Event in, journal, step, journal, and only then the effects out."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog

from consulguard import __version__, correlate, health
from consulguard.act import ActContext, Action
from consulguard.act.runner import perform, probe, ready
from consulguard.app.calls import CallWatch
from consulguard.app.codec import encode
from consulguard.app.dead_man import Pulse
from consulguard.app.knocker import Knocker
from consulguard.app.lanes import Lanes
from consulguard.app.looking import with_query
from consulguard.app.neighbours import NeighbourWatch
from consulguard.app.past import JOURNAL, Fold, Step
from consulguard.clock import Clock
from consulguard.coordinate import Lease, Lock
from consulguard.engine import EngineState, step
from consulguard.engine.step import snapshot
from consulguard.errors import StoreUnavailable
from consulguard.events import (
    AnyEffect,
    AnyEvent,
    Commanded,
    Configured,
    Do,
    Knock,
    LeaseChanged,
    Look,
    Observed,
    Probe,
    Reply,
    Resulted,
    Started,
    Tell,
    ViewChanged,
    Wake,
    Watch,
    Woke,
)
from consulguard.journal import Draft, Store
from consulguard.model import Message, Neighbour, Outcome
from consulguard.watch import Watcher

if TYPE_CHECKING:
    from consulguard.app.tracing import Turned  # metrics with it: too heavy for verbs that only read

INBOX = 10_000
IDLE_S = 5.0  # a turn in which nothing has come: Consul may be away, the loop is not
TURN = 256  # events taken in one turn, and so in one commit
HEAVY = 500  # things not passing, or observations in a turn: from here on the step leaves the loop to others
SNAPSHOT_EVERY = 5_000  # entries
PARK_POLL_S = 0.05
LEASE_POLL_S = 0.2
REPLAY_S = 2.0  # of stepping, which a restart would have to repeat; not in a crowd, whose snapshots are heavy
T = TypeVar("T")
log = structlog.get_logger("consulguard.app")


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """Everything the daemon is wired from."""

    clock: Clock
    store: Store
    watcher: Callable[[Callable[[AnyEvent], Any]], Watcher]
    actions: Mapping[str, Action[Any]]
    context: ActContext
    lease: Lease
    configured: Configured
    calls: Callable[[Callable[[AnyEvent], Any]], CallWatch] | None = None  # where they are measured
    knocker: Callable[[Callable[[AnyEvent], Any]], Knocker] | None = None  # where services may be probed
    neighbours: Callable[[], Mapping[str, Lock]] | None = None  # other units' locks, where there are any
    failpoint: Callable[[str], None] = field(default=lambda name: None)
    told: Callable[[], None] = field(default=lambda: None)  # the outbox has something new
    step: Step = step  # the engine
    turned: Callable[[EngineState, Sequence[AnyEvent]], None] = field(default=lambda state, events: None)
    traced: Turned = field(default=lambda state, events, effects: None)
    warm: Fold | None = None  # the journal as far as it was read while another wrote it
    held: str = ""  # why nothing may be done until a person resumes; empty when there is no reason
    pulse: Pulse = field(default_factory=Pulse)


class Daemon:
    """Runs until cancelled. After a failed journal write nothing is known any more: it ends with the error."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.state = EngineState()
        self.seq = 0
        self._inbox: asyncio.Queue[AnyEvent] = asyncio.Queue(INBOX)
        self._watcher = rooms.watcher(self._inbox.put)
        self._knocker = rooms.knocker(self._inbox.put) if rooms.knocker is not None else None
        self._timer: asyncio.TimerHandle | None = None
        self._last_snapshot = 0
        self._stepped_s = 0.0  # since the last snapshot
        self._doubt = ""
        self._answers: dict[str, asyncio.Future[Reply | None]] = {}
        self._turning = asyncio.Lock()
        self.replayed = False  # what the journal held is known: until then nothing is decided
        self._torn = False  # the state is ahead of ``seq``: a turn is under way, or was broken off
        self._under_way: set[str] = set()  # attempts let go whose outcome is not journaled yet
        self._parking = False
        self.seen_all = asyncio.Event()  # the mesh has been read once since this life began
        self.idle_s = IDLE_S
        self.silence_s = 120.0  # an idle loop turns far more often than this

    def epoch(self) -> int:
        """The epoch an intent must carry to be sent; 0 while the lease is not held."""
        return self.state.epoch if self.state.lease_held or self._parking else 0

    async def run(self) -> None:
        """Open the journal, take up what it holds, then turn until cancelled. Raises StoreUnavailable."""
        await self.open()
        async with asyncio.TaskGroup() as group:
            self._lanes = Lanes(group)
            group.create_task(self._watcher.run(), name="watcher")
            if self.rooms.calls is not None:
                group.create_task(self.rooms.calls(self._inbox.put).run(), name="calls")
            if self.rooms.neighbours is not None:
                watch = NeighbourWatch(self.rooms.neighbours(), self.rooms.clock, self._inbox.put)
                group.create_task(watch.run(), name="neighbours")
            try:
                await self._start()
                group.create_task(self._follow_lease(), name="lease")
                while True:
                    await self.turn()
            finally:
                self._cancel_timer()
                await self._keep_snapshot()

    async def open(self) -> None:
        """Fold the journal into the state and tell the watcher what was not passing when it ended."""
        warm = None if self.rooms.store.behind else self.rooms.warm
        reading = warm or Fold(self.rooms.step)
        await reading.advance(self.rooms.store)
        past = reading.end()
        self.state, self.seq, self._doubt = past.state, past.seq, past.doubt
        self._last_snapshot = self.seq
        self._watcher.resume(health.known(self.state.health))
        self.replayed = True

    async def _start(self) -> None:
        if self.state.at is not None:
            self.rooms.clock.not_before(self.state.at)
        at = self.rooms.clock.now()
        life = Started(at=at, life=secrets.token_hex(16), version=__version__)
        dropped = LeaseChanged(at=at, held=False, epoch=self.state.epoch, reason="the last life ended")
        lost = self.rooms.store.behind
        reasons = [reason for reason in (lost, self._doubt, self.rooms.held) if reason]
        stop = [Commanded(at=at, command="stop", who=JOURNAL, args={"reason": reason}) for reason in reasons]
        await self._process([dropped, self._configured(at), life, *stop])
        if lost:  # it is on record now: from here the journal as it stands is the truth, and a person resumes
            await self.rooms.store.accept(self.seq)

    async def _follow_lease(self) -> None:
        async for change in self.rooms.lease.changes(self.state.epoch):
            await self._inbox.put(change)

    def _configured(self, at: datetime) -> Configured:
        given = self.rooms.configured
        return Configured(at=at, policy=given.policy, playbooks=given.playbooks, actions=given.actions)

    async def command(self, name: str, args: dict[str, Any], who: str) -> Reply | None:
        """A person's word; returns when it is journaled and in force, with the engine's answer if it has one."""
        key = secrets.token_hex(8)
        event = Commanded(at=self.rooms.clock.now(), command=name, who=who, args=args, key=key)
        self._answers[key] = asyncio.get_running_loop().create_future()
        await self._inbox.put(event)
        return await self._answers[key]

    async def ask(self, question: Callable[[EngineState], T]) -> T:
        """What the state says between two turns; ``question`` only reads, and keeps nothing that changes."""
        async with self._turning:
            return question(self.state)

    async def failing(self) -> tuple[Neighbour, ...] | None:
        """Our failing services, for other units; None while what we see is not to be trusted."""
        return await self.ask(lambda state: correlate.news(state.book) if state.view.trusted else None)

    async def park(self, within_s: float, hurry: Callable[[], bool]) -> None:
        """Let nothing go any more, and wait until what is under way has ended and is journaled.

        After ``within_s`` seconds, or when ``hurry`` says so, what is left is broken off: its intent is in the
        journal, so the next life takes it up as an unknown outcome.
        """
        self._parking = True  # what was let go before may finish
        at, end = self.rooms.clock.now(), self.rooms.clock.monotonic() + within_s
        await self._inbox.put(LeaseChanged(at=at, held=False, epoch=self.state.epoch, reason="this life ends"))
        while (self.state.lease_held or self._under_way) and not hurry() and self.rooms.clock.monotonic() < end:
            await asyncio.sleep(PARK_POLL_S)

    async def reconfigure(self, given: Configured) -> None:
        """Other playbooks from now on. Runs under way keep the one they began with."""
        await self._inbox.put(given)

    async def turn(self) -> None:
        """Take what is waiting, as much as is soon done, and process it as one commit."""
        try:
            async with asyncio.timeout(self.idle_s):
                events = [await self._inbox.get()]
        except TimeoutError:
            self._turned()
            return
        weight = _weight(events[0])
        while len(events) < TURN and weight < HEAVY and not self._inbox.empty():
            events.append(self._inbox.get_nowait())
            weight += _weight(events[-1])
        await self._process(events)
        for event in events:
            if isinstance(event, Commanded):
                self._answer(event.key, None)

    def _answer(self, key: str, reply: Reply | None) -> None:
        if (answer := self._answers.pop(key, None)) is not None and not answer.done():
            answer.set_result(reply)

    async def _process(self, events: Sequence[AnyEvent]) -> None:
        async with self._turning:
            self._torn = True
            weight = len(self.state.health.troubles) + sum(_weight(e) for e in events)
            # A thread shares the interpreter and gains no time, but the loop gets its turns in between.
            began = self.rooms.clock.monotonic()
            done = await asyncio.to_thread(self._step, events) if weight >= HEAVY else self._step(events)
            self._stepped_s += self.rooms.clock.monotonic() - began
            drafts, effects = done
            messages = [e.message for e in effects if isinstance(e, Tell)]
            with self.rooms.pulse.appending(self.rooms.clock.monotonic()):
                self.seq = await self.rooms.store.append(drafts, messages)
            self._torn = False
            self._under_way -= {e.result.intent_id for e in events if isinstance(e, Resulted)}
            self._turned()
            if self.state.view.as_of is not None and any(isinstance(e, ViewChanged) for e in events):
                self.seen_all.set()
            self.rooms.failpoint("app.after_journal")
            if any(isinstance(e, Do) for e in effects):
                self.rooms.failpoint("app.after_intent")
                # Another version would replay to other decisions; these are made. And a journal that cannot be
                # written is not acted on.
                await self._save_snapshot()
            self._dispatch(effects, messages)
            self.rooms.turned(self.state, events)
            self.rooms.traced(self.state, events, effects)
            long = self._stepped_s >= REPLAY_S and weight < HEAVY
            if long or self.seq - self._last_snapshot >= SNAPSHOT_EVERY:
                await self._save_snapshot()

    def _turned(self) -> None:
        self.rooms.pulse.turned_at = self.rooms.clock.monotonic()

    @property
    def turned_ago_s(self) -> float:
        """Since the loop last turned; 0 while the journal is still being read."""
        turned_at = self.rooms.pulse.turned_at
        return self.rooms.clock.monotonic() - turned_at if turned_at is not None else 0.0

    def _step(self, events: Sequence[AnyEvent]) -> tuple[list[Draft], list[AnyEffect]]:
        """The events through the engine: what is to be journaled and what is to be done. No I/O.

        An intent stands behind the event that decided it; an entry's epoch is the one after its event, so that
        the first word of a new leader shuts out the old one.
        """
        drafts: list[Draft] = []
        effects: list[AnyEffect] = []
        for event in events:
            self.state, new = self.rooms.step(self.state, event)
            effects += new
            entries = [("event", encode(event)), *(("intent", encode(e)) for e in new if isinstance(e, Do))]
            drafts += [Draft(at=event.at, kind=k, body=b, epoch=self.state.epoch) for k, b in entries]
        return drafts, effects

    def _dispatch(self, effects: Sequence[AnyEffect], messages: Sequence[Message]) -> None:
        for effect in effects:
            match effect:
                case Do(intent=intent):
                    self._under_way.add(intent.id)
                    self._lanes.put(intent.target.key, partial(self._do, effect))
                case Probe(intent=intent):
                    self._lanes.put(intent.target.key, partial(self._probe, effect))
                case Look():
                    self._lanes.put(f"look {effect.key}", partial(self._look, effect))
                case Knock() if self._knocker is not None:
                    self._lanes.put(f"knock {effect.service.key}", partial(self._knocker.ask, effect))
                case Watch():
                    self._watcher.focus(effect.targets)
                case Wake():
                    self._wake(effect.at)
                case Reply():
                    self._answer(effect.key, effect)
                case _:
                    pass
        if messages:
            self.rooms.told()

    async def _do(self, effect: Do) -> None:
        result = await perform(effect.intent, self.rooms.actions, self.rooms.context)
        # Refused by our own gate is no answer of the target: with the lease again it is sent after all, and
        # without it the next leader takes the intent up, this life being over.
        while result.outcome is Outcome.RETRY and not self.rooms.lease.sends():
            await asyncio.sleep(LEASE_POLL_S)
            if self.rooms.lease.sends():
                result = await perform(effect.intent, self.rooms.actions, self.rooms.context)
        self.rooms.failpoint("app.before_result")
        await self._inbox.put(Resulted(at=self.rooms.clock.now(), result=result))

    async def _probe(self, effect: Probe) -> None:
        result = await probe(effect.intent, self.rooms.actions, self.rooms.context)
        await self._inbox.put(Resulted(at=self.rooms.clock.now(), result=result))

    async def _look(self, effect: Look) -> None:
        await asyncio.sleep(effect.after_s)
        holds: tuple[str, ...] = ()
        if effect.intent is not None:  # first, so that what Consul says is the newer
            holds = await ready(effect.intent, self.rooms.actions, self.rooms.context)
        looked = msgspec.structs.replace(await self._watcher.look(effect), holds=holds)
        prometheus = self.rooms.context.settings.prometheus
        await self._inbox.put(await with_query(effect, looked, prometheus, self.rooms.clock))

    def _wake(self, at: datetime) -> None:
        self._cancel_timer()
        delay = max(timedelta(0), at - self.rooms.clock.now()).total_seconds()
        self._timer = asyncio.get_running_loop().call_later(delay, self._woke)

    def _woke(self) -> None:
        """A full inbox will make a turn anyway, and every turn sets the timer anew."""
        self._timer = None
        if not self._inbox.full():
            self._inbox.put_nowait(Woke(at=self.rooms.clock.now()))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def compact(self, retention_s: float) -> int:
        """Forget entries older than the retention that no snapshot needs; returns how many."""
        async with self._turning:
            await self._keep_snapshot()
        oldest = self.rooms.clock.now() - timedelta(seconds=retention_s)
        keep_after = 0
        async for entry in self.rooms.store.entries():
            if entry.at >= oldest:
                break
            keep_after = entry.seq
        return await self.rooms.store.compact(keep_after) if keep_after else 0

    async def _keep_snapshot(self) -> None:
        """Without one the next start replays the journal from further back, and that with its own version."""
        if self._torn:
            return
        try:
            await self._save_snapshot()
        except StoreUnavailable as error:
            log.warning("snapshot_not_kept", reason=str(error))

    async def _save_snapshot(self) -> None:
        await self.rooms.store.save_snapshot(self.seq, snapshot(self.state))
        self._last_snapshot, self._stepped_s = self.seq, 0.0


def _weight(event: AnyEvent) -> int:
    """How much work an event is, in observations."""
    return len(event.observations) if isinstance(event, Observed) else 0
