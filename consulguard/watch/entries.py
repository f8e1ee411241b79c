"""Consul's configuration entries and intentions as typed structs: only what makes an edge is named."""

from __future__ import annotations

import msgspec


class Ref(msgspec.Struct):
    """A service as entries refer to it; some say ``Service``, some ``Name``."""

    Service: str | None = ""
    Name: str | None = ""
    Namespace: str | None = ""
    Partition: str | None = ""
    Datacenter: str | None = ""
    Peer: str | None = ""
    Weight: float | None = None


class Failover(Ref):
    Datacenters: list[str] | None = None
    Targets: list[Ref] | None = None  # from 1.14


class Route(msgspec.Struct):
    Destination: Ref | None = None


class Listener(msgspec.Struct):
    Services: list[Ref] | None = None


class UpstreamConfig(msgspec.Struct):
    Overrides: list[Ref] | None = None


class Permission(msgspec.Struct):
    Action: str | None = ""


class Caller(Ref):
    """A source of a ``service-intentions`` entry."""

    Action: str | None = ""
    Permissions: list[Permission] | None = None


class Named(msgspec.Struct):
    """What every entry has."""

    Name: str
    Namespace: str | None = ""
    Partition: str | None = ""


class Resolver(Named):
    Redirect: Ref | None = None
    Failover: dict[str, Failover] | None = None


class Splitter(Named):
    Splits: list[Ref] | None = None


class Router(Named):
    Routes: list[Route] | None = None


class Ingress(Named):
    Listeners: list[Listener] | None = None


class Terminating(Named):
    Services: list[Ref] | None = None


class Defaults(Named):
    UpstreamConfig: UpstreamConfig | None = None


class ServiceIntentions(Named):
    Sources: list[Caller] | None = None


class Rule(msgspec.Struct):
    Services: list[Ref] | None = None


class GatewayRoute(Named):
    """``http-route`` (rules) and ``tcp-route`` (services)."""

    Parents: list[Ref] | None = None
    Rules: list[Rule] | None = None
    Services: list[Ref] | None = None


class Intention(msgspec.Struct):
    """One of ``/v1/connect/intentions``."""

    SourceName: str
    DestinationName: str
    SourceNS: str | None = ""
    DestinationNS: str | None = ""
    SourcePartition: str | None = ""
    DestinationPartition: str | None = ""
    SourcePeer: str | None = ""
    Action: str | None = ""
    Permissions: list[Permission] | None = None


class TopologyIntention(msgspec.Struct):
    Allowed: bool = True


class TopologyService(msgspec.Struct):
    Name: str
    Namespace: str | None = ""
    Partition: str | None = ""
    Datacenter: str | None = ""
    Source: str | None = ""
    Intention: TopologyIntention | None = None


class Topology(msgspec.Struct):
    """``/v1/internal/ui/service-topology/:name`` (from 1.9)."""

    Upstreams: list[TopologyService] | None = None
    FilteredByACLs: bool = False
