"""An attempt that our own gate has refused, because the lease was about to run out, has not failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from consulguard.act import ActContext
from consulguard.app import Daemon, Rooms
from consulguard.clock import SystemClock
from consulguard.consulapi import ConsulClient
from consulguard.coordinate import Lease
from consulguard.engine import EngineState
from consulguard.events import AnyEffect, AnyEvent, Configured, Do, LeaseChanged, Resulted
from consulguard.journal import SqliteStore
from consulguard.model import Intent, Outcome
from consulguard.policy import Policy

from tests.core.guard.scenes import PAY, an_intent
from tests.shell.app.test_dead_man import Nothing
from tests.support.waiting import eventually


class Flickering(Lease):
    """Held all the time; whether there is enough of it left to send is said from outside."""

    def __init__(self, clock: SystemClock) -> None:
        self.clock = clock
        self.enough = False

    async def changes(self, last_epoch: int) -> AsyncIterator[LeaseChanged]:
        yield LeaseChanged(at=self.clock.now(), held=True, epoch=1, reason="gained")

    def sends(self) -> bool:
        return self.enough


@dataclass
class Gated:
    """An action that only passes the gate, and counts what came through."""

    overtime_s: float = 0.0
    sent: int = 0

    async def run(self, intent: Intent, ctx: ActContext) -> Any:
        with ctx.effect(intent):
            self.sent += 1
        raise ValueError("no answer")


@dataclass
class Once:
    """An engine that lets one intent go when the lease is gained, and keeps what came of it."""

    intent: Intent
    results: list[Outcome] = field(default_factory=list)

    def __call__(self, state: EngineState, event: AnyEvent) -> tuple[EngineState, tuple[AnyEffect, ...]]:
        if isinstance(event, Resulted):
            self.results.append(event.result.outcome)
        gained = isinstance(event, LeaseChanged) and event.held
        return state, (Do(intent=self.intent),) if gained else ()


async def until(holds: Callable[[], object]) -> None:
    async def look() -> object:
        return holds()

    await eventually(look, bool)


async def test_what_the_gate_refuses_waits_for_the_lease(tmp_path: Path) -> None:
    clock, client = SystemClock(), ConsulClient(addresses=["http://127.0.0.1:1"])
    lease, action = Flickering(clock), Gated()
    intent = an_intent(PAY, expires_at=clock.now() + timedelta(minutes=1))
    engine = Once(intent)
    async with SqliteStore(tmp_path / "journal.sqlite", channels=()) as store:
        rooms = Rooms(
            clock=clock,
            store=store,
            watcher=lambda emit: Nothing(),  # type: ignore[arg-type, return-value]
            actions={intent.action: action},  # type: ignore[dict-item]
            context=ActContext(consul=client, clock=clock, fence=lambda: 1 if lease.sends() else 0),
            lease=lease,
            configured=Configured(at=clock.now(), policy=Policy(), playbooks=()),
            step=engine,
        )
        task = asyncio.create_task(Daemon(rooms).run())
        await asyncio.sleep(1.0)  # for what should not come
        assert (engine.results, action.sent) == ([], 0)
        lease.enough = True
        await until(lambda: engine.results)
        assert (engine.results, action.sent) == ([Outcome.UNKNOWN], 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await client.close()
