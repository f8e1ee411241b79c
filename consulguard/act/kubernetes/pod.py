"""What ``kubernetes.delete_pod`` and ``kubernetes.evict_pod`` have in common: one pod of a workload goes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from consulguard.act.base import ActContext, Action, Ending, Strict, check_target, done, failed
from consulguard.act.kubernetes.api import Kube, cluster
from consulguard.act.kubernetes.mapping import (
    instance_of,
    pod_of,
    refuse_foreign,
    refuse_own_pod,
    workload_of,
)
from consulguard.act.kubernetes.objects import Meta, Pod, holds, pods, refuse_newer
from consulguard.act.kubernetes.params import PodParams
from consulguard.errors import ActionRefused
from consulguard.model import Intent, JsonObject, Outcome, Target

KEEPERS = ("ReplicaSet", "StatefulSet", "DaemonSet")
NAMES_ANEW = ("ReplicaSet", "DaemonSet")  # they never give a name twice


class PodGoes(Action[PodParams]):
    """Base of the two; they differ in how the pod is asked to go."""

    Params: ClassVar[type[Strict]] = PodParams
    touches: ClassVar[str] = "instance"

    def check_target(self, target: Target) -> None:
        check_target(target)
        if not target.instance:
            raise ActionRefused(f"{self.name} needs an instance: only an instance is one pod")

    @abstractmethod
    async def send(
        self, kube: Kube, params: PodParams, body: JsonObject, intent: Intent, ctx: ActContext
    ) -> JsonObject | Ending:
        """The one call; ``body`` is a DeleteOptions that holds only for the pod that was looked at."""

    async def do(self, params: PodParams, intent: Intent, ctx: ActContext) -> Ending:
        _allowed(params, ctx)
        instance, index = await instance_of(intent.target, ctx)
        async with cluster(ctx) as kube:
            pod = await pod_of(kube, params.namespace, params.pod, instance)
            name = f"pod {params.namespace}/{params.pod}"
            refuse_newer(pod.metadata, name, intent)
            keeper = pod.metadata.controller
            if keeper is None or keeper.kind not in KEEPERS:
                return failed(f"{name} is kept by no workload: nobody would bring it back")
            if pod.metadata.deletion_timestamp:
                return done(f"{name} is going already", index=index)
            said = await self.send(kube, params, _options(params, pod.metadata), intent, ctx)
        if isinstance(said, Ending):
            return said
        return done(f"{name} goes; its {keeper.kind} makes another one", index=index)

    async def restore(self, intent: Intent, ctx: ActContext) -> Ending:
        return failed("a pod that is gone does not come back; its workload makes another one: nothing to undo")

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        """Gone or going: done. There: it is the same pod, unless its keeper gives a new one the same name."""
        params = self.parse(intent.target, intent.params)
        _allowed(params, ctx)
        async with cluster(ctx) as kube:
            pod = await kube.read(pods(params.namespace, params.pod), Pod)
        if pod is None or pod.metadata.deletion_timestamp:
            return Outcome.DONE
        keeper = pod.metadata.controller
        return Outcome.RETRY if keeper is not None and keeper.kind in NAMES_ANEW else Outcome.UNKNOWN

    async def ready(self, intent: Intent, ctx: ActContext) -> str:
        params = self.parse(intent.target, intent.params)
        _allowed(params, ctx)
        async with cluster(ctx) as kube:
            pod = await kube.read(pods(params.namespace, params.pod), Pod)
            if pod is None:
                return f"there is no pod {params.pod} in namespace {params.namespace}"
            return holds(await workload_of(kube, pod, params.namespace))


def _allowed(params: PodParams, ctx: ActContext) -> None:
    refuse_foreign(params.namespace, ctx.settings.kubernetes)
    refuse_own_pod(params.namespace, params.pod, ctx.settings.kubernetes)


def _options(params: PodParams, meta: Meta) -> JsonObject:
    """Only this very pod, and only as it was when we looked: anything else is answered 409."""
    options: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": meta.uid, "resourceVersion": meta.resource_version},
    }
    if params.grace_period is not None:
        options["gracePeriodSeconds"] = params.grace_period
    return options
