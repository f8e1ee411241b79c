"""``kubernetes.rollout_restart``: let a workload replace all its pods, at its own pace."""

from __future__ import annotations

from typing import ClassVar

from consulguard.act.base import Ending, Strict, failed
from consulguard.act.kubernetes.api import Kube
from consulguard.act.kubernetes.params import WorkloadParams
from consulguard.act.kubernetes.workload import Change, OnWorkload, Place
from consulguard.model import Intent, JsonObject

RESTART = "consulguard.io/restart"  # on the pods' template: a new value is a new rollout


class KubernetesRolloutRestart(OnWorkload[WorkloadParams]):
    """As ``kubectl rollout restart`` does it; the mark is the attempt's id, so the same attempt restarts once."""

    name: ClassVar[str] = "kubernetes.rollout_restart"
    Params: ClassVar[type[Strict]] = WorkloadParams

    def preview(self, intent: Intent, params: JsonObject) -> str:
        parsed = self.parse(intent.target, params)
        return (
            f"PATCH {parsed.named}: annotate its pod template with {RESTART}={intent.id}, so all its pods restart"
        )

    async def change(self, kube: Kube, params: WorkloadParams, place: Place, intent: Intent) -> Change | Ending:
        if place.workload.spec.paused:
            return failed(f"the rollouts of {place.workload.name} are paused by someone")
        spec = {"template": {"metadata": {"annotations": {RESTART: intent.id}}}}
        return Change(spec, "restarts its pods, as many at once as its strategy allows")
