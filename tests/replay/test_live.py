"""What the journal holds is what the daemon had in mind: its state folded anew is the one it lived with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from consulguard.act import ActContext
from consulguard.app import Daemon, Rooms, fold
from consulguard.clock import SystemClock
from consulguard.consulapi import ConsulClient
from consulguard.coordinate import SingleLease
from consulguard.engine.step import snapshot
from consulguard.events import AnyEvent, Configured, Learned, Look, Looked, Observed, ViewChanged
from consulguard.journal import Draft
from consulguard.journal.sqlite import SqliteStore
from consulguard.model import (
    Fact,
    Intent,
    Message,
    Mode,
    NodeFact,
    Observation,
    Outcome,
    Result,
    RunState,
    Status,
    Target,
    View,
)
from consulguard.plan import parse
from consulguard.policy import CorrelatePolicy, GuardPolicy, HealthPolicy, Policy

from tests.core.engine.world import ACTIONS, DRAIN_AND_RESTART, instance, service
from tests.support.waiting import eventually

POLICY = Policy(
    mode=Mode.AUTO,
    health=HealthPolicy(recovery_s=0.2),
    correlate=CorrelatePolicy(resolve_s=0.2),
    guard=GuardPolicy(for_s=0.2, root_settle_s=0.1, min_start_interval_s=0.0),
    group_wait_s=0.1,
)
PLAYBOOK = DRAIN_AND_RESTART.replace("for: 60s", "for: 0s")
SICK = instance("c")


class Consul:
    """Stands for the watcher and for the world it sees: one instance fails until it is restarted."""

    def __init__(self, emit: Callable[[AnyEvent], Awaitable[None]]) -> None:
        self._emit = emit
        self._clock = SystemClock()
        self.index = 10
        self.status = Status.PASSING
        self.focused: tuple[Target, ...] = ()

    def resume(self, known: object) -> None:
        """A first life knows nothing."""

    def focus(self, targets: Sequence[Target]) -> None:
        self.focused = tuple(targets)

    async def run(self) -> None:
        at = self._clock.now()
        nodes: list[Fact] = [NodeFact(target=Target(dc="dc1", node=f"n{i}"), at=at) for i in range(3)]
        told = (service("a", ("b",)), service("b", ("c",)), service("c"))
        services = [msgspec.structs.replace(fact, at=at) for fact in told]
        await self._emit(Learned(at=at, facts=(*services, *nodes)))
        while True:
            now = self._clock.now()
            view = View(trusted=True, services=3, instances=30, nodes=3, as_of=now, settled=True)
            await self._emit(ViewChanged(at=now, view=view))
            await asyncio.sleep(0.05)

    async def see(self, status: Status) -> None:
        self.index, self.status = self.index + 1, status
        look = Observation(target=SICK, check="http", status=status, at=self._clock.now(), index=self.index)
        await self._emit(Observed(at=look.at, observations=(look,)))

    async def look(self, look: Look) -> Looked:
        self.index += 1
        return Looked(
            at=self._clock.now(),
            key=look.key,
            target=look.target,
            status=self.status,
            healthy=2,
            registered=3,
            index=self.index,
        )


class Restart:
    """Both actions of the playbook; the second one cures."""

    overtime_s = 0.0

    def __init__(self, consul: Callable[[], Consul], *, cures: bool) -> None:
        self._consul = consul
        self._cures = cures

    def preview(self, intent: Intent, params: object) -> str:
        return intent.action

    async def run(self, intent: Intent, ctx: ActContext) -> Result:
        if self._cures:
            await self._consul().see(Status.PASSING)
        now = ctx.clock.now()
        return Result(intent_id=intent.id, outcome=Outcome.DONE, detail="", started_at=now, ended_at=now)


class Remembering(SqliteStore):
    """Keeps what the daemon had in mind at each commit; when it is told to, it stops taking any."""

    def __init__(self, path: Path, mind: Callable[[], bytes]) -> None:
        super().__init__(path, channels=())
        self._mind = mind
        self.last = (0, b"")
        self.halt = False
        self.halted = asyncio.Event()

    async def append(self, drafts: Sequence[Draft], outbox: Sequence[Message] = ()) -> int:
        if self.halt:
            self.halted.set()
            await asyncio.Event().wait()
        seq = await super().append(drafts, outbox)
        self.last = (seq, self._mind())
        return seq


class WithoutSnapshot(SqliteStore):
    """A journal that is read from its first entry on."""

    async def load_snapshot(self) -> tuple[int, bytes] | None:
        return None


@pytest.mark.parametrize("healed", [True, False], ids=["to the end", "broken off"])
async def test_the_journal_gives_back_the_state_the_daemon_had(tmp_path: Path, healed: bool) -> None:
    clock, consuls = SystemClock(), []

    def watcher(emit: Callable[[AnyEvent], Awaitable[None]]) -> Any:
        consuls.append(Consul(emit))
        return consuls[-1]

    store = Remembering(tmp_path / "journal.sqlite", lambda: snapshot(daemon.state))
    await store.open()
    client = ConsulClient(addresses=["http://127.0.0.1:1"])
    daemon = Daemon(
        Rooms(
            clock=clock,
            store=store,
            watcher=watcher,
            actions={
                "consul.maintenance": Restart(lambda: consuls[0], cures=False),  # type: ignore[dict-item]
                "exec.run": Restart(lambda: consuls[0], cures=True),  # type: ignore[dict-item]
            },
            context=ActContext(consul=client, clock=clock, fence=lambda: daemon.epoch()),
            lease=SingleLease(clock),
            configured=Configured(
                at=clock.now(), policy=POLICY, playbooks=(parse(PLAYBOOK, "test.yaml"),), actions=ACTIONS
            ),
        )
    )
    task = asyncio.create_task(daemon.run())
    try:
        await eventually(_value(lambda: daemon.seen_all.is_set()), bool)
        await consuls[0].see(Status.CRITICAL)
        await daemon.command("pause", {"reason": "drill", "for_s": 0.1}, "ann")
        wanted = RunState.DONE if healed else RunState.VERIFYING
        await eventually(
            _value(lambda: [r.state for r in daemon.state.runs.values()]), lambda s: s == [wanted], within_s=30
        )
        store.halt = True
        await store.halted.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()
        await client.close()
    for kind in (SqliteStore, WithoutSnapshot):
        past = await _folded(kind(tmp_path / "journal.sqlite", channels=()))
        assert (past.seq, snapshot(past.state)) == store.last
        assert past.doubt == ""


async def _folded(store: SqliteStore) -> Any:
    await store.open()
    try:
        return await fold(store)
    finally:
        await store.close()


def _value(read: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
    async def look() -> Any:
        return read()

    return look
