"""Services and nodes as the catalog tells them: what is there, what it is made of, where it runs. No I/O.

Only facts that changed are returned. Instances in detail are kept for services in trouble or in focus only.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from consulguard.model import Fact, InstanceFact, NodeFact, ServiceFact, Target, Upstream
from consulguard.watch.decode import (
    Entry,
    Node,
    NodeServices,
    Scope,
    Service,
    UiService,
    instance_status,
    interval_s,
)
from consulguard.watch.settings import WatchSettings

PROXY = "connect-proxy"
# Consul's agents refuse dots and slashes in meta keys, so that the documented key reaches the catalog only
# through direct registration; the other spellings can be used in any service definition.
DEPENDS_ON = ("consulguard.io/depends-on", "consulguard-depends-on", "consulguard_depends_on")
STALE_S = 60.0  # a fact in detail is told again when it is this old, so that its age can be relied on


class Census:
    def __init__(self, scope: Scope, namespace: str, partition: str, settings: WatchSettings) -> None:
        self._scope = scope
        self._namespace = "" if namespace == "*" else namespace
        self._partition = partition
        self._zone_keys = settings.zone_keys
        self._tags: dict[str, tuple[str, ...]] = {}
        self.services: dict[str, ServiceFact] = {}
        self.nodes: dict[str, NodeFact] = {}
        self.proxies: dict[str, set[str]] = defaultdict(set)  # service -> its sidecars' services
        self.instances = self.workloads = 0  # of the whole fleet; workloads are instances that are no sidecars

    @property
    def names(self) -> Collection[str]:
        """Every service of the catalog."""
        return self._tags.keys()

    def details(self, target: Target) -> bool:
        """Whether what was read in detail tells of this instance, or of this node."""
        if not target.service:
            node = self.nodes.get(target.node)
            return node is not None and node.instances is not None
        fact = self.services.get(target.service)
        return any(instance.target == target for instance in (fact.instances if fact else None) or ())

    # ---- lists

    def listed(self, tags: Mapping[str, Sequence[str]], at: datetime) -> tuple[list[Fact], list[str]]:
        """The catalog's services: facts of those that are gone, names of those that are new or changed."""
        gone: list[ServiceFact] = []
        for name in self._tags.keys() - tags.keys():
            fact = self.services.pop(name, None)
            self._count(fact, None)
            self.proxies.pop(name, None)
            if fact is not None:
                self.proxies[fact.destination].discard(name)
            gone.append(ServiceFact(target=fact.target if fact else self._service(name), gone=True, at=at))
        new = {name: tuple(sorted(values or ())) for name, values in tags.items()}
        changed = [name for name, values in new.items() if self._tags.get(name) != values]
        self._tags = new
        return [*sorted(gone, key=lambda fact: fact.target)], changed

    def placed(self, rows: Iterable[Node], at: datetime) -> list[Fact]:
        """The catalog's nodes: facts of those that are new, changed or gone."""
        facts: list[Fact] = []
        seen: set[str] = set()
        for row in rows:
            seen.add(row.Node)
            facts += self._keep_node(self._node(row, at))
        for name in sorted(self.nodes.keys() - seen):
            facts.append(NodeFact(target=self.nodes.pop(name).target, gone=True, at=at))
        return facts

    def counted(self, rows: Iterable[UiService], at: datetime) -> tuple[list[Fact], list[str]]:
        """The fleet's counts in one answer: facts, and names of the services whose details may have changed."""
        facts: list[Fact] = []
        for row in rows:
            if row.PeerName or row.Name not in self._tags:
                continue
            target = self._scope.service(
                row.Name, row.Namespace or self._namespace, row.Partition or self._partition
            )
            old = self.services.get(row.Name) or ServiceFact(target=target, at=at)
            fact = msgspec.structs.replace(
                old,
                target=target,
                kind=row.Kind or "",
                count=row.InstanceCount,
                nodes=tuple(sorted(set(row.Nodes or ()))),
                tags=tuple(sorted(set(row.Tags or ()))) or old.tags,
                destination=_destination(row, old.destination),
                at=at,
            )
            facts += self._keep_service(row.Name, fact)
        return facts, [fact.target.service for fact in facts if isinstance(fact, ServiceFact)]

    # ---- details

    def read(self, name: str, entries: Sequence[Entry], at: datetime, *, detailed: bool) -> list[Fact]:
        """One service's instances, from ``/v1/health/service/:name``."""
        if name not in self._tags:  # it left the catalog while it was read
            return []
        facts: list[Fact] = []
        services = [entry.Service for entry in entries]
        proxies = [s.Proxy for s in services if s.Kind == PROXY and s.Proxy]
        first = services[0] if services else None
        fact = ServiceFact(
            target=self._target(name, first),
            kind=(first.Kind if first else "") or "",
            count=len(entries),
            nodes=tuple(sorted({entry.Node.Node for entry in entries})),
            destination=next((p.DestinationServiceName for p in proxies if p.DestinationServiceName), None) or "",
            upstreams=_upstreams(services),
            depends_on=_depends_on(services),
            tags=tuple(sorted({tag for s in services for tag in s.Tags or ()})),
            meta=_agreed([s.Meta or {} for s in services]),
            instances=tuple(self._instance(entry) for entry in entries) if detailed else None,
            index=max((s.ModifyIndex for s in services), default=0),
            at=at,
        )
        facts += self._keep_service(name, fact, relied_on=detailed)
        for entry in entries:
            facts += self._zone_hint(entry, at)
        return facts

    def node_read(self, row: NodeServices, at: datetime) -> list[Fact]:
        """All instances of one node, from ``/v1/catalog/node/:name``; it may come before the list of nodes."""
        services = (row.Services or {}).values()
        found = sorted(self._instance_target(row.Node.Node, service) for service in services)
        fact = msgspec.structs.replace(self._node(row.Node, at), instances=tuple(found))
        return self._keep_node(fact, relied_on=True)

    def node_calm(self, node: str, at: datetime) -> list[Fact]:
        """The node is no longer of interest: its list of instances would only grow old."""
        old = self.nodes.get(node)
        return [] if old is None else self._keep_node(msgspec.structs.replace(old, instances=None, at=at))

    # ---- inside

    def _node(self, row: Node, at: datetime) -> NodeFact:
        old = self.nodes.get(row.Node)
        meta = row.Meta or {}
        zone = self._zone(meta) or (row.Locality.Zone if row.Locality else "") or ""
        return NodeFact(
            target=self._scope.node(row.Node, row.Partition, row.PeerName),
            address=row.Address or "",
            zone=zone or (old.zone if old else ""),  # what a service's locality has told stays
            meta=meta,
            instances=old.instances if old else None,
            at=at,
        )

    def _keep_service(self, name: str, fact: ServiceFact, *, relied_on: bool = False) -> list[Fact]:
        old = self.services.get(name)
        if old is not None and not _news(old, fact, relied_on=relied_on):
            return []
        if old is not None and old.destination != fact.destination:
            self.proxies[old.destination].discard(name)
        if fact.destination:
            self.proxies[fact.destination].add(name)
        self.services[name] = fact
        self._count(old, fact)
        return [fact]

    def _count(self, old: ServiceFact | None, new: ServiceFact | None) -> None:
        for fact, sign in ((old, -1), (new, 1)):
            if fact is not None:
                self.instances += sign * fact.count
                self.workloads += sign * fact.count * (fact.kind != PROXY)

    def _keep_node(self, fact: NodeFact, *, relied_on: bool = False) -> list[Fact]:
        old = self.nodes.get(fact.target.node)
        if old is not None and not _news(old, fact, relied_on=relied_on):
            return []
        self.nodes[fact.target.node] = fact
        return [fact]

    def _zone_hint(self, entry: Entry, at: datetime) -> list[Fact]:
        """A service's locality places a node that says nothing of its zone."""
        zone = (entry.Service.Locality.Zone if entry.Service.Locality else "") or ""
        node = self.nodes.get(entry.Node.Node)
        if not zone or node is None or node.zone:
            return []
        return self._keep_node(msgspec.structs.replace(node, zone=zone, at=at))

    def _zone(self, meta: Mapping[str, str]) -> str:
        return next((meta[key] for key in self._zone_keys if meta.get(key)), "")

    def _service(self, name: str) -> Target:
        return self._scope.service(name, self._namespace, self._partition)

    def _target(self, name: str, service: Service | None) -> Target:
        if service is None:
            return self._service(name)
        return self._scope.service(
            name, service.Namespace or self._namespace, service.Partition or self._partition
        )

    def _instance_target(self, node: str, service: Service) -> Target:
        of = self._target(service.Service, service)
        return msgspec.structs.replace(of, node=node, instance=service.ID)

    def _instance(self, entry: Entry) -> InstanceFact:
        service = entry.Service
        checks = entry.Checks or []
        return InstanceFact(
            target=self._instance_target(entry.Node.Node, service),
            address=service.Address or entry.Node.Address or "",
            port=service.Port,
            tags=tuple(service.Tags or ()),
            meta=service.Meta or {},
            destination_instance=(service.Proxy.DestinationServiceID if service.Proxy else "") or "",
            status=instance_status(checks),
            checks=len(checks),
            interval_s=min((s for c in checks if c.ServiceID and (s := interval_s(c))), default=None),
        )


