"""What every registered action must do, built in or plugged in. A new one is tested without writing a line.

The rest of the suite needs params that are good for an action. Built-ins have theirs below; a plug-in may offer a
class attribute ``example`` (params) and is tested with that, else with no params.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from consulguard.act import ActContext, Action, ActSettings, HttpHost, KubeSettings, Prometheus
from consulguard.act.runner import perform, probe, ready
from consulguard.errors import ActionRefused
from consulguard.model import ActionInfo, Intent, Outcome, Result

from tests.shell.act.support import INSTANCE, context, intent, serve
from tests.support.sshd import mute_ssh

KINDS: dict[str, type[Action[Any]]] = {e.name: e.load() for e in entry_points(group="consulguard.actions")}
EACH = pytest.mark.parametrize("name", sorted(KINDS))
TAKES_TIME = pytest.mark.parametrize("name", sorted(KINDS.keys() - {"notify"}))  # it says its line and is over
DOCS = Path(__file__).parents[3] / "docs" / "actions.md"
ASKS = {"prometheus.query"}  # it only reads, so what was not answered certainly did not happen
TOUCHES = {"instance", "node", "service", "nothing"}


def example(name: str, address: str = "http://127.0.0.1:9") -> dict[str, Any]:
    ours: dict[str, dict[str, Any]] = {
        "consul.maintenance": {"enable": True, "reason": "drain"},
        "consul.service_resolver": {"redirect": {"service": "standby"}},
        "consul.service_splitter": {"splits": [{"weight": 100}]},
        "consul.kv_put": {"key": "flags/web", "value": "off"},
        "consul.deregister": {},
        "consul.force_leave": {},
        "consul.intention": {"source": "batch"},
        "http.request": {"method": "POST", "url": f"{address}/job", "idempotent": True},
        "exec.run": {"argv": ["/bin/sleep", "60"], "idempotent": False},
        "prometheus.query": {"query": "up", "expect": "== 1"},
        "ssh.run": {"argv": ["/bin/sleep", "60"]},
        "kubernetes.rollout_restart": {"namespace": "shop", "pod": "web-1"},
        "kubernetes.delete_pod": {"namespace": "shop", "pod": "web-1"},
        "kubernetes.evict_pod": {"namespace": "shop", "pod": "web-1"},
        "kubernetes.scale": {"namespace": "shop", "workload": "deployment/web", "replicas": 4},
        "kubernetes.rollback": {"namespace": "shop", "workload": "deployment/web"},
        "kubernetes.cordon": {"node": "local"},
        "wait": {"seconds": 60},
        "notify": {"text": "the standby takes over"},
    }
    return ours[name] if name in ours else dict(getattr(KINDS[name], "example", {}))


META = {"pod-name": "web-1"}
KUBECONFIG = """
clusters: [{name: c, cluster: {server: "%s"}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


def thing(name: str, owner: str = "", **more: Any) -> dict[str, Any]:
    """A Kubernetes object."""
    owners = [{"kind": owner, "name": "web", "uid": "u-web", "controller": True}] if owner else []
    meta = {"name": name, "uid": f"u-{name}", "resourceVersion": "1", "ownerReferences": owners}
    return {"metadata": meta, **more}


TEMPLATES: list[dict[str, Any]] = [{"template": {"spec": {"hostname": name}}} for name in ("old", "new")]
UPDATED = {"updatedReplicas": 1}
KUBERNETES: dict[str, Any] = {
    "/api/v1": {"resources": [{"name": "pods/eviction", "version": "v1"}]},
    "/api/v1/namespaces/shop/pods/web-1": thing("web-1", "StatefulSet"),
    "/apis/apps/v1/namespaces/shop/statefulsets/web": thing("web", spec=TEMPLATES[1], status=UPDATED),
    "/apis/apps/v1/namespaces/shop/deployments/web": thing("web", spec=TEMPLATES[1], status=UPDATED),
    "/apis/apps/v1/namespaces/shop/replicasets": {
        "items": [thing(str(n), "Deployment", spec=spec) for n, spec in enumerate(TEMPLATES)]
    },
    "/api/v1/nodes/local": thing("local"),
}
for number, item in enumerate(KUBERNETES["/apis/apps/v1/namespaces/shop/replicasets"]["items"], 1):
    item["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": str(number)}


class Recording:
    """Answers the reads an action makes before its effect, and never answers a write."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.over = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.asked.append(request.method)
        if request.method != "GET":
            await self.over.wait()
        found: dict[str, Any] = {
            "/v1/catalog/node/local": {"Node": {"Address": "127.0.0.1"}, "Services": {"web-1": {"Meta": META}}},
            "/v1/agent/members": [{"Name": "local", "Status": 4}],
            "/v1/health/node/local": [{"CheckID": "serfHealth", "Status": "critical"}],
            "/v1/agent/self": {"Config": {"NodeName": "local", "Version": "1.8.7"}},
            "/v1/agent/service/web-1": {"ID": "web-1"},
            "/v1/agent/checks": {},
        } | KUBERNETES
        if request.path in found:
            return web.Response(body=msgspec.json.encode(found[request.path]))
        return web.Response(status=404)


@asynccontextmanager
async def recording() -> AsyncIterator[tuple[Recording, str, ActContext]]:
    # Loaded when it is first needed, and that may take longer than these tests wait.
    await asyncio.to_thread(importlib.import_module, "kubernetes_asyncio.config")
    server = Recording()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ssh = await stack.enter_async_context(mute_ssh(folder))
        address = await stack.enter_async_context(serve(server.handle))
        config = folder / "kubeconfig"
        config.write_text(KUBECONFIG % address)
        settings = ActSettings(
            allowed_hosts=(HttpHost(url=address, private=True),),
            allowed_commands=("/bin/sleep",),
            agent_addresses={"local": address},
            prometheus=Prometheus(address=address),
            ssh=ssh,
            kill_grace_s=0.2,
            kubernetes=KubeSettings(kubeconfig=str(config), namespaces=("shop",), cordon=True),
        )
        ctx = context(address, settings)
        async with ctx.consul:
            try:
                yield server, address, ctx
            finally:
                server.over.set()


async def do(wanted: Intent, ctx: ActContext) -> Result:
    return await perform(wanted, {wanted.action: KINDS[wanted.action]()}, ctx)


def test_the_built_in_ones_are_registered_like_any_other() -> None:
    ours = {"consul.maintenance", "consul.service_resolver", "consul.service_splitter", "consul.kv_put"}
    assert ours | {"http.request", "exec.run", "ssh.run", "wait", "notify"} <= set(KINDS)


@EACH
def test_it_says_what_it_is(name: str) -> None:
    info = KINDS[name].info()
    assert isinstance(info, ActionInfo)
    assert info.name == name
    assert info.touches in TOUCHES
    assert not (info.idempotent and info.idempotent_param)
    assert KINDS[name].__doc__


@EACH
def test_it_has_its_heading_in_the_docs(name: str) -> None:
    if not KINDS[name].__module__.startswith("consulguard."):
        pytest.skip("a plug-in has its own docs")
    text = DOCS.read_text(encoding="utf-8")
    section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
    for field in KINDS[name].Params.model_fields:
        assert f"`{field}`" in section, f"{field} is not explained"
    said = ("Touches", "dempoten", "ndo", "nknown outcome", "ACL")
    assert [word for word in said if word not in section] == []
    assert re.search(r"^# ", text)


@EACH
async def test_unknown_params_are_refused_and_nothing_is_sent(name: str) -> None:
    params = example(name) | {"no_such_parameter": 1}
    with pytest.raises(ActionRefused, match="no_such_parameter"):
        KINDS[name]().preview(intent(name, params), params)
    async with recording() as (server, address, ctx):
        result = await do(intent(name, example(name, address) | {"no_such_parameter": 1}), ctx)
        assert (result.outcome, server.asked) == (Outcome.FAILED, [])


@EACH
@pytest.mark.parametrize("undo", [False, True])
async def test_preview_and_dry_run_have_no_effect(name: str, undo: bool) -> None:
    async with recording() as (server, address, ctx):
        wanted = intent(name, example(name, address), undo=undo, dry_run=True)
        said = KINDS[name]().preview(wanted, wanted.params)
        assert said
        assert "\n" not in said
        result = await do(wanted, ctx)
        assert result.outcome is Outcome.DONE
        assert said in result.detail
        assert server.asked == []


@EACH
@pytest.mark.parametrize("fields", [{"epoch": 1}, {"target": msgspec.structs.replace(INSTANCE, service="a b")}])
async def test_the_wrong_epoch_and_unsafe_names_send_nothing(name: str, fields: dict[str, Any]) -> None:
    async with recording() as (server, address, ctx):
        result = await do(intent(name, example(name, address), **fields), ctx)
        assert result.outcome in (Outcome.RETRY, Outcome.FAILED)
        assert server.asked == []


@TAKES_TIME
async def test_no_answer_in_time_is_unknown_and_the_last_check_is_made(name: str) -> None:
    points: list[str] = []
    async with recording() as (_, address, ctx):
        watched = ActContext(
            consul=ctx.consul, clock=ctx.clock, settings=ctx.settings, fence=ctx.fence, failpoint=points.append
        )
        for timeout_s in (0.4, 4.0, 40.0):  # a busy machine takes its time to come as far as the sending
            result = await do(intent(name, example(name, address), timeout_s=timeout_s), watched)
            if points:
                break
        assert result.outcome is (Outcome.RETRY if name in ASKS else Outcome.UNKNOWN)
        assert result.detail
    assert points[:1] == ["act.before_send"]


@TAKES_TIME
async def test_it_can_be_cancelled(name: str) -> None:
    started = asyncio.Event()
    async with recording() as (_, address, ctx):
        watched = ActContext(
            consul=ctx.consul,
            clock=ctx.clock,
            settings=ctx.settings,
            fence=ctx.fence,
            failpoint=lambda point: started.set() if point == "act.before_send" else None,
        )
        task = asyncio.create_task(do(intent(name, example(name, address), timeout_s=60.0), watched))
        async with asyncio.timeout(10):
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


@EACH
async def test_a_probe_only_reads(name: str) -> None:
    async with recording() as (server, address, ctx):
        wanted = intent(name, example(name, address))
        result = await probe(wanted, {name: KINDS[name]()}, ctx)
        assert result.outcome in (Outcome.DONE, Outcome.RETRY, Outcome.UNKNOWN)
        assert set(server.asked) <= {"GET"}


@EACH
async def test_whether_it_is_ready_only_reads(name: str) -> None:
    async with recording() as (server, address, ctx):
        assert await ready(intent(name, example(name, address)), {name: KINDS[name]()}, ctx) == ()
        assert set(server.asked) <= {"GET"}


@EACH
def test_infos_travel_in_the_journal(name: str) -> None:
    info = KINDS[name].info()
    assert msgspec.json.decode(msgspec.json.encode(info), type=ActionInfo) == info
