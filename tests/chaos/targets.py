"""What the playbooks act on: targets that write down everything that reaches them, and repair a service.

``fenced`` remembers the highest epoch and every attempt and refuses or repeats accordingly; ``keyed`` remembers
attempts only; ``once`` remembers nothing, so its playbook says that it must not be repeated; ``lying`` is fenced,
answers well and repairs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from tests.chaos.notes import Notes
from tests.support.served import Served

KINDS = ("fenced", "keyed", "once", "lying")
FENCED = ("fenced", "lying")
REPAIR_S = 0.2  # until a repaired service passes again


class Targets(Served):
    """``journaled``: whether the journal holds an attempt's intent now; None where nobody can tell."""

    def __init__(
        self, notes: Notes, journaled: Callable[[str], bool | None], heal: Callable[[str], Awaitable[None]]
    ) -> None:
        super().__init__()
        self._notes, self._journaled, self._heal = notes, journaled, heal
        self._epochs: dict[str, int] = {}
        self._seen: set[str] = set()
        self._repairs: set[asyncio.Task[None]] = set()

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.post("/{kind}", self._asked)]

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        for task in self._repairs:
            task.cancel()
        await asyncio.gather(*self._repairs, return_exceptions=True)

    async def _asked(self, request: web.Request) -> web.Response:
        kind, service = request.match_info["kind"], str((await request.json())["service"])
        attempt, epoch = request.headers["Idempotency-Key"], int(request.headers["X-Consulguard-Epoch"])
        known = await asyncio.to_thread(self._journaled, attempt)
        stale = kind in FENCED and epoch < self._epochs.get(service, 0)
        again = kind != "once" and attempt in self._seen
        self._note(request, service, known, effect=not (stale or again))
        if stale:
            return web.Response(status=409, text="an older epoch")
        self._epochs[service] = max(epoch, self._epochs.get(service, 0))
        self._seen.add(attempt)
        if kind != "lying" and not again:
            task = asyncio.get_running_loop().create_task(self._repair(service), name="repair")
            self._repairs.add(task)
            task.add_done_callback(self._repairs.discard)
        return web.Response(text=f"restarted for {request.headers.get('Authorization', 'nobody')}")

    def _note(self, request: web.Request, service: str, known: bool | None, *, effect: bool) -> None:
        line: dict[str, Any] = {
            "kind": request.match_info["kind"],
            "service": service,
            "attempt": request.headers["Idempotency-Key"],
            "epoch": int(request.headers["X-Consulguard-Epoch"]),
            "journaled": known,
            "effect": effect,
        }
        self._notes.add("targets", **line)

    async def _repair(self, service: str) -> None:
        await asyncio.sleep(REPAIR_S)
        await self._heal(service)
