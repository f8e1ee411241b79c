"""``kubernetes.rollback``: the pod template a Deployment had before the present one, and back."""

from __future__ import annotations

from typing import Any, ClassVar

from consulguard.act.base import Ending, Strict, failed
from consulguard.act.kubernetes.api import Kube, Ref
from consulguard.act.kubernetes.objects import ReplicaSet, Selector
from consulguard.act.kubernetes.params import WorkloadParams
from consulguard.act.kubernetes.workload import Change, OnWorkload, Place
from consulguard.errors import ActionRefused
from consulguard.model import Intent, JsonObject

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"  # a label the controller gives to each ReplicaSet
OPERATORS = {"In": "in", "NotIn": "notin"}


class KubernetesRollback(OnWorkload[WorkloadParams]):
    """As ``kubectl rollout undo``: the Deployment gets the template of its last ReplicaSet but one."""

    name: ClassVar[str] = "kubernetes.rollback"
    Params: ClassVar[type[Strict]] = WorkloadParams
    undoable: ClassVar[bool] = True
    waits_for_rollout: ClassVar[bool] = False  # a rollout that hangs is what it is for

    def preview(self, intent: Intent, params: JsonObject) -> str:
        parsed = self.parse(intent.target, params)
        if intent.undo:
            return f"PATCH {parsed.named}: the pod template it had before, if ours is still there"
        return f"PATCH {parsed.named}: the pod template of its previous revision"

    async def change(self, kube: Kube, params: WorkloadParams, place: Place, intent: Intent) -> Change | Ending:
        workload = place.workload
        if workload.kind != "Deployment":
            return failed(f"{workload.name} is no Deployment: only those are rolled back")
        if workload.spec.paused:
            return failed(f"the rollouts of {workload.name} are paused by someone")
        revisions = await _revisions(kube, place)
        now = next((r for r in revisions if _same(r.spec.template, workload.spec.template)), None)
        if now is None:
            return failed(f"{workload.name} was changed a moment ago: its present revision is not known yet")
        earlier = [r for r in revisions if _number(r) < _number(now)]
        if not earlier:
            return failed(f"{workload.name} has no revision before {_number(now)}: nothing to go back to")
        words = f"goes back from revision {_number(now)} to {_number(earlier[-1])}"
        return Change(_spec(earlier[-1]), words, f"{now.metadata.name}>{earlier[-1].metadata.name}")

    async def back(self, kube: Kube, place: Place, before: str) -> Change | Ending:
        was, _, ours = before.partition(">")
        revisions = {r.metadata.name: r for r in await _revisions(kube, place)}
        name = place.workload.name
        if was not in revisions or ours not in revisions:
            return failed(f"{name} does not keep the revision any more that was there before")
        if not _same(revisions[ours].spec.template, place.workload.spec.template):
            return failed(f"the pod template of {name} is not ours any more: someone else's stays")
        return Change(_spec(revisions[was]), "has the pod template again that it had before")


async def _revisions(kube: Kube, place: Place) -> list[ReplicaSet]:
    """The ReplicaSets of the Deployment, oldest revision first."""
    ref = Ref("apps/v1", "replicasets", place.namespace)
    found = await kube.list(ref, ReplicaSet, _selector(place.workload.spec.selector))
    uid = place.workload.metadata.uid
    own = [r for r in found if r.metadata.controller is not None and r.metadata.controller.uid == uid]
    return sorted((r for r in own if _number(r)), key=_number)


def _number(replicas: ReplicaSet) -> int:
    """Its revision; 0 where the controller has not given one."""
    text = replicas.metadata.note(REVISION)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _selector(selector: Selector) -> str:
    """As a query writes it."""
    parts = [f"{key}={value}" for key, value in sorted((selector.match_labels or {}).items())]
    for rule in selector.match_expressions or ():
        key, operator, values = rule["key"], rule["operator"], ",".join(rule.get("values") or ())
        match operator:
            case "In" | "NotIn":
                parts.append(f"{key} {OPERATORS[operator]} ({values})")
            case "Exists":
                parts.append(key)
            case "DoesNotExist":
                parts.append(f"!{key}")
            case _:
                raise ActionRefused(f"the selector's operator {operator!a} is not understood")
    return ",".join(parts)


def _spec(replicas: ReplicaSet) -> JsonObject:
    """The whole template replaces the present one: nothing of it is merged."""
    return {"template": {**_plain(replicas.spec.template), "$patch": "replace"}}


def _same(one: JsonObject, other: JsonObject) -> bool:
    return bool(_plain(one) == _plain(other))


def _plain(template: JsonObject) -> JsonObject:
    """A template without the label its ReplicaSet got, and without what says nothing."""
    found: JsonObject = _without_nulls(template)
    meta = found.get("metadata", {})
    meta["labels"] = {k: v for k, v in meta.get("labels", {}).items() if k != HASH}
    return found


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value
