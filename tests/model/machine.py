"""The state machine: what may happen to two replicas, their Consul, their journal, their targets and their people.

Real: the engine, the daemon (``app.Daemon``: turns, lanes, snapshots, recovery), ``app.fold`` and the codec, the
journal (``SqliteStore``, ``Session``, the outbox and its worker), the runner and the gate before every effect.
Simulated: time, the lease, what the watcher tells, the wire and the targets. Left out: the journal's file lock
(two replicas reach the same file, one after the other or one stalled) and its thread (the loop calls it itself).
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import structlog
from consulguard.app import fold
from consulguard.engine.step import snapshot
from consulguard.errors import ActionRefused
from consulguard.events import LeaseChanged
from consulguard.journal import SqliteStore
from consulguard.model import Entry, Status
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.model.loop import Time
from tests.model.mesh import INSTANCES, KINDS, PEOPLE, Request, World, configured, instance, trouble
from tests.model.oracle import Oracle
from tests.model.replica import POINTS, Replica
from tests.model.seams import Mutation

SHM = Path("/dev/shm")
NAMES = st.sampled_from(("A", "B"))
WHICH = st.integers(0, 30)  # of a list that is known only when the rule runs
TICKS = st.sampled_from([0.2, 1.0, 1.0, 2.0, 3.0, 6.0, 12.0, 40.0, 200.0, 700.0])
ENDINGS = st.sampled_from(
    [
        "cured",
        "cured",
        "no use",
        "no use",
        "lost",
        "unsent",
        "refused",
        "crash",
        "die",
        "die sent",
        "stall",
        "wire",
    ]
)
CLICKS = (("ann", "ann"), ("ann", "bob"), ("ann", "eve"), ("cid", "cid", "bob"), ("bob",), ())
FRESH = st.booleans()
LIVENESS_S = 1500.0  # a run that guards stop goes to a person after 900 s


def rooms_are_quiet() -> None:
    """Millions of steps would log millions of lines."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


class Prefix(SqliteStore):
    """The journal as it was after so many entries; read only, beside whoever writes it."""

    def __init__(self, path: Path, upto: int) -> None:
        super().__init__(path, readonly=True)
        self._upto = upto

    async def open(self) -> None:
        self._session.open()

    async def close(self) -> None:
        self._session.abandon()

    async def _on_thread(self, work: Callable[[], Any]) -> Any:
        return work()

    async def load_snapshot(self) -> tuple[int, bytes] | None:
        return None

    async def entries(self, after: int = 0, limit: int | None = None) -> AsyncIterator[Entry]:
        async for entry in super().entries(after, limit):
            if entry.seq > self._upto:
                return
            yield entry


