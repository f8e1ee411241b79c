"""Who leans on whom, in numbers, and whom a name means: kept up fact by fact, as the index is.

A popular service has thousands of callers: they are not counted again because something was learned of one.
"""

from __future__ import annotations

from collections.abc import Mapping

from consulguard.correlate.cause.manners import prompt
from consulguard.correlate.graph import Graph
from consulguard.correlate.index import Edge

Edges = dict[str, Edge]


class Leaning:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._counted: dict[str, Edges] = {}  # caller with prompt checks -> its edges, as they were counted
        self._trusts: dict[str, dict[float, int]] = {}
        self._names: dict[str, str] = {}  # service -> its name
        self._named: dict[str, dict[str, None]] = {}  # name -> services of this name

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
            self._count(service)
            self._name(service)

    def _count(self, service: str) -> None:
        self._add(self._counted.pop(service, {}), -1)
        index = self._graph.index
        folded = service in index.owner and service not in index.sidecars  # its edges are its owner's
        if not folded and prompt(self._graph.fact(service)):
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

    def _name(self, service: str) -> None:
        fact = self._graph.fact(service)
        was, now = self._names.pop(service, None), fact.target.service if fact else None
        if now is not None:
            self._names[service] = now
        if was == now:
            return
        if was is not None:
            self._named[was].pop(service)
            if not self._named[was]:
                del self._named[was]
        if now is not None:
            self._named.setdefault(now, {})[service] = None
