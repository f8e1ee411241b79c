"""The twin agent's running checks: HTTP, TCP and TTL, each a small task of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from consulguard.testing.twin.answers import Refused, duration_s
from consulguard.testing.twin.rows import pick

Report = Callable[[str, str], None]  # status, output


@dataclass(frozen=True, kw_only=True)
class CheckPlan:
    """What a registration asks for, validated."""

    kind: str  # http, tcp, ttl, alias
    target: str = ""
    interval_s: float = 0.0
    timeout_s: float = 10.0
    method: str = "GET"
    headers: Mapping[str, list[str]] | None = None
    body: str = ""
    passing_after: int = 0  # good results in a row before it passes, beyond the first
    critical_after: int = 0  # bad results in a row before it is critical, beyond the first


def plan_check(payload: dict[str, Any]) -> CheckPlan:
    """Read a check as an agent is asked to register it; Refused with Consul's 400 for what cannot run."""
    try:
        durations = {k: duration_s(pick(payload, k) or "0") for k in ("Interval", "Timeout", "TTL")}
    except (ValueError, TypeError) as wrong:
        raise Refused(400, f"Request decode failed: {wrong}") from None
    after = {
        "passing_after": int(pick(payload, "SuccessBeforePassing") or 0),
        "critical_after": int(pick(payload, "FailuresBeforeCritical") or 0),
    }
    if pick(payload, "TTL"):
        return CheckPlan(kind="ttl", interval_s=durations["TTL"])
    if pick(payload, "AliasService") or pick(payload, "AliasNode"):
        return CheckPlan(kind="alias", target=pick(payload, "AliasService") or "")
    for kind in ("HTTP", "TCP"):
        if pick(payload, kind):
            if not durations["Interval"]:
                raise Refused(400, "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks")
            return CheckPlan(
                kind=kind.lower(),
                target=pick(payload, kind),
                interval_s=durations["Interval"],
                timeout_s=durations["Timeout"] or 10.0,
                method=pick(payload, "Method") or "GET",
                headers=pick(payload, "Header"),
                body=pick(payload, "Body") or "",
                **after,
            )
    raise Refused(400, "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks")


class Runner:
    """Runs HTTP and TCP checks at their interval, each starting at a random point of the first one."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    def start(self, check_id: str, plan: CheckPlan, report: Report) -> None:
        self.stop(check_id)
        if plan.kind in ("http", "tcp"):
            task = asyncio.create_task(self._run(plan, report), name=f"twin check {check_id}")
            self._tasks[check_id] = task

    def stop(self, check_id: str) -> None:
        task = self._tasks.pop(check_id, None)
        if task:
            task.cancel()

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session:
            await self._session.close()
            self._session = None

    async def _run(self, plan: CheckPlan, report: Report) -> None:
        await asyncio.sleep(random.uniform(0, plan.interval_s))
        counter = Counter(plan)
        while True:
            status, output = await (self._http(plan) if plan.kind == "http" else _tcp(plan))
            if counter.settled(status):
                report(status, output)
            await asyncio.sleep(plan.interval_s)

    async def _http(self, plan: CheckPlan) -> tuple[str, str]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                trust_env=False, connector=aiohttp.TCPConnector(limit=0, force_close=True)
            )
        headers = {name: ",".join(values) for name, values in (plan.headers or {}).items()}
        limit = aiohttp.ClientTimeout(total=plan.timeout_s)
        try:
            async with self._session.request(
                plan.method, plan.target, headers=headers, data=plan.body or None, timeout=limit
            ) as answer:
                body = (await answer.content.read(4096)).decode(errors="replace")
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return "critical", f'{plan.method} "{plan.target}": {_words(error)}'
        said = f"HTTP {plan.method} {plan.target}: {answer.status} {answer.reason} Output: {body}"
        if 200 <= answer.status < 300:
            return "passing", said
        return ("warning" if answer.status == 429 else "critical"), said


class Counter:
    """Consul's success_before_passing and failures_before_critical."""

    def __init__(self, plan: CheckPlan) -> None:
        self._plan = plan
        self._good = 0
        self._bad = 0

    def settled(self, status: str) -> bool:
        """True when this result, after those before it, is to be told."""
        if status == "critical":
            self._good, self._bad = 0, self._bad + 1
            return self._bad > self._plan.critical_after
        self._good, self._bad = self._good + 1, 0
        return self._good > self._plan.passing_after


async def _tcp(plan: CheckPlan) -> tuple[str, str]:
    host, _, port = plan.target.rpartition(":")
    try:
        async with asyncio.timeout(plan.timeout_s):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError, ValueError) as error:
        return "critical", f"dial tcp {plan.target}: {_words(error)}"
    writer.close()
    return "passing", f"TCP connect {plan.target}: Success"


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "context deadline exceeded"
    if isinstance(error, ConnectionRefusedError | aiohttp.ClientConnectorError):
        return "connect: connection refused"
    return str(error) or type(error).__name__