def name_list(text: str) -> tuple[str, ...]:
    """Service names from a JSON list of strings or a comma list; raises ValueError for any other JSON."""
    text = text.strip()
    if text.startswith(("[", "{", '"')):
        try:
            names = json.loads(text)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("expected a list of service names")
    else:
        names = text.split(",")
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def _destination(row: UiService, known: str) -> str:
    """Of a sidecar; one that stands for several services keeps the one it is known by."""
    names = (row.ProxyFor or []) if row.Kind == PROXY else []
    return known if known in names else next(iter(names), "")


def _news(old: Fact, new: Fact, *, relied_on: bool) -> bool:
    """Whether ``new`` differs in more than its time, or ``old`` is too old to be relied on in trouble."""
    if msgspec.structs.replace(new, at=old.at) != old:
        return True
    return relied_on and (new.at - old.at).total_seconds() >= STALE_S


def _upstreams(services: Iterable[Service]) -> tuple[Upstream, ...]:
    """What any of the instances' sidecars declares, without doubles."""
    found: dict[Upstream, None] = {}
    for service in services:
        for up in (service.Proxy.Upstreams if service.Proxy else None) or ():
            if not up.DestinationName:
                continue
            upstream = Upstream(
                name=up.DestinationName,
                type=up.DestinationType or "service",
                dc=up.Datacenter or "",
                namespace=up.DestinationNamespace or "",
                partition=up.DestinationPartition or "",
                peer=up.DestinationPeer or "",
            )
            found[upstream] = None
    return tuple(found)


def _depends_on(services: Iterable[Service]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for service in services:
        meta = service.Meta or {}
        for key in DEPENDS_ON:
            try:
                found.update(dict.fromkeys(name_list(meta.get(key, ""))))
            except ValueError:  # a service's own meta: worth no more than being left out
                continue
    return tuple(found)


def _agreed(metas: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The keys on which all instances agree."""
    if not metas:
        return {}
    first, *others = metas
    return {k: v for k, v in sorted(first.items()) if all(other.get(k) == v for other in others)}
