"""What is kept up fact by fact, as the index is: what facts say of a service, who leans on it, whom a name means.

A popular service has thousands of callers: they are not counted again because something was learned of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from consulguard.correlate.cause.manners import USUAL, Manner, manner_of
from consulguard.correlate.graph import Graph
from consulguard.correlate.index import Edge
from consulguard.model import ServiceFact

Edges = dict[str, Edge]


class Told(NamedTuple):
    """What the facts of one service say."""

    name: str = ""
    size: int = 0  # units; 0 when the catalog does not know it
    checked: bool = False  # a check would tell of its fault; where nobody has read that, we think so
    manner: Manner = USUAL  # how slowly its checks may tell
    prompt: bool = False  # it has checks that tell soon: that it stands says something


_NOTHING = Told()


class Kept:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._told: dict[str, Told] = {}
        self._counted: dict[str, Edges] = {}  # caller with prompt checks -> its edges, as they were counted
        self._trusts: dict[str, dict[float, int]] = {}
        self._named: dict[str, dict[str, None]] = {}  # name -> services of this name

    def told(self, service: str) -> Told:
        return self._told.get(service, _NOTHING)

    def trusts(self, service: str) -> Mapping[float, int]:
        """How many callers with prompt checks lean on the service, by the trust of their edges."""
        return self._trusts.get(service, {})

    def named(self, name: str) -> str:
        """The service of this name; empty where there is none, or more than one."""
        found = self._named.get(name, ())
        return next(iter(found)) if len(found) == 1 else ""

    def keep_up(self) -> None:
        """Take in what the index has learned since the last time."""
        for service in self._graph.index.take_moved():
            was, fact = self._told.pop(service, None), self._graph.fact(service)
            if fact is not None:
                self._told[service] = _told(fact)
            self._name(service, was)
            self._count(service)

    def _count(self, service: str) -> None:
        self._add(self._counted.pop(service, {}), -1)
        index = self._graph.index
        folded = service in index.owner and service not in index.sidecars  # its edges are its owner's
        if not folded and self.told(service).prompt:
            edges = self._counted[service] = index.callees(service)
            self._add(edges, 1)

    def _add(self, edges: Edges, more: int) -> None:
        for callee, edge in edges.items():
            counts = self._trusts.setdefault(callee, {})
            counts[edge.trust] = counts.get(edge.trust, 0) + more
            if not counts[edge.trust]:
                del counts[edge.trust]
                if not counts:
                    del self._trusts[callee]

    def _name(self, service: str, was: Told | None) -> None:
        if was is not None:
            del self._named[was.name][service]
            if not self._named[was.name]:
                del self._named[was.name]
        if service in self._told:
            self._named.setdefault(self._told[service].name, {})[service] = None


def _told(fact: ServiceFact) -> Told:
    read, manner = fact.instances, manner_of(fact)
    checked = read is None or any(instance.checks for instance in read)
    size = max(fact.count, len(read or ()))
    return Told(fact.target.service, size, checked, manner, prompt=checked and not manner.slow)
