"""What the playbooks act on: targets that write down everything that reaches them, and repair a service.

``fenced`` remembers the highest epoch and every attempt and refuses or repeats accordingly; ``keyed`` remembers
attempts only; ``once`` remembers nothing, so its playbook says that it must not be repeated; ``lying`` is fenced,
answers well and repairs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

from tests.chaos.notes import Notes

KINDS = ("fenced", "keyed", "once", "lying")
FENCED = ("fenced", "lying")
REPAIR_S = 0.2  # until a repaired service passes again


class Targets:
    """``journaled``: whether the journal holds an attempt's intent now; None where nobody can tell."""

    def __init__(
        self, notes: Notes, journaled: Callable[[str], bool | None], heal: Callable[[str], Awaitable[None]]
    ) -> None:
        self._notes, self._journaled, self._heal = notes, journaled, heal
        self._epochs: dict[str, int] = {}
        self._seen: set[str] = set()
        self._repairs: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        assert self._runner is not None
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{kind}", self._asked)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
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
