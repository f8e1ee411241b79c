"""What stays the same between two judgements: sizes, units, callers. Kept beside the graph."""

from __future__ import annotations

from consulguard.correlate.cause.kept import Kept
from consulguard.correlate.graph import Graph


class Layout:
    """Answers about the mesh as it stands at one version of the graph's index."""

    def __init__(self, graph: Graph, kept: Kept) -> None:
        self.graph, self._kept = graph, kept
        self.told = kept.told  # what the facts of a service say
        self.trusts = kept.trusts  # how many callers with prompt checks lean on a service, by their edges' trust
        self.version = graph.index.version
        self.services = max(len(graph.services) - len(graph.index.owner), 1)
        self.nodes = len(graph.nodes) or 1
        self.hosts = len(graph.index.on_node)  # nodes that something runs on
        self._units: dict[str, dict[str, int]] = {}
        self._heard: dict[str, int] = {}

    def units(self, node: str) -> dict[str, int]:
        """Service -> its units on the node."""
        if (found := self._units.get(node)) is None:
            found = self._units[node] = self.graph.units(node)
        return found

    def heard(self, node: str) -> int:
        """How many units there have prompt checks."""
        if (found := self._heard.get(node)) is None:
            found = self._heard[node] = sum(n for s, n in self.units(node).items() if self.told(s).prompt)
        return found

    def named(self, name: str) -> str:
        """The service of this name; empty where there is none, or more than one."""
        return self._kept.named(name)

    def lonely(self, service: str) -> bool:
        """Whether nobody is known to call it, nor it anybody."""
        return not self.graph.callees(service) and not self.graph.callers(service)

    def callers(self, service: str) -> int:
        """How many checked callers lean on it."""
        return sum(self.trusts(service).values())


def layout(graph: Graph) -> Layout:
    """The graph's layout, made anew when something was learned; what is kept is only brought up to date."""
    found: Layout | None = graph.__dict__.get("_layout")
    if found is None or found.version != graph.index.version:
        kept = graph.__dict__.setdefault("_kept", Kept(graph))
        kept.keep_up()
        found = graph.__dict__["_layout"] = Layout(graph, kept)
    return found
