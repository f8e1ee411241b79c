"""What can be looked up fast because it was kept up with every fact; rebuilt from the facts when there is none.

Edges are kept as they were told, sidecars included, and folded when they are read: a sidecar that is learned
after the edges that name it needs no repair.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import TypeVar

import msgspec

from consulguard.correlate.keys import node_key_of, service_key, zone_key
from consulguard.model import EdgesFact, NodeFact, ServiceFact, Target, Upstream

PROXY_UPSTREAM = 0.9  # configured for certain; that it is used is not
DECLARED = 0.9  # a person wrote it down
PREPARED_QUERY = 0.3  # only the query's name is known; a service of that name is a guess
TRUSTED = 0.5  # edges below are used only for callers of which no better edge is known
PERMISSIONS = ("intention",)  # provenances that say "may call", which a deny takes away

V = TypeVar("V")


class Edge(msgspec.Struct, frozen=True, order=True, gc=False):
    """``caller`` depends on ``callee`` (service keys), as told by the most trusted source."""

    caller: str
    callee: str
    provenance: str
    trust: float


class Claim(msgspec.Struct, frozen=True, order=True, gc=False):
    """One source's word for an edge; of several the greatest counts."""

    trust: float
    provenance: str


Links = dict[tuple[str, str, str], float]  # (caller, callee, provenance) -> trust


