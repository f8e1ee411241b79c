"""What stays the same between two judgements, looked up once: sizes, units, callers. Kept beside the graph."""

from __future__ import annotations

from collections.abc import Mapping

from consulguard.correlate.cause.leaning import Leaning
from consulguard.correlate.cause.manners import Manner, checked, manner_of, prompt
from consulguard.correlate.graph import Graph


class Layout:
    """Answers about the mesh as it stands at one version of the graph's index."""

    def __init__(self, graph: Graph, leaning: Leaning) -> None:
        self.graph, self._leaning = graph, leaning
        self.version = graph.index.version
        self.services = max(len(graph.services) - len(graph.index.owner), 1)
        self.nodes = len(graph.nodes) or 1
        self.hosts = len(graph.index.on_node)  # nodes that something runs on
        self._units: dict[str, dict[str, int]] = {}
        self._heard: dict[str, int] = {}
        self._size: dict[str, int] = {}
        self._checked: dict[str, bool] = {}
        self._prompt: dict[str, bool] = {}
        self._manner: dict[str, Manner] = {}

    def units(self, node: str) -> dict[str, int]:
        """Service -> its units on the node."""
        if (found := self._units.get(node)) is None:
            found = self._units[node] = self.graph.units(node)
        return found

    def heard(self, node: str) -> int:
        """How many units there have prompt checks."""
        if (found := self._heard.get(node)) is None:
            found = self._heard[node] = sum(n for s, n in self.units(node).items() if self.prompt(s))
        return found

    def size(self, service: str) -> int:
        """Units of a service; 0 when the catalog does not know it."""
        if (found := self._size.get(service)) is None:
            fact = self.graph.fact(service)
            found = self._size[service] = max(fact.count, len(fact.instances or ())) if fact else 0
        return found

    def checked(self, service: str) -> bool:
        """Whether a check would tell of the service's fault."""
        if (found := self._checked.get(service)) is None:
            found = self._checked[service] = checked(self.graph.fact(service))
        return found

    def manner(self, service: str) -> Manner:
        """How slowly its checks may tell of a fault."""
        if (found := self._manner.get(service)) is None:
            found = self._manner[service] = manner_of(self.graph.fact(service))
        return found

    def prompt(self, service: str) -> bool:
        """Whether it has checks that tell soon: that it stands says something."""
        if (found := self._prompt.get(service)) is None:
            found = self._prompt[service] = prompt(self.graph.fact(service))
        return found

    def named(self, name: str) -> str:
        """The service of this name; empty where there is none, or more than one."""
        return self._leaning.named(name)

    def lonely(self, service: str) -> bool:
        """Whether nobody is known to call it, nor it anybody."""
        return not self.graph.callees(service) and not self.graph.callers(service)

    def callers(self, service: str) -> int:
        """How many checked callers lean on it."""
        return sum(self.trusts(service).values())

    def trusts(self, service: str) -> Mapping[float, int]:
        """How many callers with prompt checks lean on the service, by the trust of their edges."""
        return self._leaning.trusts(service)


def layout(graph: Graph) -> Layout:
    """The graph's layout, made anew when something was learned; who leans on whom is only brought up to date."""
    found: Layout | None = graph.__dict__.get("_layout")
    if found is None or found.version != graph.index.version:
        leaning = graph.__dict__.setdefault("_leaning", Leaning(graph))
        leaning.keep_up()
        found = graph.__dict__["_layout"] = Layout(graph, leaning)
    return found
