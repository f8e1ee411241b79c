"""Who is measured, each in a process of its own: ``python -m bench.watchers raw|bot ADDRESS NOTES``.

Each notes in a file when it has seen a canary: ``<sent> <seen>``, monotonic nanoseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import aiohttp
from consulguard import health
from consulguard.app.daemon import Daemon
from consulguard.app.service import Service, standing
from consulguard.events import AnyEvent, Observed
from consulguard.model import State

from bench.fleet import CANARY
from bench.house import house

HANDLER = Path(__file__).with_name("handler.py")
_CANARY = re.compile(rb'"canary ([0-9]+)"')


async def raw(address: str, notes: TextIO) -> None:
    """The bare wake-up: one blocking query on what is critical, and of its answer nothing but the canary."""
    index, last = 0, b""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        while True:
            path = f"{address}/v1/health/state/critical?index={index}&wait=55s"
            async with session.get(path, headers={"Accept-Encoding": "identity"}) as answer:
                body = await answer.read()
                index = int(answer.headers["X-Consul-Index"])
            if (found := _CANARY.search(body)) is not None and found[1] != last:
                last = found[1]
                note(notes, last.decode())


async def bot(address: str, notes: TextIO) -> None:
    """The whole daemon, as ``consulguard run`` makes it, in ``observe``."""
    with house(address, mode="observe") as loaded:
        async with standing(loaded) as service:
            listen(service.daemon, notes)
            await tell(service, notes)


def listen(daemon: Daemon, notes: TextIO) -> None:
    """Note each canary when the engine's step has made its HealthChange of it, before it is journaled."""
    step: Callable[[Sequence[AnyEvent]], Any] = daemon._step

    def noting(events: Sequence[AnyEvent]) -> Any:
        done = step(events)
        for seen in (o for e in events if isinstance(e, Observed) for o in e.observations):
            if (
                seen.output.startswith(CANARY)
                and health.state_of(daemon.state.health, seen.target) is not State.PASSING
            ):
                note(notes, seen.output.removeprefix(CANARY))
        return done

    setattr(daemon, "_step", noting)  # noqa: B010 - the one seam a bench may take


async def tell(service: Service, notes: TextIO) -> None:
    """Once a second: whether the view has settled, and how many requests there have been so far."""
    requests = service.daemon.rooms.context.consul.requests
    while True:
        view = service.daemon.state.view
        print("#", int(view.settled), sum(requests.values()), view.instances, file=notes, flush=True)
        await asyncio.sleep(1.0)


def note(notes: TextIO, sent: str) -> None:
    print(sent, time.monotonic_ns(), file=notes, flush=True)


async def until_terminated(work: Callable[[str, TextIO], Any], address: str, path: str) -> None:
    with open(path, "a") as notes:
        task = asyncio.create_task(work(address, notes))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    asyncio.run(until_terminated({"raw": raw, "bot": bot}[sys.argv[1]], sys.argv[2], sys.argv[3]))
