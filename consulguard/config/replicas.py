"""The section ``coordinate``: who may act when there are several replicas."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from consulguard.plan.strict import Duration, Strict

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.\[\]:-]+:[0-9]{1,5}$")]
Key = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9/-]*[a-z0-9])?$")]


class Zookeeper(Strict):
    hosts: list[Host] = Field([], description="host:port of each server of the ensemble.")


class KubernetesLease(Strict):
    namespace: str = Field("", description="Where the Lease object is. Empty: the pod's own namespace.")
    kubeconfig: str = Field("", description="Empty: the pod's own service account.")


class Coordinate(Strict):
    backend: Literal["single", "consul", "zookeeper", "kubernetes"] = Field(
        "single", description="What keeps the lease by which one replica acts at a time; single: one replica."
    )
    key: Key = Field("consulguard/leader", description="The lock's key, node or (with - for /) object name.")
    ttl: Duration = Field(0.0, description="How long a holder may be silent. 0s: 14s, Kubernetes 15s, ZooKeeper 10s.")
    epoch_offset: Annotated[int, Field(ge=0, le=2**62)] = Field(
        0, description="Added to every epoch, after a move to a backend that counts lower. The same everywhere."
    )
    zookeeper: Zookeeper = Zookeeper()
    kubernetes: KubernetesLease = KubernetesLease()
