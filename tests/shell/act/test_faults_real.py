"""What is said when Consul fails in the middle: a proxy before a real server breaks chosen requests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from consulguard.act import ActContext, ActSettings
from consulguard.model import Outcome, Target
from consulguard.testing.real_consul import RealConsul
from yarl import URL

from tests.shell.act.support import context, do, intent, look, raw, register, serve, undo_of

pytestmark = pytest.mark.real
Fault = Callable[[web.BaseRequest, "Proxy"], Any]


class Proxy:
    """Passes requests on unless the test's fault says otherwise; counts what reached the server."""

    def __init__(self, behind: str) -> None:
        self.behind = behind
        self.passed: Counter[str] = Counter()
        self.faults: dict[str, Fault] = {}  # by method
        self.over = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        fault = self.faults.get(request.method)
        answer = await fault(request, self) if fault else None
        return answer if answer is not None else await self.forward(request)

    async def forward(self, request: web.BaseRequest) -> web.Response:
        self.passed[request.method] += 1
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            url = URL(self.behind + request.raw_path, encoded=True)
            plain = {"Accept-Encoding": "identity"}
            async with session.request(request.method, url, data=await request.read(), headers=plain) as answer:
                headers = {k: v for k, v in answer.headers.items() if k.startswith("X-Consul")}
                return web.Response(status=answer.status, body=await answer.read(), headers=headers)


async def lost_answer(request: web.BaseRequest, proxy: Proxy) -> web.Response:
    answer = await proxy.forward(request)
    assert request.transport is not None
    request.transport.abort()
    return answer


async def silence(request: web.BaseRequest, proxy: Proxy) -> web.Response:
    await proxy.over.wait()
    return web.Response(status=500)


def says(status: int, text: str) -> Fault:
    async def fault(request: web.BaseRequest, proxy: Proxy) -> web.Response:
        return web.Response(status=status, text=text)

    return fault


@asynccontextmanager
async def before(consul: RealConsul) -> AsyncIterator[tuple[Proxy, ActContext]]:
    proxy = Proxy(consul.address)
    async with serve(proxy.handle) as address:
        ctx = context(address, ActSettings(agent_addresses={consul.node: address}))
        async with ctx.consul:
            try:
                yield proxy, ctx
            finally:
                proxy.over.set()
                proxy.faults.clear()


STEPS: dict[str, dict[str, Any]] = {
    "consul.kv_put": {"key": "faults/a", "value": "x"},
    "consul.service_resolver": {"connect_timeout": "4s"},
    "consul.maintenance": {"enable": True},
}
EACH = pytest.mark.parametrize("action", sorted(STEPS))


@pytest.fixture
async def target(real_consul_module: RealConsul) -> AsyncIterator[Target]:
    address = real_consul_module.address
    register(address, "frail", "frail")
    yield Target(dc="dc1", service="frail", node=real_consul_module.node, instance="frail")
    raw(address, "DELETE", "/v1/kv/faults?recurse")
    raw(address, "DELETE", "/v1/config/service-resolver/frail")
    raw(address, "PUT", "/v1/agent/service/maintenance/frail?enable=false")


@EACH
@pytest.mark.parametrize(
    "text", ["No cluster leader", "rpc error making call: EOF", "leadership lost while committing log"]
)
async def test_a_500_that_may_hide_a_write_is_unknown(
    real_consul_module: RealConsul, target: Target, action: str, text: str
) -> None:
    async with before(real_consul_module) as (proxy, ctx):
        proxy.faults["PUT"] = says(500, text)
        assert (await do(intent(action, STEPS[action], target=target), ctx)).outcome is Outcome.UNKNOWN


@EACH
async def test_a_failing_read_is_not_a_write(real_consul_module: RealConsul, target: Target, action: str) -> None:
    async with before(real_consul_module) as (proxy, ctx):
        for fault in (says(500, "No cluster leader"), says(200, "<html>"), says(429, "busy"), lost_answer):
            proxy.faults["GET"] = fault
            result = await do(intent(action, STEPS[action], target=target), ctx)
            assert result.outcome is Outcome.RETRY, result.detail
        assert proxy.passed["PUT"] == 0


@EACH
async def test_a_refusal_is_final(real_consul_module: RealConsul, target: Target, action: str) -> None:
    async with before(real_consul_module) as (proxy, ctx):
        for method in ("PUT", "GET"):
            proxy.faults[method] = says(403, "Permission denied")
            result = await do(intent(action, STEPS[action], target=target), ctx)
            assert (result.outcome, "Permission denied" in result.detail) == (Outcome.FAILED, True)


@EACH
async def test_silence_is_unknown_at_the_deadline(
    real_consul_module: RealConsul, target: Target, action: str
) -> None:
    async with before(real_consul_module) as (proxy, ctx):
        proxy.faults["PUT"] = silence
        wanted = intent(action, STEPS[action], target=target, timeout_s=0.5)
        assert (await do(wanted, ctx)).outcome is Outcome.UNKNOWN
        assert await look(wanted, ctx) is Outcome.RETRY


@EACH
async def test_a_lost_answer_is_seen_by_the_probe_and_by_the_second_try(
    real_consul_module: RealConsul, target: Target, action: str
) -> None:
    async with before(real_consul_module) as (proxy, ctx):
        proxy.faults["PUT"] = lost_answer
        wanted = intent(action, STEPS[action], target=target)
        assert (await do(wanted, ctx)).outcome is Outcome.UNKNOWN
        assert await look(wanted, ctx) is Outcome.DONE
        again = await do(wanted, ctx)
        assert again.outcome is Outcome.DONE
        assert proxy.passed["PUT"] == 1


@EACH
async def test_a_lost_answer_to_an_undo_is_seen_too(
    real_consul_module: RealConsul, target: Target, action: str
) -> None:
    async with before(real_consul_module) as (proxy, ctx):
        wanted = intent(action, STEPS[action], target=target)
        undo = undo_of(wanted, await do(wanted, ctx))
        proxy.faults |= {"PUT": lost_answer, "DELETE": lost_answer}
        assert (await do(undo, ctx)).outcome is Outcome.UNKNOWN
        sent = proxy.passed["PUT"] + proxy.passed["DELETE"]
        assert await look(undo, ctx) is Outcome.DONE
        assert (await do(undo, ctx)).outcome is Outcome.DONE
        assert proxy.passed["PUT"] + proxy.passed["DELETE"] == sent


async def test_a_write_is_not_called_refused_when_the_entry_moved(
    real_consul_module: RealConsul, target: Target
) -> None:
    async def applied_and_500(request: web.BaseRequest, proxy: Proxy) -> web.Response:
        await proxy.forward(request)
        return web.Response(status=500, text="some new kind of error")

    async with before(real_consul_module) as (proxy, ctx):
        proxy.faults["PUT"] = applied_and_500
        wanted = intent("consul.service_resolver", STEPS["consul.service_resolver"], target=target)
        assert (await do(wanted, ctx)).outcome is Outcome.UNKNOWN
        assert (await do(wanted, ctx)).outcome is Outcome.DONE


async def test_cancelling_leaves_nothing_running(real_consul_module: RealConsul, target: Target) -> None:
    async with before(real_consul_module) as (proxy, ctx):
        proxy.faults["PUT"] = silence
        task = asyncio.create_task(do(intent("consul.kv_put", STEPS["consul.kv_put"], target=target), ctx))
        while not ctx.consul.requests["PUT"]:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
