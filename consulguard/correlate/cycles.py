"""Strongly connected components, without recursion: a chain of any length is fine."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping


class _Search:
    """R. Tarjan, "Depth-first search and linear graph algorithms" (1972), its call stack made a list."""

    def __init__(self, links: Mapping[str, Collection[str]]) -> None:
        self.links = links
        self.order: dict[str, int] = {}  # when a vertex was first met
        self.low: dict[str, int] = {}  # the earliest vertex it leads back to
        self.open: dict[str, None] = {}  # met, its component not yet complete; in the order met
        self.path: list[tuple[str, Iterator[str]]] = []
        self.found: list[list[str]] = []

    def enter(self, vertex: str) -> None:
        self.order[vertex] = self.low[vertex] = len(self.order)
        self.open[vertex] = None
        self.path.append((vertex, iter([there for there in self.links[vertex] if there in self.links])))

    def leave(self, vertex: str) -> None:
        self.path.pop()
        if self.path:
            above = self.path[-1][0]
            self.low[above] = min(self.low[above], self.low[vertex])
        if self.low[vertex] == self.order[vertex]:
            component: list[str] = []
            while not component or component[-1] != vertex:
                component.append(self.open.popitem()[0])
            self.found.append(sorted(component))

    def run(self) -> list[list[str]]:
        for start in self.links:
            if start not in self.order:
                self.enter(start)
            while self.path:
                here, rest = self.path[-1]
                there = next(rest, None)
                if there is None:
                    self.leave(here)
                elif there not in self.order:
                    self.enter(there)
                elif there in self.open:
                    self.low[here] = min(self.low[here], self.order[there])
        return self.found


def components(links: Mapping[str, Collection[str]]) -> list[list[str]]:
    """The strongly connected components of ``vertex -> what it depends on``, dependencies first, each sorted.

    Ends of links that are no keys themselves are left out.
    """
    return _Search(links).run()
