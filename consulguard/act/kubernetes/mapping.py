"""Which pod, workload or node belongs to a Consul target. Meta is hostile: what does not agree is not believed.

Everything is read anew just before the effect: the instance from Consul's leader, the pod from Kubernetes. A pod
is acted upon only if the instance names it now and is registered at its address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from consulguard.act.base import ActContext, KubeSettings
from consulguard.act.consul_io import decode, read, scope_params
from consulguard.act.kubernetes.api import Kube, Ref
from consulguard.act.kubernetes.objects import (
    KINDS,
    Pod,
    ReplicaSet,
    Service,
    Workload,
    found,
    pods,
    same_uid,
    workloads,
)
from consulguard.act.kubernetes.params import KUBE_SYSTEM, WorkloadParams
from consulguard.consulapi import segment
from consulguard.errors import ActionRefused
from consulguard.model import Target

POD, NAMESPACE, POD_UID, SERVICE = "pod-name", "k8s-namespace", "pod-uid", "k8s-service-name"  # consul-k8s's keys
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


class Instance(NamedTuple):
    """One instance as Consul has it now."""

    id: str
    address: str
    meta: dict[str, str]


class _Row(msgspec.Struct):
    """``/v1/catalog/service/:name``"""

    ServiceID: str
    Address: str = ""
    ServiceAddress: str = ""
    ServiceMeta: dict[str, str] | None = None
    Node: str = ""


class _Node(msgspec.Struct):
    Address: str = ""
    Meta: dict[str, str] | None = None


class _Service(msgspec.Struct):
    Address: str = ""
    Meta: dict[str, str] | None = None


class _NodeServices(msgspec.Struct):
    """``/v1/catalog/node/:name``"""

    Node: _Node
    Services: dict[str, _Service] | None = None


# ---- Consul's side


async def instance_of(target: Target, ctx: ActContext) -> tuple[Instance, int]:
    """The target instance as Consul has it now, and the index of that answer."""
    seen, index = await _on_node(target, ctx)
    service = (seen.Services or {}).get(target.instance) if seen is not None else None
    if seen is None or service is None:
        raise ActionRefused(f"{target.name} is not registered on node {target.node} any more")
    return Instance(target.instance, service.Address or seen.Node.Address, service.Meta or {}), index


async def node_of(target: Target, ctx: ActContext) -> tuple[Instance, int]:
    """The target's node as Consul has it now."""
    seen, index = await _on_node(target.of_node(), ctx)
    if seen is None:
        raise ActionRefused(f"Consul does not know the node {target.node} any more")
    return Instance(target.node, seen.Node.Address, seen.Node.Meta or {}), index


async def _on_node(target: Target, ctx: ActContext) -> tuple[_NodeServices | None, int]:
    params = scope_params(target, namespace=bool(target.instance))
    answer = await read(ctx, f"/v1/catalog/node/{segment(target.node)}", params=params)
    return (decode(answer, _NodeServices | None), answer.index or 0) if answer is not None else (None, 0)


async def instances_of(target: Target, ctx: ActContext) -> tuple[list[Instance], int]:
    """All instances of the target's service as Consul has them now."""
    answer = await read(ctx, f"/v1/catalog/service/{segment(target.service)}", params=scope_params(target))
    rows: list[_Row] = decode(answer, list[_Row]) if answer is not None else []
    if not rows or answer is None:
        raise ActionRefused(f"Consul knows no instance of {target.service} any more")
    return [Instance(r.ServiceID, r.ServiceAddress or r.Address, r.ServiceMeta or {}) for r in rows], (
        answer.index or 0
    )


# ---- what may be touched at all


def refuse_foreign(namespace: str, settings: KubeSettings) -> None:
    """Raise unless the operator lets us act in the namespace."""
    if namespace == KUBE_SYSTEM:
        raise ActionRefused(f"the namespace {KUBE_SYSTEM} is never acted upon: the cluster lives on it")
    if namespace not in settings.namespaces:
        allowed = ", ".join(settings.namespaces) or "none"
        raise ActionRefused(f"the namespace {namespace} is not in actions.kubernetes.namespaces ({allowed})")


def refuse_own_pod(namespace: str, pod: str, settings: KubeSettings) -> None:
    """Raise for the pod we run in."""
    if (namespace, pod) == (settings.own_namespace, settings.own_pod):
        raise ActionRefused(f"pod {pod} is the one consulguard runs in")


async def refuse_own_workload(kube: Kube, namespace: str, workload: Workload, settings: KubeSettings) -> None:
    """Raise for the workload that runs us."""
    if namespace != settings.own_namespace or not settings.own_pod:
        return
    own = await kube.read(pods(namespace, settings.own_pod), Pod)
    if own is None:
        return
    chain = [own.metadata.controller]
    if chain[0] is not None and chain[0].kind == "ReplicaSet":
        replicas = await kube.read(Ref("apps/v1", "replicasets", namespace, chain[0].name), ReplicaSet)
        chain.append(replicas.metadata.controller if replicas is not None else None)
    if workload.metadata.uid in [owner.uid for owner in chain if owner is not None]:
        raise ActionRefused(f"{workload.name} runs consulguard itself")


# ---- Kubernetes' side


