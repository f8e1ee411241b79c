"""Kubernetes' objects, as much of them as the actions look at, and the marks we leave on them."""

from __future__ import annotations

from typing import Any

import msgspec

from consulguard.act.kubernetes.api import Ref
from consulguard.errors import ActionRefused, NotSent
from consulguard.model import Intent, JsonObject

ATTEMPT = "consulguard.io/attempt"  # the intent that wrote last
EPOCH = "consulguard.io/epoch"  # the lease's epoch it was written in
BEFORE = "consulguard.io/before"  # what the undo needs, for a process that died before it kept its result
SKIP = "consulguard.io/skip"  # people ask to leave it alone
OFF = ("false", "no", "off", "0")
KINDS = {"deployment": "deployments", "statefulset": "statefulsets", "daemonset": "daemonsets"}


class Owner(msgspec.Struct, rename="camel"):
    kind: str
    name: str
    uid: str
    controller: bool = False


class Meta(msgspec.Struct, rename="camel"):
    name: str
    uid: str
    resource_version: str
    generation: int = 0
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[Owner] | None = None
    deletion_timestamp: str | None = None

    def note(self, key: str) -> str:
        """An annotation; empty where there is none."""
        return (self.annotations or {}).get(key, "")

    @property
    def controller(self) -> Owner | None:
        return next((o for o in self.owner_references or () if o.controller), None)


class PodAddress(msgspec.Struct):
    ip: str = ""


class PodStatus(msgspec.Struct, rename={"ip": "podIP", "ips": "podIPs"}):
    ip: str = ""
    ips: list[PodAddress] | None = None


class Pod(msgspec.Struct):
    metadata: Meta
    status: PodStatus = msgspec.field(default_factory=PodStatus)

    @property
    def addresses(self) -> set[str]:
        return {a for a in (self.status.ip, *(p.ip for p in self.status.ips or ())) if a}


class Selector(msgspec.Struct, rename="camel"):
    match_labels: dict[str, str] | None = None
    match_expressions: list[JsonObject] | None = None


class Rolling(msgspec.Struct):
    partition: int = 0


class Strategy(msgspec.Struct, rename="camel"):
    type: str = "RollingUpdate"
    rolling_update: Rolling | None = None


class WorkloadSpec(msgspec.Struct, rename="camel"):
    template: JsonObject
    selector: Selector = msgspec.field(default_factory=Selector)
    replicas: int | None = None
    paused: bool = False
    update_strategy: Strategy | None = None


class Condition(msgspec.Struct):
    type: str
    status: str
    reason: str = ""


class WorkloadStatus(msgspec.Struct, rename="camel"):
    observed_generation: int = 0
    updated_replicas: int = 0
    updated_number_scheduled: int = 0
    desired_number_scheduled: int = 0
    conditions: list[Condition] | None = None


class Workload(msgspec.Struct, kw_only=True):
    """A Deployment, StatefulSet or DaemonSet. ``kind`` is ours: a list's items do not carry it."""

    metadata: Meta
    spec: WorkloadSpec
    status: WorkloadStatus = msgspec.field(default_factory=WorkloadStatus)
    kind: str = ""

    @property
    def name(self) -> str:
        """As people write it: ``deployment/web``."""
        return f"{self.kind.lower()}/{self.metadata.name}"


class ReplicaSetSpec(msgspec.Struct):
    template: JsonObject


class ReplicaSet(msgspec.Struct):
    metadata: Meta
    spec: ReplicaSetSpec


class ServiceSpec(msgspec.Struct):
    selector: dict[str, str] | None = None


class Service(msgspec.Struct):
    metadata: Meta
    spec: ServiceSpec


class NodeSpec(msgspec.Struct):
    unschedulable: bool = False


class NodeAddress(msgspec.Struct):
    type: str
    address: str


class NodeStatus(msgspec.Struct):
    addresses: list[NodeAddress] | None = None


class Node(msgspec.Struct):
    metadata: Meta
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


def pods(namespace: str, name: str = "", sub: str = "") -> Ref:
    return Ref("v1", "pods", namespace, name, sub)


def workloads(namespace: str, kind: str, name: str) -> Ref:
    """``kind`` as in ``deployment/web``; LookupError for one we do not know."""
    return Ref("apps/v1", KINDS[kind.lower()], namespace, name)


def nodes(name: str) -> Ref:
    return Ref("v1", "nodes", "", name)


# ---- marks


def marks(intent: Intent, before: str = "") -> dict[str, Any]:
    """The annotations every write leaves: who, in which epoch, and what was there before."""
    return {ATTEMPT: intent.id, EPOCH: str(intent.epoch), BEFORE: before or None}


def written_by(meta: Meta, intent: Intent) -> bool:
    """Whether this very attempt has written the object, and nobody of ours since."""
    return meta.note(ATTEMPT) == intent.id


def refuse_newer(meta: Meta, what: str, intent: Intent) -> None:
    """Raise ActionRefused for an object that a later epoch than ours has written: another one is in charge."""
    epoch = meta.note(EPOCH)
    if epoch and not (epoch.isascii() and epoch.isdigit() and len(epoch) < 20):
        raise ActionRefused(f"the annotation {EPOCH} of {what} is no number: a person has to remove it")
    if epoch and int(epoch) > intent.epoch:
        raise ActionRefused(
            f"{what} was written in epoch {epoch}, ours is {intent.epoch}: another consulguard is in charge, or "
            f"our journal is not the one of then; remove the annotation {EPOCH} to let us go on"
        )


# ---- how a workload is


def holds(workload: Workload, *, rollout: bool = True) -> str:
    """Why the workload is better left alone now; empty when nothing speaks against it.

    ``rollout``: a rollout that is under way counts. One that gave up (its progress deadline is over) never does.
    """
    meta, status = workload.metadata, workload.status
    skip = meta.note(SKIP)
    if skip and skip.strip().lower() not in OFF:
        return f"{workload.name} asks to be left alone: its annotation {SKIP} is {skip[:80]!a}"
    if status.observed_generation < meta.generation:
        return f"{workload.name} was changed a moment ago and its controller has not seen that yet"
    if not rollout or _stuck(workload) or not _rolls(workload):
        return ""
    wanted, updated = _counts(workload)
    if updated < wanted:
        return f"a rollout of {workload.name} is in progress: {updated} of {wanted} pods are updated"
    return ""


def _counts(workload: Workload) -> tuple[int, int]:
    if workload.kind == "DaemonSet":
        return workload.status.desired_number_scheduled, workload.status.updated_number_scheduled
    wanted = 1 if workload.spec.replicas is None else workload.spec.replicas
    return wanted, workload.status.updated_replicas


def _stuck(workload: Workload) -> bool:
    return any(
        c.type == "Progressing" and c.status == "False" and c.reason == "ProgressDeadlineExceeded"
        for c in workload.status.conditions or ()
    )


def _rolls(workload: Workload) -> bool:
    """Whether its controller brings all pods up to date by itself."""
    strategy = workload.spec.update_strategy
    if strategy is None:
        return True
    return strategy.type == "RollingUpdate" and not (strategy.rolling_update and strategy.rolling_update.partition)


def found(thing: Any, what: str) -> Any:
    """The object that was read. Raises ActionRefused where there is none."""
    if thing is None:
        raise ActionRefused(f"there is no {what}")
    return thing


def same_uid(meta: Meta, uid: str, what: str) -> None:
    """Raise NotSent when the object is not the one its owner reference means any more."""
    if meta.uid != uid:
        raise NotSent(f"nothing was changed: {what} was replaced while we looked")
