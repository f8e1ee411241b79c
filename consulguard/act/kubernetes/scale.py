"""``kubernetes.scale``: another number of replicas, and back."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from consulguard.act.base import Ending, Strict, done, failed
from consulguard.act.kubernetes.api import Kube
from consulguard.act.kubernetes.params import WorkloadParams
from consulguard.act.kubernetes.workload import Change, OnWorkload, Place
from consulguard.model import Intent, JsonObject

MOST = 1000


class ScaleParams(WorkloadParams):
    replicas: int | None = Field(default=None, ge=1, le=MOST)
    add: int | None = Field(default=None, ge=1, le=MOST)
    remove: int | None = Field(default=None, ge=1, le=MOST)
    min: int = Field(default=1, ge=1, le=MOST)
    max: int | None = Field(default=None, ge=1, le=MOST)

    @model_validator(mode="after")
    def _how(self) -> ScaleParams:
        if [self.replicas, self.add, self.remove].count(None) != 2:
            raise ValueError("exactly one of replicas, add and remove must be given")
        if self.add is not None and self.max is None:
            raise ValueError("add needs max: the number of replicas never to go beyond")
        if self.max is not None and self.max < self.min:
            raise ValueError("max is less than min")
        if self.replicas is not None and not self.min <= self.replicas <= (self.max or MOST):
            raise ValueError("replicas is not between min and max")
        return self

    def wanted(self, now: int) -> int:
        """Replicas there should be where there are ``now``, within the limits, never the other way round."""
        if self.replicas is not None:
            return self.replicas
        if self.add is not None:
            return max(now, min(now + self.add, self.max or now))
        return min(now, max(now - (self.remove or 0), self.min))


class KubernetesScale(OnWorkload[ScaleParams]):
    """Writes ``spec.replicas``; the undo writes the earlier number if ours is still there."""

    name: ClassVar[str] = "kubernetes.scale"
    Params: ClassVar[type[Strict]] = ScaleParams
    undoable: ClassVar[bool] = True

    def preview(self, intent: Intent, params: JsonObject) -> str:
        parsed = self.parse(intent.target, params)
        if intent.undo:
            return f"PATCH {parsed.named}: the replicas it had before, if they are still those we set"
        return f"PATCH {parsed.named}: {_words(parsed)}"

    async def change(self, kube: Kube, params: ScaleParams, place: Place, intent: Intent) -> Change | Ending:
        name, now = place.workload.name, _replicas(place)
        if now is None:
            return failed(f"{name} has no number of replicas: one pod runs on every node")
        if now == 0:
            return failed(f"{name} was scaled to nothing by someone: that is left to a person")
        wanted = params.wanted(now)
        if wanted == now and params.replicas is not None:
            return done(f"{name} has {now} replicas already", index=place.seen_at)
        if wanted == now:
            return failed(f"{name} has {now} replicas, and the playbook's limits allow no other number")
        return Change({"replicas": wanted}, f"has {wanted} replicas instead of {now}", f"{now}>{wanted}")

    async def back(self, kube: Kube, place: Place, before: str) -> Change | Ending:
        was, _, ours = before.partition(">")
        name, now = place.workload.name, _replicas(place)
        if not was.isdigit() or not ours.isdigit():
            return failed(f"how many replicas {name} had is not known")
        if now != int(ours):
            return failed(f"{name} has {now} replicas, not the {ours} we set: someone else's number stays")
        return Change({"replicas": int(was)}, f"has its {was} replicas again")


def _replicas(place: Place) -> int | None:
    if place.workload.kind == "DaemonSet":
        return None
    replicas = place.workload.spec.replicas
    return 1 if replicas is None else replicas


def _words(params: ScaleParams) -> str:
    if params.replicas is not None:
        return f"replicas: {params.replicas}"
    if params.add is not None:
        return f"replicas: {params.add} more, {params.max} at most"
    return f"replicas: {params.remove} fewer, {params.min} at least"