class Index:
    def __init__(self) -> None:
        self.version = 0  # rises with everything learned
        self.targets: dict[str, Target] = {}  # every service key named anywhere
        self.known: dict[str, None] = {}  # services that are registered, sidecars included
        self.owner: dict[str, str] = {}  # sidecar -> the service it stands in front of
        self.sidecars: dict[str, dict[str, None]] = {}
        self.out: dict[str, dict[str, dict[str, Claim]]] = {}  # caller, callee, origin
        self.into: dict[str, dict[str, None]] = {}
        self.denied: dict[tuple[str, str], dict[str, None]] = {}
        self.on_node: dict[str, dict[str, int]] = {}  # node key -> service key -> instances there, as far as known
        self.listed: dict[str, dict[str, int]] = {}  # the same of nodes read in detail, as their own facts list it
        self.zones: dict[str, dict[str, None]] = {}  # zone key -> node keys
        self._moved: set[str] = set()  # services whose facts, edges or owners have changed
        self._usable: dict[str, dict[str, Edge]] = {}

    # ---- learning: the old fact's share leaves, the new one's enters

    def put_service(self, key: str, old: ServiceFact | None, new: ServiceFact | None) -> None:
        self.version += 1
        self._moved.add(key)
        if (old is None) != (new is None):
            self._stale_callers(key)  # prepared queries resolve, or no longer do
        if new is None:
            self.known.pop(key, None)
        else:
            self.known[key] = None
            self.targets[key] = new.target.of_service()
        self._set_owner(key, old, new)
        self._set_links(f"service:{key}", self._service_links(old), self._service_links(new))
        before, after = _node_names(old), _node_names(new)
        for node in before.keys() - after.keys():
            _drop(self.on_node, node, key)
        for node, count in after.items():
            self.on_node.setdefault(node, {})[key] = count
        self._forget(key)

    def put_node(self, key: str, old: NodeFact | None, new: NodeFact | None) -> None:
        self.version += 1
        if old is not None and old.zone:
            _drop(self.zones, zone_key(old.target, old.zone), key)
        if new is not None and new.zone:
            self.zones.setdefault(zone_key(new.target, new.zone), {})[key] = None
        self.listed.pop(key, None)
        if new is not None and new.instances is not None:
            self.listed[key] = _counted(map(service_key, new.instances))

    def put_edges(self, old: EdgesFact | None, new: EdgesFact | None) -> None:
        self.version += 1
        fact = new or old
        source = fact.source if fact else ""
        before, after = self._denials(old), self._denials(new)
        for pair in before.keys() - after.keys():
            self.denied[pair].pop(source, None)
            if not self.denied[pair]:
                del self.denied[pair]
            self._stale(pair[0])
        for pair in after.keys() - before.keys():
            self.denied.setdefault(pair, {})[source] = None
            self._stale(pair[0])
        self._set_links(f"edges:{source}", self._edge_links(old), self._edge_links(new))

    # ---- asking

    def edges(self, caller: str) -> dict[str, Edge]:
        """All edges of a service, sidecars folded, the most trusted of each pair; in the callees' order."""
        best: dict[str, Claim] = {}
        for raw in (caller, *self.sidecars.get(caller, ())):
            for told, claims in self.out.get(raw, {}).items():
                callee = self.owner.get(told, told)
                if callee == caller:
                    continue
                for claim in claims.values():
                    if self._counts(caller, callee, claim) and (callee not in best or claim > best[callee]):
                        best[callee] = claim
        return {c: Edge(caller, c, best[c].provenance, best[c].trust) for c in sorted(best)}

    def callees(self, caller: str) -> dict[str, Edge]:
        """The edges that may be used to blame: the trusted ones, or all if the caller has no trusted one."""
        if (found := self._usable.get(caller)) is None:
            every = self.edges(caller)
            trusted = {callee: edge for callee, edge in every.items() if edge.trust >= TRUSTED}
            found = self._usable[caller] = trusted or every
        return found

    def callers(self, callee: str) -> list[Edge]:
        """Who uses this service, by usable edges, in the callers' order."""
        keys = sorted({self.owner.get(raw, raw) for raw in self.spoken(callee)})
        return [edge for key in keys if key != callee and (edge := self.callees(key).get(callee))]

    def called_only_by(self, callee: str, group: Container[str]) -> bool:
        """Is every known caller in the group? Stops at the first that is not."""
        for raw in self.spoken(callee):
            key = self.owner.get(raw, raw)
            if key != callee and key not in group and callee in self.callees(key):
                return False
        return True

    def spoken(self, callee: str) -> Iterator[str]:
        """Who is told to call this service, or a sidecar of it; sidecars not folded."""
        for told in (callee, *self.sidecars.get(callee, ())):
            yield from self.into.get(told, ())

    def take_moved(self) -> set[str]:
        """The services whose facts, edges or owners have changed since this was asked last."""
        moved, self._moved = self._moved, set()
        return moved

    # ---- inside

    def _counts(self, caller: str, callee: str, claim: Claim) -> bool:
        if claim.provenance in PERMISSIONS:
            return (caller, callee) not in self.denied
        return claim.provenance != "prepared-query" or callee in self.known

    def _service_links(self, fact: ServiceFact | None) -> Links:
        links: Links = {}
        if fact is None:
            return links
        here, caller = fact.target, service_key(fact.target)
        for up in fact.upstreams:
            if up.name and up.type in ("", "service"):
                links[caller, self._name(_upstream(here, up)), "proxy-upstream"] = PROXY_UPSTREAM
            elif up.name and up.type == "prepared_query":
                links[caller, self._name(_upstream(here, up)), "prepared-query"] = PREPARED_QUERY
        for name in fact.depends_on:
            links[caller, self._name(_upstream(here, Upstream(name=name))), "declared"] = DECLARED
        return links

    def _edge_links(self, fact: EdgesFact | None) -> Links:
        links: Links = {}
        for edge in fact.edges if fact else ():
            if "*" in (edge.source.service, edge.destination.service):
                continue  # a wildcard permits; it says nothing of who calls whom
            at = (self._name(edge.source), self._name(edge.destination), edge.provenance)
            links[at] = max(edge.trust, links.get(at, 0.0))
        return links

    def _denials(self, fact: EdgesFact | None) -> dict[tuple[str, str], None]:
        # A wildcard deny does not take away an exact allow: exact intentions go first in Consul.
        pairs = fact.denied if fact else ()
        return {(service_key(a), service_key(b)): None for a, b in pairs if "*" not in (a.service, b.service)}

    def _name(self, target: Target) -> str:
        key = service_key(target)
        if key not in self.targets:
            self.targets[key] = target.of_service()
        return key

    def _set_owner(self, key: str, old: ServiceFact | None, new: ServiceFact | None) -> None:
        was = destination(old) if old else None
        now = destination(new) if new else None
        if was == now:
            return
        self._stale_callers(key)
        self._stale(key)
        if was is not None:
            del self.owner[key]
            _drop(self.sidecars, service_key(was), key)
            self._stale(service_key(was))
            self._forget(service_key(was))
        if now is not None:
            owner = self.owner[key] = self._name(now)
            self.sidecars.setdefault(owner, {})[key] = None
            self._stale(owner)

    def _set_links(self, origin: str, before: Links, after: Links) -> None:
        for link, trust in after.items():
            if before.get(link) != trust:
                caller, callee, provenance = link
                claims = self.out.setdefault(caller, {}).setdefault(callee, {})
                claims[f"{origin}|{provenance}"] = Claim(trust, provenance)
                self.into.setdefault(callee, {})[caller] = None
                self._stale(caller)
        for link in before.keys() - after.keys():  # last, or a name that is still spoken of would be forgotten
            self._unlink(origin, *link)

    def _unlink(self, origin: str, caller: str, callee: str, provenance: str) -> None:
        claims = self.out[caller][callee]
        del claims[f"{origin}|{provenance}"]
        if not claims:
            del self.out[caller][callee]
            if not self.out[caller]:
                del self.out[caller]
            _drop(self.into, callee, caller)
            self._forget(callee)
            self._forget(caller)
        self._stale(caller)

    def _stale(self, key: str) -> None:
        for caller in (key, self.owner.get(key, key)):
            self._usable.pop(caller, None)
            self._moved.add(caller)

    def _stale_callers(self, key: str) -> None:
        for caller in self.into.get(key, ()):
            self._stale(caller)

    def _forget(self, key: str) -> None:
        """Drop the name of what nobody speaks of any more."""
        if not any(key in place for place in (self.known, self.out, self.into, self.sidecars)):
            self.targets.pop(key, None)


def destination(fact: ServiceFact) -> Target | None:
    """The service a sidecar stands in front of; None for everything that is no sidecar."""
    if not fact.destination or fact.destination == fact.target.service:
        return None
    here = fact.target
    return Target(
        dc=here.dc, partition=here.partition, namespace=here.namespace, peer=here.peer, service=fact.destination
    )


def _upstream(here: Target, up: Upstream) -> Target:
    return Target(
        dc=up.dc or here.dc,
        partition=up.partition or here.partition,
        namespace=up.namespace or here.namespace,
        peer=up.peer or here.peer,
        service=up.name,
    )


def _node_names(fact: ServiceFact | None) -> dict[str, int]:
    """Node key -> the service's instances there; one each where nobody has told how many."""
    if fact is None:
        return {}
    counts = _counted([i.target.node for i in fact.instances or ()])
    alone = fact.count if len(fact.nodes) == 1 else 1
    return {node_key_of(fact.target, name): counts.get(name, alone) for name in fact.nodes}


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def _drop(table: dict[str, dict[str, V]], key: str, member: str) -> None:
    if (members := table.get(key)) is not None:
        members.pop(member, None)
        if not members:
            del table[key]
