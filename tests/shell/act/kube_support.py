"""A small shop in a real Kubernetes and a real Consul, and a proxy that loses answers.

There are no controllers here: what they would write (replica sets, pods, statuses) is written by hand.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web
from consulguard.act import ActContext, ActSettings, KubeSettings
from consulguard.act.kubernetes.cordon import KubernetesCordon
from consulguard.act.kubernetes.delete_pod import KubernetesDeletePod
from consulguard.act.kubernetes.evict_pod import KubernetesEvictPod
from consulguard.act.kubernetes.rollback import KubernetesRollback
from consulguard.act.kubernetes.rollout_restart import KubernetesRolloutRestart
from consulguard.act.kubernetes.scale import KubernetesScale
from consulguard.act.runner import perform, probe, ready
from consulguard.model import Intent, Outcome, Result, Target

from tests.shell.act.support import context, intent, raw
from tests.support.kube import PATCH, RealKube, lax

ACTIONS = {
    kind.name: kind()
    for kind in (
        KubernetesRolloutRestart,
        KubernetesDeletePod,
        KubernetesEvictPod,
        KubernetesScale,
        KubernetesRollback,
        KubernetesCordon,
    )
}
IMAGE = "shop/web:2"


def template(image: str = IMAGE) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}}


def owner(kind: str, thing: dict[str, Any], group: str = "apps/v1") -> list[dict[str, Any]]:
    meta = thing["metadata"]
    found = {"apiVersion": group, "kind": kind, "name": meta["name"], "uid": meta["uid"], "controller": True}
    return [found]


class Shop:
    """One namespace with one Deployment ``web`` of three pods, and the first of them in Consul as ``web``."""

    def __init__(self, kube: RealKube, consul: str, name: str) -> None:
        self.kube, self.consul, self.name = kube, consul, name
        self.core = f"/api/v1/namespaces/{name}"
        self.apps = f"/apis/apps/v1/namespaces/{name}"
        self.node = f"node-{name}"
        self.target = Target(dc="dc1", service=f"web-{name}", node=self.node, instance=f"web-1-{name}")
        kube.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        self.workload("deployments", "web", 3)
        self.replicas("web-a", 1, "shop/web:1")
        self.current = self.replicas("web-b", 2, IMAGE)
        self.pod("web-b-1", "10.1.0.1", owner("ReplicaSet", self.current))
        self.register("web-b-1", "10.1.0.1")

    # ---- Kubernetes

    def workload(self, resource: str, name: str, replicas: int) -> dict[str, Any]:
        labels = {"matchLabels": {"app": "web"}}
        spec: dict[str, Any] = {"selector": labels, "template": template()}
        if resource != "daemonsets":
            spec["replicas"] = replicas
        if resource == "statefulsets":
            spec["serviceName"] = name
        made: dict[str, Any] = self.kube.send(
            "POST", f"{self.apps}/{resource}", {"metadata": {"name": name}, "spec": spec}
        )
        self.settle(resource, name, replicas)
        return made

    def settle(self, resource: str = "deployments", name: str = "web", updated: int = 3, **more: Any) -> None:
        """The controller has seen the present generation, and so many pods are up to date."""
        now = self.kube.get(f"{self.apps}/{resource}/{name}")
        status = {"observedGeneration": now["metadata"]["generation"], "replicas": updated}
        if resource == "daemonsets":
            status |= {"currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 1}
            status |= {"desiredNumberScheduled": updated, "updatedNumberScheduled": updated}
        else:
            status |= {"updatedReplicas": updated}
        path = f"{self.apps}/{resource}/{name}/status"
        self.kube.send("PATCH", path, {"status": status | more}, PATCH)

    def replicas(self, name: str, revision: int, image: str) -> dict[str, Any]:
        """A ReplicaSet as the Deployment's controller makes it."""
        labels = {"app": "web", "pod-template-hash": name}
        body = {
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": {"deployment.kubernetes.io/revision": str(revision)},
                "ownerReferences": owner("Deployment", self.web),
            },
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {**template(image), "metadata": {"labels": labels}},
            },
        }
        made: dict[str, Any] = self.kube.send("POST", f"{self.apps}/replicasets", body)
        return made

    def pod(self, name: str, ip: str, owners: list[dict[str, Any]]) -> dict[str, Any]:
        """A running pod; on a node, so that it stays (going) until a kubelet would end it."""
        meta = {"name": name, "labels": {"app": "web"}, "ownerReferences": owners}
        spec = {**template()["spec"], "nodeName": self.node}
        self.kube.send("POST", f"{self.core}/pods", {"metadata": meta, "spec": spec})
        status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}
        status["conditions"] = [{"type": "Ready", "status": "True"}]
        made: dict[str, Any] = self.kube.send(
            "PATCH", f"{self.core}/pods/{name}/status", {"status": status}, PATCH
        )
        return made

    def service(self, name: str = "web") -> None:
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        self.kube.send("POST", f"{self.core}/services", {"metadata": {"name": name}, "spec": spec})

    def read(self, name: str, resource: str = "deployments") -> Any:
        where = self.core if resource == "pods" else self.apps
        return self.kube.get(f"{where}/{resource}/{name}")

    def change(self, path: str, body: dict[str, Any]) -> None:
        """What somebody else does."""
        self.kube.send("PATCH", path, body, PATCH)

    @property
    def web(self) -> Any:
        return self.read("web")

    @property
    def web_path(self) -> str:
        return f"{self.apps}/deployments/web"

    def going(self, pod: str = "web-b-1") -> bool:
        """Whether the pod has been told to go."""
        found = self.read(pod, "pods")
        return found is None or "deletionTimestamp" in found["metadata"]

    # ---- Consul

    def register(self, pod: str, address: str, **meta: str) -> None:
        """The instance as consul-k8s registers it: with the pod's address, on a node that has none of its own."""
        known = {"pod-name": pod, "k8s-namespace": self.name, "k8s-service-name": "web"} | meta
        service = {"ID": self.target.instance, "Service": self.target.service, "Address": address, "Meta": known}
        body = {"Node": self.node, "Address": "10.9.0.1", "Service": service, "SkipNodeUpdate": False}
        raw(self.consul, "PUT", "/v1/catalog/register", body)

    # ---- ours

    def intent(self, action: str, params: dict[str, Any] | None = None, **fields: Any) -> Intent:
        given = {"namespace": self.name} | (params if params is not None else {"pod": "web-b-1"})
        return intent(f"kubernetes.{action}", given, **({"target": self.target} | fields))

    @contextlib.asynccontextmanager
    async def context(self, **kube: Any) -> AsyncIterator[ActContext]:
        given = {"kubeconfig": "", "namespaces": (self.name,), "cordon": True} | kube
        given["kubeconfig"] = given["kubeconfig"] or self.kube.kubeconfig()
        ctx = context(self.consul, ActSettings(kubernetes=KubeSettings(**given)))
        async with ctx.consul:
            yield ctx

    async def do(self, wanted: Intent, **kube: Any) -> Result:
        async with self.context(**kube) as ctx:
            return await perform(wanted, ACTIONS, ctx)

    async def seen(self, wanted: Intent, **kube: Any) -> Outcome:
        async with self.context(**kube) as ctx:
            return (await probe(wanted, ACTIONS, ctx)).outcome

    async def holds(self, wanted: Intent, **kube: Any) -> str:
        async with self.context(**kube) as ctx:
            return " ".join(await ready(wanted, ACTIONS, ctx))


class Between:
    """A proxy before the API server. It counts what passes, and can lose a write or its answer."""

    def __init__(self, kube: RealKube) -> None:
        self.kube = kube
        self.asked: list[tuple[str, str]] = []
        self.lose = ""  # "answer": the write is done and its answer lost; "request": it never arrives
        self.before_write: Any = None  # called once, between the reads and the write

    @property
    def writes(self) -> int:
        return sum(method != "GET" for method, _ in self.asked)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append((request.method, request.path))
        writes = request.method != "GET"
        if writes and self.before_write is not None:
            self.before_write()
        if writes and self.lose == "request":
            return self._cut(request)
        body = await request.read()
        async with aiohttp.ClientSession() as session:
            sent = session.request(
                request.method,
                f"{self.kube.address}{request.path_qs}",
                headers={k: v for k, v in request.headers.items() if k not in ("Host", "Content-Length")},
                data=body or None,
                ssl=lax(),
            )
            async with sent as answer:
                said = await answer.read()
                if writes and self.lose:
                    assert answer.status < 300, said
                    return self._cut(request)
                return web.Response(body=said, status=answer.status, content_type="application/json")

    def _cut(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()
