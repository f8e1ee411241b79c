"""Somebody who watches the lease from outside, directly at its server, and writes down who has it when."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

from tests.chaos.notes import Notes
from tests.support.kube import RealKube

LOOK_S = 0.1
Look = Callable[[], Awaitable[tuple[str, int]]]  # who (empty: nobody) and the epoch


class Unknown(Exception):
    """Nobody answers now."""


async def watch(notes: Notes, look: Look) -> None:
    """Until cancelled: a line for each change."""
    last: str | None = None
    while True:
        with contextlib.suppress(Unknown):
            who, epoch = await look()
            if who != last:
                notes.add("lease", holder=who, epoch=epoch)
                last = who
        await asyncio.sleep(LOOK_S)


def in_consul(call: Callable[..., Awaitable[Any]], key: str) -> Look:
    """A session that has lost the key and takes it again is another holder: its epoch tells."""

    async def look() -> tuple[str, int]:
        try:
            async with asyncio.timeout(5.0):
                found = await call("GET", f"/v1/kv/{key}?consistent")
        except (TimeoutError, OSError, aiohttp.ClientError, RuntimeError) as error:
            raise Unknown from error
        held = found[0] if found else {}
        session = held.get("Session", "")
        return (f"{session} {held['ModifyIndex']}", held["ModifyIndex"]) if session else ("", 0)

    return look


def in_zookeeper(client: KazooClient, key: str) -> Look:
    def ask() -> tuple[str, int]:
        try:
            stat = client.exists_async(f"/{key}").get(timeout=2)
        except NoNodeError:
            return "", 0
        except (KazooException, KazooTimeoutError) as error:
            raise Unknown from error
        return (f"{stat.ephemeralOwner:x}", stat.czxid) if stat is not None else ("", 0)

    async def look() -> tuple[str, int]:
        return await asyncio.to_thread(ask)

    return look


def in_kubernetes(kube: RealKube, path: str) -> Look:
    """Renewals raise the version: what is seen is at least the epoch."""

    async def look() -> tuple[str, int]:
        found = await asyncio.to_thread(kube.get, path)
        holder = (found or {}).get("spec", {}).get("holderIdentity", "")
        return (holder, int(found["metadata"]["resourceVersion"])) if holder else ("", 0)

    return look
