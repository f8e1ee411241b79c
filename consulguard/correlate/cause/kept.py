"""What is kept up fact by fact, as the index is: what facts say of a service, who leans on it, whom a name means.

But for the names, each is found out when it is first asked for. A popular service has thousands of callers: they
are not counted again because something was learned of one.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from consulguard.correlate.cause.manners import USUAL, Manner, manner_of
from consulguard.correlate.graph import Graph
from consulguard.correlate.index import Edge
from consulguard.model import ServiceFact

Edges = dict[str, Edge]


class Told(msgspec.Struct, frozen=True, gc=False):
    """What the facts of one service say."""

    size: int = 0  # units; 0 when the catalog does not know it
    checked: bool = False  # a check would tell of its fault; where nobody has read that, we think so
    manner: Manner = USUAL  # how slowly its checks may tell
    prompt: bool = False  # it has checks that tell soon: that it stands says something


_NOTHING = Told()


class Kept:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._told: dict[str, Told] = {}
        self._trusts: dict[str, dict[float, int]] = {}  # of services that were asked for
        self._counted: dict[str, Edges] = {}  # callers of these with prompt checks -> their edges, as counted
        self._names: dict[str, str] = {}
        self._named: dict[str, dict[str, None]] = {}  # name -> services of this name

    def told(self, service: str) -> Told:
        if (found := self._told.get(service)) is None:
            fact = self._graph.fact(service)
            found = self._told[service] = _NOTHING if fact is None else _told(fact)
        return found

    def trusts(self, service: str) -> Mapping[float, int]:
        """How many callers with prompt checks lean on the service, by the trust of their edges."""
        if (found := self._trusts.get(service)) is None:
            found = self._trusts[service] = self._ask(service)
        return found

    def named(self, name: str) -> str:
        """The service of this name; empty where there is none, or more than one."""
        found = self._named.get(name, ())
        return next(iter(found)) if len(found) == 1 else ""

    def keep_up(self) -> None:
        """Take in what the index has learned since the last time."""
        for service in self._graph.index.take_moved():
            self._told.pop(service, None)
            self._name(service)
            if self._graph.fact(service) is None:
                self._trusts.pop(service, None)  # counted anew if it is asked for again
            if self._trusts:
                self._count(service)

    def _ask(self, service: str) -> dict[float, int]:
        index, counts = self._graph.index, dict[float, int]()
        for caller in {key for raw in index.spoken(service) for key in (raw, index.owner.get(raw, raw))}:
            if self._counts(caller) and (edge := index.callees(caller).get(service)):
                self._counted[caller] = index.callees(caller)
                counts[edge.trust] = counts.get(edge.trust, 0) + 1
        return counts

    def _counts(self, caller: str) -> bool:
        index = self._graph.index
        folded = caller in index.owner and caller not in index.sidecars  # its edges are its owner's
        return not folded and self.told(caller).prompt

    def _count(self, caller: str) -> None:
        self._add(self._counted.pop(caller, {}), -1)
        if self._counts(caller):
            edges = self._graph.index.callees(caller)
            if not self._trusts.keys().isdisjoint(edges):
                self._counted[caller] = edges
                self._add(edges, 1)

    def _add(self, edges: Edges, more: int) -> None:
        for callee, edge in edges.items():
            if (counts := self._trusts.get(callee)) is not None:
                counts[edge.trust] = counts.get(edge.trust, 0) + more
                if not counts[edge.trust]:
                    del counts[edge.trust]

    def _name(self, service: str) -> None:
        fact = self._graph.fact(service)
        if was := self._names.pop(service, ""):
            del self._named[was][service]
            if not self._named[was]:
                del self._named[was]
        if fact is not None:
            name = self._names[service] = fact.target.service
            self._named.setdefault(name, {})[service] = None


def _told(fact: ServiceFact) -> Told:
    read, manner = fact.instances, manner_of(fact)
    checked = read is None or any(instance.checks for instance in read)
    size = max(fact.count, len(read or ()))
    return Told(size, checked, manner, prompt=checked and not manner.slow)
