"""Who calls whom, from everything that is not a sidecar's upstream. No I/O."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from consulguard.model import EdgeFact, EdgesFact, Target
from consulguard.watch import entries as e
from consulguard.watch import provenance as p
from consulguard.watch.census import name_list
from consulguard.watch.decode import KvPair, Scope

ANY = "*"
Link = tuple[Target, Target, p.Provenance]


class Names(msgspec.Struct, frozen=True):
    """Turns what entries say into targets; what they leave out is taken from the entry they stand in."""

    scope: Scope
    namespace: str = ""
    partition: str = ""

    def of(self, entry: e.Named) -> Target:
        return self.scope.service(entry.Name, entry.Namespace or self.namespace, entry.Partition or self.partition)

    def to(self, base: Target, ref: e.Ref, datacenter: str = "") -> Target:
        return Target(
            dc=datacenter or ref.Datacenter or base.dc,
            partition=ref.Partition or base.partition,
            namespace=ref.Namespace or base.namespace,
            peer=ref.Peer or "",
            service=ref.Service or ref.Name or base.service,
        )

    def plain(self, name: str) -> Target:
        return self.scope.service(name, self.namespace, self.partition)


def edges_fact(
    source: str, links: Iterable[Link], at: datetime, denied: Iterable[tuple[Target, Target]] = ()
) -> EdgesFact:
    """One fact: each pair once per provenance with its highest trust, in order, without self-loops."""
    best: dict[tuple[Target, Target, str], p.Provenance] = {}
    for caller, called, provenance in links:
        key = (caller, called, provenance.name)
        if caller != called and (key not in best or best[key].trust < provenance.trust):
            best[key] = provenance
    edges = [
        EdgeFact(source=a, destination=b, provenance=name, trust=how.trust, min_version=how.min_version)
        for (a, b, name), how in sorted(best.items(), key=lambda item: item[0])
    ]
    return EdgesFact(source=source, edges=tuple(edges), denied=tuple(sorted(set(denied))), at=at)


# ---- configuration entries


def resolver(entry: e.Resolver, names: Names) -> Iterator[Link]:
    me = names.of(entry)
    if entry.Redirect is not None:
        yield me, names.to(me, entry.Redirect), p.REDIRECT
    for fail in (entry.Failover or {}).values():
        for target in fail.Targets or ():
            yield me, names.to(me, target), p.FAILOVER
        for datacenter in fail.Datacenters or [""]:
            yield me, names.to(me, fail, datacenter), p.FAILOVER


def splitter(entry: e.Splitter, names: Names) -> Iterator[Link]:
    me = names.of(entry)
    for split in entry.Splits or ():
        if split.Weight is None or split.Weight > 0:
            yield me, names.to(me, split), p.SPLITTER


def router(entry: e.Router, names: Names) -> Iterator[Link]:
    me = names.of(entry)
    for route in entry.Routes or ():
        if route.Destination is not None:
            yield me, names.to(me, route.Destination), p.ROUTER


def ingress(entry: e.Ingress, names: Names) -> Iterator[Link]:
    me = names.of(entry)
    for listener in entry.Listeners or ():
        for service in listener.Services or ():
            how = p.INGRESS_WILDCARD if service.Name == ANY else p.INGRESS
            yield me, names.to(me, service), how


def terminating(entry: e.Terminating, names: Names) -> Iterator[Link]:
    me = names.of(entry)
    for service in entry.Services or ():
        how = p.INGRESS_WILDCARD if service.Name == ANY else p.TERMINATING
        yield me, names.to(me, service), how


def gateway_route(entry: e.GatewayRoute, names: Names) -> Iterator[Link]:
    services = [*(entry.Services or ()), *(s for rule in entry.Rules or () for s in rule.Services or ())]
    route = names.of(entry)
    for parent in entry.Parents or ():
        for service in services:
            yield names.to(route, parent), names.to(route, service), p.INGRESS


def defaults(entry: e.Defaults, names: Names) -> Iterator[Link]:
    me = names.of(entry)
    for override in (entry.UpstreamConfig.Overrides if entry.UpstreamConfig else None) or ():
        if override.Name:
            yield me, names.to(me, override), p.UPSTREAM_CONFIG


class Kind(msgspec.Struct, frozen=True):
    """A kind of configuration entry: its struct, what it links, and the version that first has it."""

    name: str
    type: type[e.Named]
    links: Callable[[Any, Names], Iterator[Link]]
    min_version: tuple[int, ...] = ()


KINDS = (
    Kind("service-resolver", e.Resolver, resolver),
    Kind("service-splitter", e.Splitter, splitter),
    Kind("service-router", e.Router, router),
    Kind("ingress-gateway", e.Ingress, ingress),
    Kind("terminating-gateway", e.Terminating, terminating),
    Kind("service-defaults", e.Defaults, defaults, (1, 10)),
    Kind("http-route", e.GatewayRoute, gateway_route, (1, 15)),
    Kind("tcp-route", e.GatewayRoute, gateway_route, (1, 15)),
)


def from_kind(kind: Kind, rows: Sequence[e.Named], names: Names, at: datetime) -> EdgesFact:
    """Edges of all entries of one kind."""
    return edges_fact(f"config/{kind.name}", (link for row in rows for link in kind.links(row, names)), at)


# ---- intentions


def _allows(action: str | None, permissions: Sequence[e.Permission] | None) -> bool:
    """Permissions by path take the action's place; one that allows makes a call possible."""
    if permissions:
        return any(permission.Action == "allow" for permission in permissions)
    return action == "allow"


