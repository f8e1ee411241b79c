"""How the twin reads a query and answers it: consistency, blocking, indexes, headers, refusals."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from consulguard.testing.twin.faults import ERROR_HEADERS, Faults
from consulguard.testing.twin.hub import Hub, Woken

DEFAULT_WAIT_S = 300.0
MAX_WAIT_S = 600.0
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Refused(Exception):
    """The request gets this status and text instead of an answer."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or {}


@dataclass(frozen=True)
class Seen:
    """One look at the tables: the index to answer with, the rows, and what to sleep on until they change."""

    index: int
    rows: Any
    topics: Sequence[str]
    status: int = 200
    raw: bytes | None = None  # instead of rows as JSON
    content_type: str = "application/json"


def duration_s(text: str) -> float:
    """Go's durations (``1m30s``, ``500ms``) in seconds; ValueError for anything else, a bare number included."""
    if text == "0":
        return 0.0
    total, end = 0.0, 0
    for part in _DURATION.finditer(text):
        if part.start() != end:
            break
        total, end = total + float(part[1]) * _UNITS[part[2]], part.end()
    if end == 0 or end != len(text):
        raise ValueError(f"not a duration: {text!r}")
    return total


def number(text: str) -> int:
    """An unsigned number of a query. Consul answers 500 to anything else."""
    if not re.fullmatch(r"[0-9]+", text):
        raise Refused(500, f'strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)


async def body_of(request: web.Request, otherwise: tuple[int, str]) -> Any:
    """The request's JSON; a body that is none is refused with ``otherwise``."""
    try:
        return json.loads(await request.read())
    except ValueError:
        raise Refused(*otherwise) from None


class Answers:
    def __init__(self, hub: Hub, faults: Faults, datacenter: str) -> None:
        self._hub = hub
        self._faults = faults
        self._datacenter = datacenter

    async def blocking(
        self, request: web.Request, look: Callable[[], Seen], *, effective: bool = True
    ) -> web.Response:
        """Answer a read. With ``?index=`` wait until its index is above that, or ``?wait=`` is over.

        As Consul does, a wait that is over answers with what was seen when it began. ``effective`` says whether
        this endpoint names its consistency in a header (1.8: health, catalog, chain and no others).
        """
        wait_s, index = self._read(request)
        end = asyncio.get_running_loop().time() + wait_s + random.uniform(0, wait_s / 16)
        while True:
            seen = self._blinded(look())
            if not index or seen.index > index:
                break
            why = await self._hub.wait(seen.topics, end - asyncio.get_running_loop().time())
            if why is Woken.LOST:
                raise Refused(500, "rpc error making call: EOF", ERROR_HEADERS)
            if why is not Woken.LOOK:
                break
        return self._answer(request, seen, effective)

    def _read(self, request: web.Request) -> tuple[float, int]:
        query = request.query
        try:
            wait_s = duration_s(query["wait"]) if query.get("wait") else 0.0
        except ValueError:
            raise Refused(400, "Invalid wait time") from None
        if query.get("index") and not re.fullmatch(r"[0-9]+", query["index"]):
            raise Refused(400, "Invalid index")
        if "stale" in query and "consistent" in query:
            raise Refused(400, "Cannot specify ?stale with ?consistent, conflicting semantics.")
        self.own_datacenter(request)
        return min(wait_s or DEFAULT_WAIT_S, MAX_WAIT_S), int(query.get("index") or 0)

    def own_datacenter(self, request: web.Request) -> None:
        if request.query.get("dc", self._datacenter) not in ("", self._datacenter):
            raise Refused(500, "No path to datacenter", ERROR_HEADERS)

    def _blinded(self, seen: Seen) -> Seen:
        if not self._faults.blind or seen.raw is not None:
            return seen
        return Seen(index=seen.index, rows={} if isinstance(seen.rows, dict) else [], topics=seen.topics)

    def _answer(self, request: web.Request, seen: Seen, effective: bool) -> web.Response:
        leaderless = self._faults.leaderless
        headers = {
            "X-Consul-Index": str(max(1, seen.index)),
            "X-Consul-Knownleader": "false" if leaderless else "true",
            "X-Consul-Lastcontact": "32000" if leaderless else "0",
        }
        if effective:
            query = request.query
            headers["X-Consul-Effective-Consistency"] = (
                "stale" if "stale" in query else "consistent" if "consistent" in query else "leader"
            )
        if seen.status == 404:
            return web.Response(status=404, text=seen.rows or "", headers=headers)
        body = msgspec.json.encode(seen.rows) if seen.raw is None else seen.raw
        return web.Response(status=seen.status, body=body, content_type=seen.content_type, headers=headers)


def written(value: Any = None) -> web.Response:
    """A write's answer: JSON, or nothing at all."""
    if value is None:
        return web.Response()
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
