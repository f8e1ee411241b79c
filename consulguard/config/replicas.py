"""The section ``coordinate``: who may act when there are several replicas."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from consulguard.config import values
from consulguard.config.values import Addresses, SecretFile
from consulguard.plan.strict import Duration, Strict

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.\[\]:-]+:[0-9]{1,5}$")]
Key = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9/-]*[a-z0-9])?$")]

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9_-]{0,38}[a-z0-9])?$")]
Member = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,60}$")]


class Zookeeper(Strict):
    hosts: list[Host] = Field([], description="host:port of each server of the ensemble.")


class KubernetesLease(Strict):
    namespace: str = Field("", description="Where the Lease object is. Empty: the pod's own namespace.")
    kubeconfig: str = Field("", description="Empty: the pod's own service account.")


class UnitSlack(Strict):
    """Goes over ``slack`` for this unit."""

    channel: str = Field("", description="Empty: as in slack.")
    bot_token_file: SecretFile = Field("", description="Empty: as in slack.")
    app_id: Annotated[str, AfterValidator(values.app_id)] = Field(
        "", description="An app of this unit's own. Needed where several units take commands and clicks."
    )
    app_token_file: SecretFile = Field("", description="Of the unit's own app, for Socket Mode.")


class Unit(Strict):
    datacenter: Name = Field(description="A datacenter that is led by itself,")
    partition: Name | Literal[""] = Field("", description="or one partition of it (Enterprise).")
    http_addr: Addresses | None = Field(
        None, description="An agent there. None: the one of consul.http_addr is asked about that datacenter."
    )
    continues: bool = Field(
        False,
        description="Goes on with journal, lease and socket of the time before there were units. At most one.",
    )
    slack: UnitSlack = UnitSlack()


class Coordinate(Strict):
    backend: Literal["single", "consul", "zookeeper", "kubernetes"] = Field(
        "single", description="What keeps the lease by which one replica acts at a time; single: one replica."
    )
    key: Key = Field("consulguard/leader", description="The lock's key, node or (with - for /) object name.")
    ttl: Duration = Field(
        0.0, description="How long a holder may be silent. 0s: 14s, Kubernetes 15s, ZooKeeper 10s."
    )
    epoch_offset: Annotated[int, Field(ge=0, le=2**62)] = Field(
        0, description="Added to every epoch, after a move to a backend that counts lower. The same everywhere."
    )
    units: list[Unit] = Field(
        [], description="What is shared out among the replicas. Empty: all is one, as consul says."
    )
    member: Member = Field(
        "", description="This replica's name among the others', unlike theirs. Empty: host, process and chance."
    )
    zookeeper: Zookeeper = Zookeeper()
    kubernetes: KubernetesLease = KubernetesLease()