def _intended(pairs: Iterable[tuple[Target, Target, bool]], at: datetime) -> EdgesFact:
    allowed: list[Link] = []
    denied: list[tuple[Target, Target]] = []
    for caller, called, allow in pairs:
        if not allow:
            denied.append((caller, called))
        elif ANY in (caller.service, called.service):
            allowed.append((caller, called, p.INTENTION_WILDCARD))
        else:
            allowed.append((caller, called, p.INTENTION))
    return edges_fact("intentions", allowed, at, denied)


def from_intentions(rows: Sequence[e.Intention], names: Names, at: datetime) -> EdgesFact:
    """The list of ``/v1/connect/intentions``. ``*`` stands for every service, as in Consul."""

    def pairs() -> Iterator[tuple[Target, Target, bool]]:
        for row in rows:
            caller = names.scope.service(row.SourceName, row.SourceNS, row.SourcePartition, row.SourcePeer)
            called = names.scope.service(row.DestinationName, row.DestinationNS, row.DestinationPartition)
            yield caller, called, _allows(row.Action, row.Permissions)

    return _intended(pairs(), at)


def from_service_intentions(rows: Sequence[e.ServiceIntentions], names: Names, at: datetime) -> EdgesFact:
    """``service-intentions`` entries (from 1.9): the same facts in their newer form."""

    def pairs() -> Iterator[tuple[Target, Target, bool]]:
        for row in rows:
            called = names.of(row)
            for source in row.Sources or ():
                yield names.to(called, source), called, _allows(source.Action, source.Permissions)

    return _intended(pairs(), at)


# ---- the UI's topology

_SOURCES = {
    "proxy-registration": p.TOPOLOGY_REGISTRATION,
    "routing-config": p.TOPOLOGY_ROUTING,
    "specific-intention": p.TOPOLOGY_INTENTION,
    "wildcard-intention": p.TOPOLOGY_WILDCARD,
    "default-allow": p.TOPOLOGY_DEFAULT,
}


def from_topology(me: Target, topology: e.Topology, at: datetime) -> EdgesFact:
    """What ``service-topology`` says one service calls; an unknown source is trusted least."""
    links: list[Link] = []
    denied: list[tuple[Target, Target]] = []
    for up in topology.Upstreams or ():
        called = Target(
            dc=up.Datacenter or me.dc,
            partition=up.Partition or me.partition,
            namespace=up.Namespace or me.namespace,
            service=up.Name,
        )
        if up.Intention is not None and not up.Intention.Allowed:
            denied.append((me, called))
        else:
            links.append((me, called, _SOURCES.get(up.Source or "", p.TOPOLOGY_DEFAULT)))
    return edges_fact(f"service-topology/{me.service}", links, at, denied)


# ---- declared by people


def from_declared(source: str, declared: Mapping[str, Sequence[str]], names: Names, at: datetime) -> EdgesFact:
    """Edges somebody wrote down: a caller's name and the names it depends on."""
    links = [(names.plain(a), names.plain(b), p.DECLARED) for a, called in declared.items() for b in called]
    return edges_fact(source, links, at)


def declared_in_kv(pairs: Iterable[KvPair], prefix: str) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """``<prefix><service>`` = comma or JSON list; the second value names the keys that are neither."""
    declared: dict[str, tuple[str, ...]] = {}
    wrong: list[str] = []
    for pair in pairs:
        name = pair.Key.removeprefix(prefix)
        if not name or pair.Key.endswith("/") or not pair.Key.startswith(prefix):
            continue
        try:
            text = base64.b64decode(pair.Value or "", validate=True).decode("utf-8")
            declared[name] = name_list(text)
        except (binascii.Error, ValueError):
            wrong.append(pair.Key)
    return declared, wrong
