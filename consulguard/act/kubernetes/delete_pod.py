"""``kubernetes.delete_pod``: delete the pod of an instance, whatever disruption budgets say."""

from __future__ import annotations

from typing import ClassVar

from consulguard.act.base import ActContext, Ending
from consulguard.act.kubernetes.api import Kube
from consulguard.act.kubernetes.objects import pods
from consulguard.act.kubernetes.params import PodParams
from consulguard.act.kubernetes.pod import PodGoes
from consulguard.model import Intent, JsonObject


class KubernetesDeletePod(PodGoes):
    """For a pod that an eviction does not get rid of. Its workload makes another one."""

    name: ClassVar[str] = "kubernetes.delete_pod"
    destructive: ClassVar[bool] = True  # past every disruption budget

    def preview(self, intent: Intent, params: JsonObject) -> str:
        parsed = self.parse(intent.target, params)
        path = pods(parsed.namespace, parsed.pod).path
        return f"DELETE {path}, if it is the pod of {intent.target.name} and still the same"

    async def send(
        self, kube: Kube, params: PodParams, body: JsonObject, intent: Intent, ctx: ActContext
    ) -> JsonObject | Ending:
        return await kube.delete(pods(params.namespace, params.pod), body, intent, ctx)
