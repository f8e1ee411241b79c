"""The mesh as it was told: facts kept as they came, and an index beside them that is kept up fact by fact.

Only the facts are state. The index is rebuilt from them when a decoded graph is first asked, and learning one fact
costs what that fact touches.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeVar

import msgspec

from consulguard.correlate.index import Edge, Index
from consulguard.correlate.keys import is_consul, node_key, node_key_of, service_key, zone_key
from consulguard.model import EdgesFact, Fact, InstanceFact, NodeFact, ServiceFact, Target, own_meta

F = TypeVar("F", ServiceFact, NodeFact, EdgesFact)

DAY = timedelta(hours=24)
_HIGHS_MAX = 24  # remembered maxima per service; a service that shrinks in more steps keeps the larger ones
_SERVICES_MAX = 50_000  # services, gone ones included, whose maxima are remembered


class High(msgspec.Struct, kw_only=True):
    """The service had ``count`` instances until then."""

    count: int
    until: datetime


class Graph(msgspec.Struct, kw_only=True, dict=True):
    """Services, nodes and edges by key. A sidecar is folded into the service it fronts."""

    services: dict[str, ServiceFact] = {}
    nodes: dict[str, NodeFact] = {}
    edge_facts: dict[str, EdgesFact] = {}
    highs: dict[str, list[High]] = {}
    abroad: dict[str, bool] = {}  # failing services of other units that ours lean on -> whether that is old news
    servers: dict[str, datetime] = {}  # node key -> when Consul's own service was last known to be there

    # ---- learning

    def learn(self, facts: Iterable[Fact]) -> None:
        """Take facts in; a later fact of the same service, node or source replaces the earlier one."""
        index = self.index
        for fact in facts:
            if isinstance(fact, ServiceFact):
                self._learn_servers(fact)
                self._learn_service(index, fact)
            elif isinstance(fact, NodeFact):
                key = node_key(fact.target)
                if any(is_consul(target) for target in fact.instances or ()):
                    self.servers[key] = fact.at
                index.put_node(key, *_swap(self.nodes, key, None if fact.gone else fact))
            else:
                index.put_edges(*_swap(self.edge_facts, fact.source, fact))

    def _learn_service(self, index: Index, fact: ServiceFact) -> None:
        key = service_key(fact.target)
        old, new = _swap(self.services, key, None if fact.gone else fact)
        index.put_service(key, old, new)
        before, now = old.count if old else 0, new.count if new else 0
        past = [h for h in self.highs.get(key, ()) if h.count > max(before, now) and h.until > fact.at - DAY]
        if before > now:
            past.append(High(count=before, until=fact.at))
        if past:
            self.highs[key] = past[:_HIGHS_MAX]
        else:
            self.highs.pop(key, None)
        while len(self.highs) > _SERVICES_MAX:
            del self.highs[next(iter(self.highs))]

    def _learn_servers(self, fact: ServiceFact) -> None:
        """A dead server leaves the catalog in two writes, its service first: the node left is still its."""
        if not is_consul(fact.target):
            return
        before = self.services.get(service_key(fact.target))
        for name in {*fact.nodes, *(before.nodes if before else ())}:
            self.servers[node_key_of(fact.target, name)] = fact.at
        self.servers = {node: at for node, at in self.servers.items() if at > fact.at - DAY}

    @cached_property
    def index(self) -> Index:
        """The look-up tables beside the facts; never encoded."""
        index = Index()
        for key, service in self.services.items():
            index.put_service(key, None, service)
        for key, node in self.nodes.items():
            index.put_node(key, None, node)
        for fact in self.edge_facts.values():
            index.put_edges(None, fact)
        return index

    # ---- services

    def target(self, key: str) -> Target | None:
        """Who a service key means, registered or only named by an edge."""
        return self.index.targets.get(key)

    def owner(self, key: str) -> str:
        """The service a sidecar stands in front of; everything else is its own owner."""
        return self.index.owner.get(key, key)

    def fact(self, key: str) -> ServiceFact | None:
        """What the catalog says of the service; None when it is absent from it."""
        return self.services.get(key)

    def expected(self, key: str, at: datetime | None = None) -> int:
        """Instances this service should have: declared in its meta, else the most it had in the last 24 h."""
        fact = self.services.get(key)
        declared = (own_meta(fact.meta, "expected") or "") if fact else ""
        if declared.isascii() and declared.isdigit() and len(declared) <= 6:
            return int(declared)
        past = (h.count for h in self.highs.get(key, ()) if at is None or h.until > at - DAY)
        return max(past, default=0) if fact is None else max(fact.count, *past, 0)

    def instance(self, target: Target) -> InstanceFact | None:
        """The instance's own fact, where it was read in detail."""
        fact = self.services.get(service_key(target))
        for found in (fact.instances or ()) if fact else ():
            if found.target == target:
                return found
        return None

    def is_server(self, node: str) -> bool:
        """Does, or did in the last day, one of Consul's own servers run on this node?"""
        return node in self.servers

    # ---- edges

    def callees(self, key: str) -> dict[str, Edge]:
        """What the service depends on, by callee; see ``Index.callees`` for which edges count."""
        return self.index.callees(key)

    def callers(self, key: str) -> list[Edge]:
        """Who depends on the service."""
        return self.index.callers(key)

    def called_only_by(self, key: str, group: Container[str]) -> bool:
        """Is every known caller of the service in the group?"""
        return self.index.called_only_by(key, group)

    # ---- places

    def zone(self, node: str) -> str:
        """The zone's name of a node key, or empty."""
        fact = self.nodes.get(node)
        return fact.zone if fact else ""

    def zone_of(self, node: str) -> str:
        """The zone's key of a node key, or empty."""
        fact = self.nodes.get(node)
        return zone_key(fact.target, fact.zone) if fact and fact.zone else ""

    def zone_target(self, zone: str) -> Target:
        """Where a zone is: its datacenter and partition (a zone has no target of its own)."""
        here = self.nodes[next(iter(self.zones()[zone]))].target
        return Target(dc=here.dc, partition=here.partition, peer=here.peer)

    def node_target(self, node: str) -> Target | None:
        """Who a node key means; None when the node is not known."""
        fact = self.nodes.get(node)
        return fact.target.of_node() if fact else None

    def zones(self) -> dict[str, dict[str, None]]:
        """Zone key -> the keys of its nodes."""
        return self.index.zones

    def units(self, node: str) -> dict[str, int]:
        """Service -> instances on the node, sidecars left out. Of a node not read in detail: as services tell."""
        index = self.index
        found = index.listed[node] if node in index.listed else index.on_node.get(node, {})
        return {key: found[key] for key in sorted(found) if key not in index.owner}


def _swap(table: dict[str, F], key: str, new: F | None) -> tuple[F | None, F | None]:
    old = table.get(key)
    if new is not None:
        table[key] = new
    elif old is not None:
        del table[key]
    return old, new
