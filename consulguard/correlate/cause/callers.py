"""How well a cause explains what fails and what does not: a noisy-OR over the tree of its callers.

For sources R (services taken to be broken) the log ratio of the evidence with and without them is

    sum over r of  edges(r),   edges(v) = log sum_b w_b prod_c [1 - t b + t b order(c, v) exp(seen(c) + edges(c))]

over the callers c of v, t being the trust of the edge and b how strongly callers lean on v (one unknown for all
callers of v, with weights w). ``seen`` is what the caller's own checks say. Each caller hangs on the nearest
parent only (a shortest-path tree), so nothing is counted twice; where several are equally near, each gets an equal
part of its log. After S. Kandula et al., "Shrink" (2005), and P. Bahl et al., "Sherlock" (2007): noisy-OR over
shared risks, few causes at a time.

Services are numbered, and what no hypothesis changes (who calls whom, in which order they failed, what their
checks say) is looked up once: a hypothesis costs its tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, log, log1p
from typing import NamedTuple

from consulguard.correlate.cause.checks import Checks
from consulguard.correlate.cause.scene import Scene

_TO_FAILING, _TO_STANDING, _TOO_EARLY = 3, 8, 5  # costs of a step in the tree
_FAR = 45  # cost
_MANY = 400  # services in one tree
_LEAST = 0.3  # a caller that failed well before what it leans on is not ruled out
_SCALE_S = 11.0
_HIGH = 300.0  # log


class _Step(NamedTuple):
    """To a caller."""

    caller: int
    trust: float
    cost: int
    order: float


@dataclass(slots=True)
class Tree:
    order: list[int] = field(default_factory=list)  # parents before their callers
    kids: dict[int, list[_Step]] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)  # how many explain it equally well
    edges: dict[int, float] = field(default_factory=dict)


class Callers:
    """The services a judgement is about, by number, and who of them calls whom."""

    def __init__(self, scene: Scene, checks: Checks) -> None:
        self.scene, self.w, self.checks = scene, scene.w, checks
        self.names = list(scene.depth)
        self.number = {name: n for n, name in enumerate(self.names)}
        self._steps: list[list[_Step] | None] = [None] * len(self.names)
        self._deps: list[float | None] = [None] * len(self.names)
        self._still: dict[tuple[int, float], list[float]] = {}

    def steps(self, n: int) -> list[_Step]:
        if (found := self._steps[n]) is None:
            since = self.scene.since(self.names[n])
            found = self._steps[n] = [self._step(c, trust, since) for c, trust in self.scene.told(self.names[n])]
        return found

    def _step(self, caller: str, trust: float, since: float) -> _Step:
        began = self.scene.onset.get(caller)
        if began is None:
            return _Step(self.number[caller], trust, _TO_STANDING, 1.0)
        early = (began - since + self.w.early_s) / _SCALE_S
        order = max(_LEAST, 1 / (1 + exp(-early))) if early > -30 else _LEAST
        return _Step(self.number[caller], trust, _TO_FAILING + _TOO_EARLY * (early < 0), order)

    def deps(self, n: int) -> float:
        """What its checks say if something it needs is broken."""
        if (found := self._deps[n]) is None:
            found = self._deps[n] = self.checks.seen(self.names[n], False)
        return found

    # ---- the tree

    def grow(self, sources: list[int]) -> Tree:
        """Level by level, a level being what costs the same."""
        tree, cost = Tree(), dict.fromkeys(sources, 0)
        levels: dict[int, list[tuple[_Step, int]]] = {}
        self._settle(tree, sources, 0, levels, cost)
        for level in range(1, _FAR + 1):
            fresh = []
            for step, parent in levels.pop(level, ()):
                caller = step.caller
                if caller not in cost:
                    cost[caller] = level
                    fresh.append(caller)
                    tree.parents[caller] = 0
                if cost[caller] == level:
                    tree.kids.setdefault(parent, []).append(step)
                    tree.parents[caller] += 1
            self._settle(tree, fresh, level, levels, cost)
            if not levels:
                break
        return tree

    def _settle(
        self, tree: Tree, fresh: list[int], level: int, levels: dict[int, list[tuple[_Step, int]]], cost: dict[int, int]
    ) -> None:
        tree.order += fresh
        if len(tree.order) >= _MANY:
            return
        for n in fresh:
            for step in self.steps(n):
                if step.caller not in cost:
                    levels.setdefault(level + step.cost, []).append((step, n))

    def explain(self, sources: Mapping[str, float]) -> Tree:
        """The tree of these sources with ``edges`` filled in; for each, the part of its units that is gone."""
        parts = {self.number[s]: part for s, part in sources.items()}
        tree = self.grow(list(parts))
        for n in reversed(tree.order):
            part = parts.get(n, 1.0)
            tree.edges[n] = self._edges(tree, n, 1.0) if part == 1.0 else self._maimed(tree, n, part)
        return tree

    # ---- what the callers say

    def _maimed(self, tree: Tree, n: int, part: float) -> float:
        """Of a service that has lost this part of its units: it fails as a whole, or as far as they are gone."""
        whole, some = self._edges(tree, n, 1.0), self._edges(tree, n, self.w.maimed * part)
        fails = self.w.fells * part
        return _sum([log(fails) + whole, log1p(-fails) + some])

    def _edges(self, tree: Tree, n: int, part: float) -> float:
        found = self._stands(n, part)
        if kids := tree.kids.get(n):
            found = list(found)
            leans = [lean * part for lean, _ in self.w.leans]
            for caller, trust, _, order in kids:
                gain = order * exp(min(self.deps(caller) + tree.edges[caller], _HIGH)) - 1
                of = tree.parents[caller]
                for k, lean in enumerate(leans):
                    found[k] += log1p(trust * lean * gain) / of
        return _sum(found)

    def _stands(self, n: int, part: float) -> list[float]:
        """What its callers that stand say, for each way to lean on it; the ways' own weights included."""
        key = (n, part)
        if (found := self._still.get(key)) is None:
            w, service = self.w, self.names[n]
            loud = w.sees_deps * (1 - self.checks.quiet(self.scene.now - self.scene.since(service) - 10.0))
            calm = [(trust, k) for trust, k in self.scene.calm(service).items() if k]
            found = self._still[key] = [
                log(weight) + sum([k * log1p(-trust * lean * part * loud) for trust, k in calm])
                for lean, weight in w.leans
            ]
        return found


def _sum(logs: list[float]) -> float:
    """The log of the sum of what these are the logs of."""
    high = max(logs)
    return high + log(sum([exp(x - high) for x in logs]))