async def pod_of(kube: Kube, namespace: str, name: str, instance: Instance) -> Pod:
    """The pod, if it and the instance agree on one another."""
    said = instance.meta.get(POD, "")
    if said != name:
        names = f"names pod {said[:80]!a} now" if said else "names no pod any more"
        raise ActionRefused(f"{instance.id} {names}, not {name}")
    if instance.meta.get(NAMESPACE, namespace) != namespace:
        place = instance.meta[NAMESPACE][:80]
        raise ActionRefused(f"the pod of {instance.id} is in namespace {place!a} now, not in {namespace}")
    pod: Pod = found(await kube.read(pods(namespace, name), Pod), f"pod {name} in namespace {namespace}")
    if instance.meta.get(POD_UID, pod.metadata.uid) != pod.metadata.uid:
        raise ActionRefused(f"pod {name} is not the one {instance.id} was registered for: its uid is another one")
    if pod.addresses and instance.address and not at_one_of(instance.address, pod.addresses):
        ours, theirs = instance.address[:80], ", ".join(sorted(pod.addresses))
        raise ActionRefused(f"{instance.id} is registered at {ours!a}, but pod {name} is at {theirs}")
    return pod


def at_one_of(address: str, others: set[str]) -> bool:
    """Whether an address is among others, however it is written."""
    return _canonical(address) in {_canonical(other) for other in others}


def _canonical(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


async def workload_of(kube: Kube, pod: Pod, namespace: str) -> Workload:
    """The Deployment, StatefulSet or DaemonSet that keeps the pod alive."""
    owner = pod.metadata.controller
    if owner is not None and owner.kind == "ReplicaSet":
        ref = Ref("apps/v1", "replicasets", namespace, owner.name)
        replicas: ReplicaSet = found(await kube.read(ref, ReplicaSet), f"replicaset {owner.name}")
        same_uid(replicas.metadata, owner.uid, f"replicaset {owner.name}")
        owner = replicas.metadata.controller
    if owner is None or owner.kind.lower() not in KINDS:
        kind = f"a {owner.kind}" if owner is not None else "nothing"
        raise ActionRefused(f"pod {pod.metadata.name} is kept by {kind}, not by a workload we know how to handle")
    workload = await named(kube, namespace, owner.kind, owner.name)
    same_uid(workload.metadata, owner.uid, workload.name)
    return workload


async def named(kube: Kube, namespace: str, kind: str, name: str) -> Workload:
    """The workload of that kind and name."""
    ref = workloads(namespace, kind, name)
    workload: Workload = found(await kube.read(ref, Workload), f"{kind.lower()}/{name} in namespace {namespace}")
    workload.kind = next(k for k in WORKLOADS if k.lower() == kind.lower())
    return workload


async def meant(kube: Kube, params: WorkloadParams, target: Target, ctx: ActContext) -> tuple[Workload, int]:
    """The workload the parameters mean, and Consul's index where it was asked."""
    index = 0
    if params.workload is not None:
        kind, _, name = params.workload.partition("/")
        workload = await named(kube, params.namespace, kind, name)
    elif params.pod is not None:
        if not target.instance:
            raise ActionRefused(f"pod {params.pod} can only be looked at for an instance, not for {target.name}")
        instance, index = await instance_of(target, ctx)
        workload = await workload_of(
            kube, await pod_of(kube, params.namespace, params.pod, instance), params.namespace
        )
    else:
        assert params.service is not None
        workload, index = await _behind(kube, params.namespace, params.service, target, ctx)
    await refuse_own_workload(kube, params.namespace, workload, ctx.settings.kubernetes)
    return workload, index


async def _behind(kube: Kube, namespace: str, name: str, target: Target, ctx: ActContext) -> tuple[Workload, int]:
    """The one workload behind a Kubernetes service, if its pods are the instances of the Consul service."""
    instances, index = await instances_of(target, ctx)
    for instance in instances:
        said = instance.meta.get(NAMESPACE, ""), instance.meta.get(SERVICE, "")
        if said != (namespace, name):
            raise ActionRefused(
                f"{instance.id} of {target.service} does not say that it is behind {namespace}/{name}: not touched"
            )
    ref = Ref("v1", "services", namespace, name)
    service: Service = found(await kube.read(ref, Service), f"service {name} in namespace {namespace}")
    if not service.spec.selector:
        raise ActionRefused(f"service {name} has no selector, so it is not known which pods are behind it")
    selected = await kube.list(pods(namespace), Pod, _selector(service.spec.selector))
    ours = [p for p in selected if any(_is(p, instance) for instance in instances)]
    if not ours:
        raise ActionRefused(f"no pod behind service {name} is at the address of an instance of {target.service}")
    workload = await workload_of(kube, ours[0], namespace)
    for pod in {p.metadata.controller.uid: p for p in selected if p.metadata.controller}.values():
        if (await workload_of(kube, pod, namespace)).metadata.uid != workload.metadata.uid:
            raise ActionRefused(f"more than one workload is behind service {name}: name the one that is meant")
    return workload, index


def _is(pod: Pod, instance: Instance) -> bool:
    named_so = instance.meta.get(POD) == pod.metadata.name
    return named_so and bool(instance.address) and at_one_of(instance.address, pod.addresses)


def _selector(labels: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


async def all_in(kube: Kube, params: WorkloadParams) -> AsyncIterator[Workload]:
    """Every workload the parameters could mean: the one they name, else all of the namespace."""
    if params.workload is not None:
        kind, _, name = params.workload.partition("/")
        yield await named(kube, params.namespace, kind, name)
        return
    for kind in WORKLOADS:
        for workload in await kube.list(workloads(params.namespace, kind, ""), Workload, ""):
            workload.kind = kind
            yield workload
