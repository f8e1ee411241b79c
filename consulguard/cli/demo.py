"""``consulguard demo``: a sample shop breaks and is repaired, on a real Consul where there is one."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from consulguard import correlate, health
from consulguard.app import service
from consulguard.cli import doors, printing
from consulguard.cli.options import Options
from consulguard.clock import SystemClock
from consulguard.config import load
from consulguard.engine import EngineState
from consulguard.errors import ConsulguardError
from consulguard.model import IncidentState, State
from consulguard.testing import ConsulTwin, RealConsul, SampleMesh
from consulguard.testing import demo as stage

WHOLE_S = 88.0  # the demo has ended by then, one way or the other
PATIENCE_S = 60.0  # for any one thing to happen
WATCHED_S = 8.0  # longer than every wait of the demo's settings: what has not been done by then is being held
INCIDENTS_SHOWN, SENTENCES_SHOWN = 6, 3  # in the summary: it is to fit on a screen


class Fault(StrEnum):
    DEAD_BACKEND = "dead-backend"
    DEAD_NODE = "dead-node"
    FLAPPING = "flapping"
    HIDDEN_CULPRIT = "hidden-culprit"
    MASS_FAILURE = "mass-failure"


def demo(
    options: Options,
    fault: Annotated[Fault, typer.Option(help="What goes wrong.")] = Fault.DEAD_BACKEND,
    no_consul_binary: Annotated[
        bool, typer.Option("--no-consul-binary", help="Use the embedded twin even where Consul is installed.")
    ] = False,
) -> int:
    """A web shop of ten services, a fault, and what consulguard makes of it. Ends by itself."""
    out = printing.console(options)
    doors.set_up_logs("warning", "text", verbose=False)
    try:
        with tempfile.TemporaryDirectory(prefix="consulguard-demo-") as folder:
            asyncio.run(asyncio.wait_for(_Demo(out, Path(folder), fault).run(no_consul_binary), WHOLE_S))
    except TimeoutError as error:
        raise ConsulguardError(f"the demo did not come to its end: {error or 'time is over'}") from None
    return doors.OK


@contextlib.asynccontextmanager
async def _consul(out: Console, embedded: bool) -> AsyncIterator[str]:
    binary = None if embedded else RealConsul.binary()
    if binary is not None:
        out.print("Consul: a real agent (binary found)")
        async with RealConsul() as real:
            yield real.address
    else:
        out.print("Consul: the embedded twin" + ("" if embedded else " (no Consul binary on PATH)"))
        async with ConsulTwin() as twin:
            yield twin.address


class _Demo:
    """One run of the demo: set the stage, break something, watch, sum up."""

    def __init__(self, out: Console, folder: Path, fault: Fault) -> None:
        self.out = out
        self.folder = folder
        self.fault = fault
        self.clock = SystemClock()
        self.injected = self.clock.monotonic()
        self.repaired_by = "consulguard"
        self.brake = ""

    async def run(self, embedded: bool) -> None:
        async with _consul(self.out, embedded) as address, SampleMesh(address) as mesh:
            await mesh.ready(within_s=40.0)
            self.mesh = mesh
            loaded = load(str(stage.write(self.folder, address, mesh)), {}, {})
            count = f"{len(mesh.services)} services, {len(mesh.places)} instances"
            self.out.print(f"Shop: {count}, all passing. The daemon starts and looks around first.")
            async with service.standing(loaded) as running:
                self.daemon = running.daemon
                await self._until("the view to settle", lambda s: s.view.trusted and s.view.settled)
                await _FAULTS[self.fault](self)
                await service.drained(running)
                self._summary(running.daemon.state)

    @property
    def state(self) -> EngineState:
        return self.daemon.state

    # ---- faults

    async def dead_backend(self) -> None:
        await self._break("the server of payment-2 dies", self.mesh.kill_backend("payment", "payment-2"))
        await self._resolved()

    async def dead_node(self) -> None:
        await self._break("node rack-1 dies with three instances on it", self.mesh.kill_node("rack-1"))
        await self._provide_node()
        await self._resolved()

    async def flapping(self) -> None:
        await self._break("cart-1 is ill and well in turns", self.mesh.flap("cart", "cart-1"))
        await self._until("the flapping to be seen", _flaps)
        await asyncio.sleep(WATCHED_S)
        self._say("cart-1 flaps: restarting it would only add to that, so people are told. A person repairs it.")
        await self._heal()

    async def hidden_culprit(self) -> None:
        await self._break("ledger stops working; its own check stays green", self.mesh.hidden("ledger"))
        await self._until("ledger to be found out", lambda s: any(r == "ledger" for r in _roots(s)))
        await asyncio.sleep(WATCHED_S)
        self._say("ledger is to blame though its check is green: nothing proves a cure, so a person repairs it.")
        await self._heal()

    async def mass_failure(self) -> None:
        await self._break("most of the shop fails at once", self.mesh.mass_failure())
        await self._until("the storm brake", lambda s: s.storm.on)
        await asyncio.sleep(WATCHED_S)
        self.brake = self.state.storm.reason
        self._say(
            "the brake holds everything: so much at once is more likely one shared cause. A person repairs it."
        )
        await self._heal()

    async def _heal(self) -> None:
        self.repaired_by = "a person"
        await self.mesh.restore()
        await self._resolved()

    # ---- watching

    async def _break(self, what: str, doing: Awaitable[object]) -> None:
        self.injected = self.clock.monotonic()
        self._say(f"FAULT: {what}")
        await doing

    def _say(self, text: str) -> None:
        self.out.print(f"\n[bold]+{self.clock.monotonic() - self.injected:.1f} s[/] {text}")

    async def _resolved(self) -> None:
        await self._until("an incident", lambda s: bool(s.book.incidents) or s.storm.on)
        await self._until(
            "recovery", lambda s: not (correlate.open_incidents(s.book) or s.storm.on or s.active_runs())
        )

    async def _until(self, what: str, holds: Callable[[EngineState], bool]) -> None:
        end = self.clock.monotonic() + PATIENCE_S
        while not holds(self.state):
            if self.clock.monotonic() > end:
                raise TimeoutError(f"waited {PATIENCE_S:g} s for {what}")
            await asyncio.sleep(0.1)

    async def _provide_node(self) -> None:
        """Stands for the cloud: a node that is ordered in Consul's KV comes back."""
        async with asyncio.timeout(PATIENCE_S):
            while not await self.mesh.ordered(stage.ORDERS):
                await asyncio.sleep(0.5)
        await self.mesh.restore()

    # ---- the end

    def _summary(self, state: EngineState) -> None:
        self.out.print("\n--- summary ---")
        if self.brake:
            self.out.print(f"storm brake: {printing.safe(self.brake)}")
        incidents = [i for i in state.book.incidents.values() if i.state is not IncidentState.MERGED]
        for position, incident in enumerate(incidents[:INCIDENTS_SHOWN]):
            root, sure = incident.root, f"{incident.confidence:.0%} sure"
            who = f"{root.kind} {root.instance or root.name}"
            self.out.print(f"{incident.id} {incident.state.value}: root cause {printing.safe(who)}, {sure}")
            told = position == 0 or len(incidents) < 3  # the first is what the fault was about
            for sentence in incident.why[: SENTENCES_SHOWN if told else 0]:
                self.out.print(f"  because {printing.safe(sentence)}")
        if len(incidents) > INCIDENTS_SHOWN:
            self.out.print(f"and {len(incidents) - INCIDENTS_SHOWN} more incidents")
        for run in state.runs.values():
            self.out.print(f"run of {run.playbook.id}: {run.state.value}")
            for line in run.log:
                self.out.print(f"  {printing.safe(line)}")
        acts = sum(r.effects for r in state.runs.values())
        took = self.clock.monotonic() - self.injected
        self.out.print(f"actions: {acts}; repaired by {self.repaired_by}; from fault to all clear {took:.0f} s")


_FAULTS: dict[Fault, Callable[[_Demo], Awaitable[None]]] = {
    Fault.DEAD_BACKEND: _Demo.dead_backend,
    Fault.DEAD_NODE: _Demo.dead_node,
    Fault.FLAPPING: _Demo.flapping,
    Fault.HIDDEN_CULPRIT: _Demo.hidden_culprit,
    Fault.MASS_FAILURE: _Demo.mass_failure,
}


def _flaps(state: EngineState) -> bool:
    return any(t.state is State.FLAPPING for t in health.troubles(state.health).values())


def _roots(state: EngineState) -> list[str]:
    return [i.root.name for i in correlate.open_incidents(state.book)]