def run_alone(work: Any) -> Any:
    """A coroutine that never really waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


class Model(RuleBasedStateMachine):
    mutation: Mutation = Mutation()
    counted: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=SHM if SHM.is_dir() else None, prefix="model-"))
        self.world = World(Time(), fences=self.mutation.fences, masks=self.mutation.masks)
        journal = self.folder / "journal.db"
        self.oracle = Oracle(journal, self.world, self.mutation)
        self.replicas = {name: Replica(name, self.world, journal, self.mutation) for name in ("A", "B")}
        for replica in self.replicas.values():
            replica.on_send = lambda request, r=replica: self.oracle.sending(request, r)
        self.holder, self.epoch, self.failed = "", 0, False
        self.buttons: list[str] = []  # every approval anybody ever saw
        self.lead("A")

    # ---- what rules are made of

    def go(self) -> None:
        """Everybody who runs does what there is to do: one step of the model."""
        self.count("steps")
        for replica in self.replicas.values():
            replica.drain()
        self.oracle.read()
        for question in self.oracle.state.questions:
            if question not in self.buttons:
                self.buttons.append(question)

    def pass_time(self, seconds: float) -> None:
        self.world.time.seconds += seconds
        for replica in self.replicas.values():
            if replica.running:
                replica.watcher.ring()
        self.go()

    def lead(self, name: str) -> None:
        """The lease goes to this one; whoever had it is not told."""
        replica = self.replicas[name]
        if replica.stopped:
            return
        if not replica.up:
            replica.boot()
        self.holder, self.epoch = name, self.epoch + 1
        if replica.up:
            held = LeaseChanged(at=self.world.time.now(), held=True, epoch=self.epoch)
            replica.lease.news.put_nowait(held)
        self.go()

    def leader(self) -> Replica:
        """Somebody who leads, in good order and with a view of the world."""
        for replica in self.replicas.values():
            replica.stopped, replica.armed = False, ("", 0, "kill")
        self.go()
        found = self.replicas.get(self.holder)
        if found is None or not found.up or not found.daemon.state.lease_held:
            if found is not None:
                found.crash()
            self.lead(self.holder or "A")
            found = self.replicas[self.holder]
        if not found.up:  # the other one wrote before it
            self.lead(self.holder)
        found.watcher.mode = "live"
        return found

    def calm(self) -> None:
        """All is well for so long that nothing of before counts any more."""
        leader = self.leader()
        leader.command("resume", "ann")
        for target in INSTANCES:
            self.world.change(target, Status.PASSING)
        for request in self.world.wire:
            self.answer(request, "cured")
        for seconds in (1.0, 4.0, 12.0, 620.0, 620.0, 1.0, 1.0):
            self.pass_time(seconds)
        self.leader()

    def answer(self, request: Request, how: str) -> None:
        """What becomes of a request: it arrives and cures or not, or it does not and fails in some way."""
        error: Exception | None = None
        if how in ("cured", "no use", "lost"):
            try:
                ending = self.world.deliver(request, cures=how == "cured")
            except ActionRefused as refusal:
                error = refusal
        else:
            request.dropped = True
        if how not in ("cured", "no use"):
            error = trouble(how)
        sender = self.replicas[request.sender]
        if not sender.up or request.answer.done() or request.answer.get_loop() is not sender.loop:
            return
        if error is not None:
            request.answer.set_exception(error)
        else:
            request.answer.set_result(ending)

    # ---- time and the world

    @rule(seconds=TICKS)
    def tick(self, seconds: float) -> None:
        self.count("tick")
        self.pass_time(seconds)

    @rule(which=st.integers(0, len(INSTANCES) - 1))
    def fail(self, which: int) -> None:
        self.count("fail")
        self.world.change(INSTANCES[which], Status.CRITICAL)
        self.pass_time(0.2)

    @rule(which=st.integers(0, len(INSTANCES) - 1))
    def heal(self, which: int) -> None:
        self.count("heal")
        self.world.change(INSTANCES[which], Status.PASSING)
        self.pass_time(0.2)

    @rule(name=NAMES, mode=st.sampled_from(["live", "silent", "dark", "untrusted"]))
    def view(self, name: str, mode: str) -> None:
        self.count("view")
        replica = self.replicas[name]
        if replica.up:
            replica.watcher.mode = mode
        self.pass_time(0.2)

    @rule()
    def edit_playbooks(self) -> None:
        """Files are edited and read anew while runs are under way."""
        self.count("edit_playbooks")
        self.world.version += 1
        for replica in self.replicas.values():
            if replica.running:
                replica.tell(self.mutation.configured(configured(self.world.time, self.world.version)))
        self.go()

    @rule()
    def blind_probe(self) -> None:
        self.count("blind_probe")
        self.world.blind = not self.world.blind

    # ---- lease and life

    @rule(name=NAMES)
    def acquire(self, name: str) -> None:
        self.count("acquire")
        self.lead(name)

    @rule(name=NAMES)
    def notice_the_lease_is_lost(self, name: str) -> None:
        self.count("notice_the_lease_is_lost")
        replica = self.replicas[name]
        if replica.up and self.holder == name:
            self.holder = ""
        if replica.up:
            lost = LeaseChanged(at=self.world.time.now(), held=False, epoch=replica.daemon.state.epoch)
            replica.lease.news.put_nowait(lost)
        self.go()

    @rule(name=NAMES)
    def crash(self, name: str) -> None:
        self.count("crash")
        self.replicas[name].crash()
        self.go()

    @rule(
        name=NAMES,
        point=st.sampled_from(POINTS),
        nth=st.integers(1, 3),
        how=st.sampled_from(["kill", "kill", "stall"]),
    )
    def crash_at(self, name: str, point: str, nth: int, how: str) -> None:
        """It will die or stall the next time, or a little later, it comes by this point of a turn."""
        self.count("crash_at")
        self.replicas[name].armed = (point, nth, how)

    @rule(name=NAMES)
    def stall(self, name: str) -> None:
        """SIGSTOP; time goes on."""
        self.count("stall")
        self.replicas[name].stopped = self.replicas[name].up

    @rule(name=NAMES)
    def go_on(self, name: str) -> None:
        """SIGCONT."""
        self.count("go_on")
        self.replicas[name].stopped = False
        self.go()

    @rule(name=NAMES)
    def recover(self, name: str) -> None:
        """A dead one comes back and leads."""
        self.count("recover")
        if not self.replicas[name].up:
            self.lead(name)

    # ---- people

    @rule(name=NAMES, word=st.sampled_from(["pause", "stop"]), for_s=st.sampled_from([None, None, 5, 60]))
    def pause(self, name: str, word: str, for_s: int | None) -> None:
        self.count("pause")
        if self.replicas[name].running:
            args = {"for_s": for_s} if for_s else {}
            self.replicas[name].command(word, "ann", reason="drill", **args)
        self.go()

    @rule(name=NAMES)
    def resume(self, name: str) -> None:
        self.count("resume")
        if self.replicas[name].running:
            self.replicas[name].command("resume", "ann")
        self.go()

    @rule(name=NAMES, service=st.sampled_from(sorted(KINDS)))
    def order(self, name: str, service: str) -> None:
        self.count("order")
        if self.replicas[name].running:
            self.replicas[name].command("run", "dan", playbook=service, service=service)
        self.go()

    @precondition(lambda self: self.buttons)
    @rule(
        name=NAMES,
        which=WHICH,
        who=st.sampled_from((*PEOPLE, "eve")),
        word=st.sampled_from(["approve", "approve", "approve", "deny"]),
    )
    def click(self, name: str, which: int, who: str, word: str) -> None:
        """On any button that was ever shown, the newest ones rather: also too late, twice, by a stranger."""
        self.count("click")
        if self.replicas[name].running:
            button = self.buttons[-1 - which % len(self.buttons)]
            self.replicas[name].command(word, who, id=button, users=[who])
        self.go()

    # ---- the wire

    @precondition(lambda self: self.world.wire)
    @rule(which=WHICH, how=ENDINGS)
    def result(self, which: int, how: str) -> None:
        """Something becomes of one of the requests on the wire, whoever sent it, and whether he still lives."""
        self.count("result")
        wire = self.world.wire
        self.ending(wire[which % len(wire)], how)

    def ending(self, request: Request, how: str) -> None:
        sender = self.replicas[request.sender]
        if how == "die":
            sender.crash()
        elif how == "die sent":
            self.answer(request, "cured")
            sender.crash()
        elif how == "stall":
            sender.stopped = sender.up
        elif how != "wire":
            self.answer(request, how)
        self.go()

    @precondition(lambda self: any(not self.replicas[r.sender].running for r in self.world.wire))
    @rule(cures=st.booleans())
    def arrives_late(self, cures: bool) -> None:
        """What a leader sent who is dead or stalled by now."""
        self.count("arrives_late")
        late = next(r for r in self.world.wire if not self.replicas[r.sender].running)
        self.answer(late, "cured" if cures else "no use")
        self.go()

    # ---- the whole way, so that deep states are reached

    @rule(
        fresh=FRESH,
        service=st.sampled_from(sorted(KINDS)),
        number=st.integers(0, 2),
        ends=st.lists(ENDINGS, max_size=4),
    )
    def full_cycle(self, fresh: bool, service: str, number: int, ends: list[str]) -> None:
        """Something fails, the leader sees it, people agree where they are asked, and things end somehow."""
        self.count("full_cycle")
        if fresh:
            self.calm()
        self.to_the_wire(service, number)
        for how in ends:
            if self.world.wire:
                self.ending(self.world.wire[-1], how)
            self.pass_time(2.0)

    @rule(
        fresh=FRESH,
        service=st.sampled_from(sorted(KINDS)),
        number=st.integers(0, 2),
        how=ENDINGS,
        other=st.sampled_from(INSTANCES),
    )
    def change_of_leader(self, fresh: bool, service: str, number: int, how: str, other: Any) -> None:
        """Something else fails while the leader is at work; he is lost, and the next one takes up what he left."""
        self.count("change_of_leader")
        if fresh:
            self.calm()
        self.to_the_wire(service, number)
        self.world.change(other, Status.CRITICAL)
        self.pass_time(1.0)
        for request in self.world.wire[-1:]:
            self.ending(request, how)
        old = self.replicas[self.holder or "A"]
        old.stopped = old.up
        self.lead("B" if old.name == "A" else "A")
        for _ in range(4):
            self.pass_time(2.5)

    @rule(
        fresh=FRESH,
        service=st.sampled_from(sorted(KINDS)),
        number=st.integers(0, 2),
        word=st.sampled_from(["pause", "stop"]),
        midway=st.booleans(),
    )
    def halted(self, fresh: bool, service: str, number: int, word: str, midway: bool) -> None:
        """People say pause or stop, before a run would start or in the middle of one."""
        self.count("halted")
        if fresh:
            self.calm()
        leader = self.leader()
        if midway:
            self.to_the_wire(service, number)
        if leader.running:
            leader.command(word, "ann", reason="drill")
        self.go()
        for request in self.world.wire[:1]:
            self.answer(request, "no use")
        self.to_the_wire(service, number)

    @rule(fresh=FRESH, service=st.sampled_from(sorted(KINDS)), number=st.integers(0, 2), times=st.integers(2, 4))
    def again_and_again(self, fresh: bool, service: str, number: int, times: int) -> None:
        """Nothing that is done helps."""
        self.count("again_and_again")
        if fresh:
            self.calm()
        for _ in range(times):
            self.to_the_wire(service, number)
            while self.world.wire:
                self.ending(self.world.wire[-1], "no use")
                self.pass_time(1.0)
            for _ in range(3):
                self.pass_time(12.0)

    @rule(fresh=FRESH, service=st.sampled_from(sorted(KINDS)), caller=st.integers(0, 2))
    def outage(self, fresh: bool, service: str, caller: int) -> None:
        """Most of a service fails, and one that may call it."""
        self.count("outage")
        if fresh:
            self.calm()
        self.leader()
        for number in (0, 1):
            self.world.change(instance(service, number), Status.CRITICAL)
        self.pass_time(3.0)
        self.world.change(instance("web", caller), Status.CRITICAL)
        for _ in range(4):
            self.pass_time(2.5)

    @rule(
        fresh=FRESH,
        number=st.integers(0, 2),
        times=st.integers(1, 2),
        clicks=st.sampled_from(CLICKS),
        wait=st.sampled_from([0.0, 0.0, 1.0, 61.0]),
    )
    def ask(self, fresh: bool, number: int, times: int, clicks: tuple[str, ...], wait: float) -> None:
        """Something fails that people are asked about, and they answer, together or late or twice."""
        self.count("ask")
        if fresh:
            self.calm()
        for _ in range(times):
            leader = self.leader()
            self.world.change(instance("db", number), Status.CRITICAL)
            for _ in range(5):
                self.pass_time(2.0)
            for who in clicks:
                if leader.running and self.buttons:
                    leader.command("approve", who, id=self.buttons[-1], users=[who])
                self.pass_time(wait)
            for request in self.world.wire:
                self.answer(request, "no use")
            self.pass_time(25.0)

    def to_the_wire(self, service: str, number: int) -> None:
        leader = self.leader()
        self.world.change(instance(service, number), Status.CRITICAL)
        for _ in range(7):
            self.pass_time(1.5)
            for question in [q for q in self.oracle.state.questions.values() if q.pending]:
                for who in PEOPLE[:2]:
                    if leader.running:
                        leader.command("approve", who, id=question.id, users=[who])
                        self.go()
            if any(r.intent.target.service == service for r in self.world.wire):
                break

    # ---- reading back

    @rule(share=st.floats(0, 1))
    def replay_a_prefix(self, share: float) -> None:
        """I9: whatever was cut off, what is left can be folded, and leaves no doubt."""
        self.count("replay_a_prefix")
        store = Prefix(self.oracle.path, round(self.oracle.seq * share))
        run_alone(store.open())
        try:
            past = run_alone(fold(store, self.mutation.step))
        finally:
            run_alone(store.close())
        if past.seq == self.oracle.seq and snapshot(past.state) != snapshot(self.oracle.state):
            self.oracle.wrong["I9"].append("the journal folded whole is not the journal followed")

    # ---- the sixteen

    def holds(self, name: str, *found: str) -> None:
        if name in self.mutation.unasked:
            return
        wrong = [*self.oracle.wrong[name], *found]
        self.failed = self.failed or bool(wrong)
        assert not wrong, f"{name} {wrong[0]}"

    @invariant()
    def i01_one_effect_per_attempt(self) -> None:
        self.holds("I1", *self.oracle.effects_once())

    @invariant()
    def i02_intent_before_effect(self) -> None:
        self.holds("I2")

    @invariant()
    def i03_open_intents_within_limits(self) -> None:
        self.holds("I3")

    @invariant()
    def i04_epochs_in_the_journal_never_fall(self) -> None:
        self.holds("I4")

    @invariant()
    def i05_attempts_within_cap(self) -> None:
        self.holds("I5")

    @invariant()
    def i06_nothing_while_paused(self) -> None:
        self.holds("I6")

    @invariant()
    def i07_fresh_confirm_read(self) -> None:
        self.holds("I7")

    @invariant()
    def i08_approvals_once_and_for_this_plan(self) -> None:
        self.holds("I8")

    @invariant()
    def i09_fold_is_live(self) -> None:
        self.holds("I9", *(w for r in self.replicas.values() for w in self.oracle.live_is_fold(r)))

    @invariant()
    def i10_epochs_of_effects_never_fall(self) -> None:
        self.holds("I10", *self.oracle.epochs_of_effects())

    @invariant()
    def i11_no_failing_ancestor(self) -> None:
        self.holds("I11")

    @invariant()
    def i12_enough_stay_up(self) -> None:
        self.holds("I12")

    @invariant()
    def i14_guards_are_monotone(self) -> None:
        self.holds("I14")

    @invariant()
    def i15_outbox_has_the_newest(self) -> None:
        self.holds("I15")

    @invariant()
    def i16_no_secret_is_told(self) -> None:
        self.holds("I16", *(f"told: {r.name}" for r in self.replicas.values() if self.told_secret(r)))

    def told_secret(self, replica: Replica) -> bool:
        return False

    def i13_all_comes_to_an_end(self) -> None:
        """When nothing goes wrong any more, every open intent ends, or is with a person, in bounded time."""
        leader = self.leader()
        leader.command("resume", "ann")
        end = self.world.time.seconds + LIVENESS_S
        while self.world.time.seconds < end:
            for request in self.world.wire:
                self.answer(request, "cured")
            self.pass_time(min(10.0, max(0.05, self._next() - self.world.time.seconds)))
            if not self.oracle.left_open() and not self.world.wire:
                break
        left = self.oracle.left_open()
        assert not left, f"I13 {left} after {LIVENESS_S:g} s without faults"

    def _next(self) -> float:
        timers = [r.loop.next_timer() for r in self.replicas.values() if r.loop is not None]
        return min([t for t in timers if t is not None], default=self.world.time.seconds + 10.0)

    # ---- the end

    def teardown(self) -> None:
        try:
            wanted = self.mutation.caught_by
            if not self.failed and (not wanted or "I13" in wanted):
                self.i13_all_comes_to_an_end()
                self.check_again()
        finally:
            for replica in self.replicas.values():
                replica.crash()
                self.counted["lives"] += replica.lives
            self.counted["events"] += self.oracle.seq
            self.counted["intents"] += sum(self.oracle.counts.values())
            self.counted["effects"] += len(self.world.hits)
            self.oracle.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def check_again(self) -> None:
        for name in dir(self):
            if name.startswith("i") and name[1:3].isdigit() and name != "i13_all_comes_to_an_end":
                getattr(self, name)()

    def count(self, name: str) -> None:
        self.counted[name] += 1
