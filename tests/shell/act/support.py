"""Intents, contexts and little servers for the tests of the act room."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from consulguard.act import ActContext, Action, ActSettings
from consulguard.act.consul_deregister import ConsulDeregister
from consulguard.act.consul_force_leave import ConsulForceLeave
from consulguard.act.consul_intention import ConsulIntention
from consulguard.act.consul_kv_put import ConsulKvPut
from consulguard.act.consul_maintenance import ConsulMaintenance
from consulguard.act.consul_service_resolver import ConsulServiceResolver
from consulguard.act.consul_service_splitter import ConsulServiceSplitter
from consulguard.act.exec_run import ExecRun
from consulguard.act.http_request import HttpRequest
from consulguard.act.notify import Notify
from consulguard.act.prometheus_query import PrometheusQuery
from consulguard.act.runner import perform, probe
from consulguard.act.ssh_run import SshRun
from consulguard.act.wait import Wait
from consulguard.clock import SystemClock
from consulguard.consulapi import ConsulClient
from consulguard.model import Intent, Outcome, Result, Target
from consulguard.testing.ports import free_ports

BUILT_IN: tuple[type[Action[Any]], ...] = (
    ConsulMaintenance,
    ConsulServiceResolver,
    ConsulServiceSplitter,
    ConsulKvPut,
    HttpRequest,
    ExecRun,
    SshRun,
    ConsulDeregister,
    ConsulForceLeave,
    ConsulIntention,
    Wait,
    Notify,
    PrometheusQuery,
)
ACTIONS: dict[str, Action[Any]] = {kind.name: kind() for kind in BUILT_IN}
CLOCK = SystemClock()
INSTANCE = Target(dc="dc1", service="web", node="local", instance="web-1")
EPOCH = 7


def intent(action: str, params: dict[str, Any], **fields: Any) -> Intent:
    """An intent that may be sent now."""
    given = {
        "id": "run-1/0/1",
        "target": INSTANCE,
        "expires_at": CLOCK.now() + timedelta(hours=1),
        "epoch": EPOCH,
        "timeout_s": 10.0,
        "incident_id": "inc-1",
    }
    return Intent(action=action, params=params, **(given | fields))


def context(address: str, settings: ActSettings | None = None, **fields: Any) -> ActContext:
    """A context over a client for ``address``; the caller closes ``ctx.consul``."""
    client = ConsulClient(addresses=[address])
    return ActContext(
        **(
            {"consul": client, "clock": CLOCK, "settings": settings or ActSettings(), "fence": lambda: EPOCH}
            | fields
        )
    )


async def do(wanted: Intent, ctx: ActContext) -> Result:
    return await perform(wanted, ACTIONS, ctx)


async def look(wanted: Intent, ctx: ActContext) -> Outcome:
    return (await probe(wanted, ACTIONS, ctx)).outcome


def undo_of(done: Intent, result: Result, params: dict[str, Any] | None = None) -> Intent:
    """The undo as the engine writes it: another id, the step's params unless it has its own."""
    return intent(
        done.action,
        done.params if params is None else params,
        id="run-1/0/undo1",
        target=done.target,
        undo=True,
        saved=result.saved,
        incident_id=done.incident_id,
    )


Handler = Callable[[web.Request], Any]


@contextlib.asynccontextmanager
async def serve(handler: Handler) -> AsyncIterator[str]:
    """A real HTTP server on loopback that answers every request with ``handler``; gives its address."""
    server = web.Server(handler, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def raw(address: str, method: str, path: str, body: Any = None, *, token: str = "") -> Any:
    """What a person with a shell would send, blocking; the decoded answer, None for 404 or no body."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    with contextlib.closing(connection):
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        connection.request(method, path, body=data, headers={"X-Consul-Token": token} if token else {})
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status in (200, 404), said
        return msgspec.json.decode(said) if answer.status == 200 and said else None


def register(address: str, name: str, instance: str, *, token: str = "") -> None:
    """Register with the agent and wait until the catalog knows it."""
    raw(address, "PUT", "/v1/agent/service/register", {"Name": name, "ID": instance, "Port": 80}, token=token)
    end = CLOCK.monotonic() + 10
    while not raw(address, "GET", f"/v1/catalog/service/{name}", token=token):
        assert CLOCK.monotonic() < end, f"{instance} did not reach the catalog"
        time.sleep(0.02)


def closed_address() -> str:
    """An address on which nobody listens."""
    return f"http://127.0.0.1:{free_ports(1)[0]}"
