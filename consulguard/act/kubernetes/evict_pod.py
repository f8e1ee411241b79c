"""``kubernetes.evict_pod``: ask the pod of an instance to go, as far as its disruption budget allows."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from consulguard.act.base import ActContext, Ending
from consulguard.act.kubernetes.api import Kube, Ref
from consulguard.act.kubernetes.objects import pods
from consulguard.act.kubernetes.params import PodParams
from consulguard.act.kubernetes.pod import PodGoes
from consulguard.errors import NotSent
from consulguard.model import Intent, JsonObject

EVICTION = "pods/eviction"


class _Resource(msgspec.Struct):
    name: str
    version: str = ""


class _Resources(msgspec.Struct):
    """``/api/v1``: what the server can do."""

    resources: list[_Resource]


class KubernetesEvictPod(PodGoes):
    """The gentle way: Kubernetes refuses while a PodDisruptionBudget would be broken, and we try again later."""

    name: ClassVar[str] = "kubernetes.evict_pod"

    def preview(self, intent: Intent, params: JsonObject) -> str:
        parsed = self.parse(intent.target, params)
        path = pods(parsed.namespace, parsed.pod, "eviction").path
        return f"POST {path}, if it is the pod of {intent.target.name} and still the same"

    async def send(
        self, kube: Kube, params: PodParams, body: JsonObject, intent: Intent, ctx: ActContext
    ) -> JsonObject | Ending:
        eviction = {
            "apiVersion": f"policy/{await _version(kube)}",
            "kind": "Eviction",
            "metadata": {"name": params.pod, "namespace": params.namespace},
            "deleteOptions": body,
        }
        return await kube.post(pods(params.namespace, params.pod, "eviction"), eviction, intent, ctx)


async def _version(kube: Kube) -> str:
    """``v1``, or ``v1beta1`` before Kubernetes 1.22: the server says which one it takes."""
    found = await kube.read(Ref("v1", "", ""), _Resources)
    known = next((r for r in found.resources if r.name == EVICTION), None) if found is not None else None
    if known is None:
        raise NotSent("nothing was changed: this Kubernetes does not know evictions")
    return known.version or "v1"
