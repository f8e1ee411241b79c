"""Who and what Consul told: targets, observations, facts about the mesh, and whether the view may be trusted."""

from __future__ import annotations

import enum
from datetime import datetime

from consulguard.model.base import Value

# ---- who


class Target(Value, frozen=True, kw_only=True, order=True):
    """Who is meant: a service, an instance of one, or a node. Empty fields are not part of the key.

    An instance is (node, instance): service ids are unique per node only.
    """

    dc: str
    partition: str = "default"
    namespace: str = "default"
    peer: str = ""
    service: str = ""
    node: str = ""
    instance: str = ""

    @property
    def key(self) -> str:
        """A string that is equal exactly when the targets are equal; safe as a journal key."""
        parts = (self.dc, self.partition, self.namespace, self.peer, self.service, self.node, self.instance)
        joined = "/".join(parts)
        if "%" not in joined and joined.count("/") == len(parts) - 1:  # nothing to escape: nearly always
            return joined
        return "/".join([p.replace("%", "%25").replace("/", "%2F") for p in parts])

    @property
    def kind(self) -> str:
        """``instance``, ``node`` or ``service``."""
        if self.instance:
            return "instance"
        return "service" if self.service else "node"

    @property
    def name(self) -> str:
        """What people call it."""
        return self.instance or self.service or self.node

    def of_service(self) -> Target:
        """The service this instance belongs to (namespace and partition kept)."""
        return Target(
            dc=self.dc,
            partition=self.partition,
            namespace=self.namespace,
            peer=self.peer,
            service=self.service,
        )

    def of_node(self) -> Target:
        """The node this instance runs on. Nodes have a partition but no namespace."""
        return Target(dc=self.dc, partition=self.partition, peer=self.peer, node=self.node)


# ---- watch -> health


class Status(enum.StrEnum):
    """What one look at Consul said about a check."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"
    MAINTENANCE = "maintenance"  # Consul's own maintenance check: planned
    ABSENT = "absent"  # the key is gone from the catalog: not a recovery
    UNKNOWN = "unknown"  # Consul could not be asked, or said something we do not understand


class Observation(Value, frozen=True, kw_only=True):
    """One look at one check. ``target`` has node, and service+instance unless it is a node check."""

    target: Target
    check: str
    status: Status
    output: str = ""
    index: int = 0  # the check's ModifyIndex
    at: datetime
    name: str = ""
    interval_s: float | None = None  # None: not known (TTL checks, catalog registrations)
    type: str = ""  # http, tcp, ttl, alias, ... as far as the server tells
    changed: bool = True  # False: same status, new ModifyIndex (an output change or a flap between two looks)

    @property
    def key(self) -> str:
        """Consul's own identity of a check: (partition, namespace, peer, node, check id)."""
        space = "" if self.target.namespace == "default" else f"{self.target.namespace.replace('|', '%7C')}|"
        return f"{self.target.of_node().key}|{space}{self.check.replace('|', '%7C')}"


class View(Value, frozen=True, kw_only=True):
    """May we believe what we see, and why not. Counts are of the whole fleet."""

    trusted: bool
    reasons: tuple[str, ...] = ()
    services: int = 0
    instances: int = 0
    workloads: int = 0  # instances that are no sidecars: what shares of the fleet are shares of
    nodes: int = 0
    not_passing: int = 0
    as_of: datetime | None = None  # the last moment all feeds were good
    settled: bool = False  # two full rounds and the settle time have passed since start, fail-over or resync
    settled_at: datetime | None = None  # when it will have settled, if known
    version: str = ""  # of the Consul server


# ---- facts about the mesh


class Upstream(Value, frozen=True, kw_only=True):
    """An upstream a sidecar declares (``Proxy.Upstreams``)."""

    name: str
    type: str = "service"  # or prepared_query
    dc: str = ""
    namespace: str = ""
    partition: str = ""
    peer: str = ""


class InstanceFact(Value, frozen=True, kw_only=True):
    """One registered instance, read on demand: only services in trouble carry these."""

    target: Target
    address: str = ""
    port: int = 0
    tags: tuple[str, ...] = ()
    meta: dict[str, str] = {}
    destination_instance: str = ""  # a sidecar's Proxy.DestinationServiceID
    status: Status = Status.UNKNOWN  # worst of its checks and its node's, at the time of reading
    checks: int = 0
    interval_s: float | None = None  # of its quickest check, as far as Consul tells it


class ServiceFact(Value, frozen=True, kw_only=True, tag_field="fact", tag=True):
    """What the catalog says of one service. ``gone`` when it has left it."""

    target: Target
    kind: str = ""  # "", connect-proxy, mesh-gateway, terminating-gateway, ingress-gateway, api-gateway
    count: int = 0  # registered instances
    nodes: tuple[str, ...] = ()
    destination: str = ""  # a sidecar's Proxy.DestinationServiceName
    upstreams: tuple[Upstream, ...] = ()
    depends_on: tuple[str, ...] = ()  # from service meta consulguard.io/depends-on
    tags: tuple[str, ...] = ()  # union over instances
    meta: dict[str, str] = {}  # keys on which all instances agree
    instances: tuple[InstanceFact, ...] | None = None  # None: not read in detail
    index: int = 0
    gone: bool = False
    at: datetime


class NodeFact(Value, frozen=True, kw_only=True, tag_field="fact", tag=True):
    target: Target
    address: str = ""
    zone: str = ""
    meta: dict[str, str] = {}
    instances: tuple[Target, ...] | None = None  # None: not read; else all instances on the node
    gone: bool = False
    at: datetime


class EdgeFact(Value, frozen=True, kw_only=True):
    """``source`` calls ``destination``; made by watch from everything that is not an upstream of a sidecar."""

    source: Target
    destination: Target
    provenance: str  # proxy-upstream, service-topology, intention, resolver-redirect, resolver-failover, splitter,
    #                  router, ingress, terminating, declared
    trust: float  # 0..1; see docs/topology.md for each provenance's value
    min_version: str = ""  # the Consul version that first offers this source


class EdgesFact(Value, frozen=True, kw_only=True, tag_field="fact", tag=True):
    """All edges of one source (``intentions``, ``config/service-resolver``, ``declared/kv`` ...).

    It replaces the earlier fact of the same source.
    """

    source: str
    edges: tuple[EdgeFact, ...]
    denied: tuple[tuple[Target, Target], ...] = ()  # certain non-edges (deny intentions)
    at: datetime


Fact = ServiceFact | NodeFact | EdgesFact


class CallRate(Value, frozen=True, kw_only=True):
    """How one service's calls to another fare; services by the names they are measured under."""

    caller: str
    callee: str
    failed: float | None  # share of the calls that fail, 0..1; None: not measured any more


class Reaction(enum.StrEnum):
    """How a service met a read-only probe."""

    WELL = "well"
    SLOW = "slow"
    BADLY = "badly"  # a server's error, not serving, no HTTP, a certificate that does not hold
    REFUSED = "refused"  # no connection
    TIMEOUT = "timeout"
    UNSURE = "unsure"  # we could not knock, or what came back says nothing


class DoorAnswer(Value, frozen=True, kw_only=True):
    """What a read-only probe of a service met with; of several instances the middle one's answer."""

    service: Target
    how: Reaction
    kind: str = ""  # tcp, http, https, grpc
    address: str = ""  # host:port
    took_s: float = 0.0
    reason: str = ""  # in words, where ``how`` does not say it all
