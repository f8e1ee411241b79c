"""Keys and names: how the room refers to services, nodes, zones and roots."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import lru_cache

from consulguard.model import Root, Target

CONSUL = "consul"  # the service as which Consul lists its own servers


def is_consul(target: Target | None) -> bool:
    """Is this the service, or an instance of it, as which Consul lists its own servers?"""
    return target is not None and target.service == CONSUL and target.namespace == "default"


@lru_cache(maxsize=131_072)
def _join(dc: str, partition: str, namespace: str, peer: str, service: str, node: str) -> str:
    return Target(dc=dc, partition=partition, namespace=namespace, peer=peer, service=service, node=node).key


def service_key(target: Target) -> str:
    """``target.of_service().key``, remembered: a storm asks for the same few thousand again and again."""
    return _join(target.dc, target.partition, target.namespace, target.peer, target.service, "")


def node_key(target: Target) -> str:
    """``target.of_node().key``, remembered."""
    return node_key_of(target, target.node)


def node_key_of(here: Target, name: str) -> str:
    """The key of the node of this name, where ``here`` is."""
    return _join(here.dc, here.partition, "default", here.peer, "", name)


def zone_key(target: Target, zone: str) -> str:
    """A zone is a zone of one datacenter, partition and peer."""
    return _join(target.dc, target.partition, "default", target.peer, "", f"zone:{zone}")


def root_target(root: Root) -> Target:
    """Whom a root means. A zone has no target of its own: datacenter and partition only."""
    return Target(
        dc=root.datacenter,
        partition=root.partition,
        namespace=root.namespace,
        peer=root.peer,
        service=root.name if root.kind in ("service", "instance") else "",
        node=root.name if root.kind == "node" else root.node,
        instance=root.instance,
    )


def root_key(root: Root) -> str:
    """Equal exactly when the roots are the same thing."""
    zone = root.name.replace("%", "%25").replace("/", "%2F") if root.kind == "zone" else ""
    return f"{root.kind}:{root_target(root).key}:{zone}"


def root_of(kind: str, target: Target, name: str) -> Root:
    """The root of this kind at ``target``; an instance root also says where it runs."""
    instance = kind == "instance"
    return Root(
        kind=kind,
        name=name,
        datacenter=target.dc,
        node=target.node if instance else "",
        instance=target.instance if instance else "",
        partition=target.partition,
        namespace=target.namespace if kind in ("service", "instance") else "default",
        peer=target.peer,
    )


def incident_id(root: Root, opened_at: datetime) -> str:
    """The same root opened at the same moment is the same incident, on every replica and in every replay."""
    digest = hashlib.sha256(f"{root_key(root)}|{opened_at.isoformat()}".encode()).hexdigest()
    return f"inc-{digest[:10]}"
