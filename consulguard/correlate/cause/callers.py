"""How well a cause explains what fails and what does not: a noisy-OR over the tree of its callers.

For sources R (services taken to be broken) the log ratio of the evidence with and without them is

    sum over r of  edges(r),   edges(v) = sum over c of log [1 - t b + t b order(c, v) exp(seen(c) + edges(c))]

over the callers c of v, t being the trust of the edge and b the chance that a caller fails with what it calls.
``seen`` is what the caller's own checks say. Each caller hangs on one parent only, so nothing is counted twice: of
those that the sources break before it, on the one that explains it best; where several explain it as well, each
gets an equal part of its log. After S. Kandula et al., "Shrink" (2005), and P. Bahl et al., "Sherlock" (2007):
noisy-OR over shared risks, few causes at a time.

Services are numbered, and what no hypothesis changes (who calls whom, in which order they failed, what their
checks say) is looked up once: a hypothesis costs its tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, isnan, log, log1p, nan
from typing import Any

import msgspec

from consulguard.correlate.cause.checks import Checks
from consulguard.correlate.cause.scene import Scene
from consulguard.correlate.cause.trail import either

_TO_FAILING, _TO_STANDING, _TOO_EARLY = 3, 8, 5  # costs of a step in the tree
_FAR = 45  # cost
MANY = 400  # services in one tree
_LEAST = 0.3  # a caller that failed well before what it leans on is not ruled out
_SCALE_S = 11.0
_HIGH = 300.0  # log
_LOOKS_WELL = 0.5  # how far what looks well is taken to explain a caller, beside what fails
_EVEN = 1e-9


class _Step(msgspec.Struct, eq=False, gc=False):
    """From a service to one of its callers."""

    service: int
    caller: int
    trust: float
    cost: int
    order: float
    worth: float  # how well it explains the caller, beside other steps to it


class Said(msgspec.Struct, eq=False, gc=False):
    """What is above a service says of it. The same callers say the same: trees share these."""

    edges: float  # if it is broken
    alone: float  # with it, if nothing it needs is broken
    falls: float  # how much likelier what it shows, and those above it, is if something it needs is broken


_Above = Sequence[tuple[_Step, Said, int]]  # what each caller says, and how many explain it equally well


@dataclass(slots=True)
class Tree:
    parts: dict[int, float]  # of the sources' units that are gone
    order: list[int] = field(default_factory=list)  # parents before their callers
    hangs: dict[int, list[_Step]] = field(default_factory=dict)  # by caller, the steps to it that explain it best
    above: dict[int, list[tuple[_Step, Said, int]]] = field(default_factory=dict)
    said: dict[int, Said] = field(default_factory=dict)

    def edges(self, n: int) -> float:
        """What the callers of a source say."""
        return self.said[n].edges

    def touches(self) -> int:
        """The services in it, as bits."""
        bits = 0
        for n in self.order:
            bits |= 1 << n
        return bits


class Callers:
    """The services a judgement is about, by number, and who of them calls whom."""

    def __init__(self, scene: Scene, checks: Checks) -> None:
        self.scene, self.w, self.checks = scene, scene.w, checks
        self.names = list(scene.depth)
        self.number = {name: n for n, name in enumerate(self.names)}
        self.failing = len(scene.onset)  # the first of the names
        self.above: list[list[int]] = [[] for _ in self.names]  # callers above which something fails, or that fail
        self._trusts: list[list[float]] = [[] for _ in self.names]  # of the edges from these callers
        self._firmest = [0.0] * len(self.names)  # trust of each one's calls to others
        self._link()
        self._steps: list[dict[int, list[_Step]] | None] = [None] * len(self.names)
        self.deps = [nan] * len(self.names)  # what is seen of each, if something it needs is broken; see ``look``
        self.own = [nan] * len(self.names)  # ... if it is at fault itself
        self.noise = self._noise()
        self.further = self.w.second - self.noise  # log prior of one more fault
        self._leaning: dict[int, float] = {}
        self._made: dict[tuple[Any, ...], Said] = {}
        self._still: dict[int, list[tuple[float, int]]] = {}
        self._standing: dict[tuple[int, float], float] = {}

    def _link(self) -> None:
        number, above, trusts = self.number, self.above, self._trusts
        for n, name in enumerate(self.names):
            for callee, edge in self.scene.graph.callees(name).items():
                if (there := number.get(callee)) is not None:
                    above[there].append(n)
                    trusts[there].append(edge.trust)
                    if edge.trust > self._firmest[n]:
                        self._firmest[n] = edge.trust

    def below(self, n: int) -> list[int]:
        """Whom the service calls."""
        callees = self.scene.graph.callees(self.names[n])
        return [self.number[callee] for callee in callees if callee in self.number]

    def _noise(self) -> float:
        """How much less likely each fault is for what has come and gone by itself lately; log."""
        return self.w.noisy * log1p(self.scene.gone / self.w.gone)

    def look(self, n: int) -> float:
        """What is seen of the service if it is at fault itself: looked up once, for most are never asked for."""
        if isnan(self.own[n]):
            self.deps[n], own = self.checks.seen(self.names[n])
            self.own[n] = own + self.w.changed * self.scene.changed(self.names[n])
        return self.own[n]

    def _steps_of(self, n: int) -> dict[int, list[_Step]]:
        """To its callers, by what they cost."""
        found: dict[int, list[_Step]] = {}
        since = self.scene.since(self.names[n])
        for caller, trust in zip(self.above[n], self._trusts[n], strict=True):
            step = self._step(n, caller, trust, since)
            found.setdefault(step.cost, []).append(step)
        return found

    def _step(self, service: int, caller: int, trust: float, since: float) -> _Step:
        self.look(caller)
        cost, order = _TO_STANDING, 1.0
        if caller < self.failing:
            early = (self.scene.onset[self.names[caller]] - since + self.w.early_s) / _SCALE_S
            order = max(_LEAST, 1 / (1 + exp(-early))) if early > -30 else _LEAST
            cost = _TO_FAILING + _TOO_EARLY * (early < 0)
        worth = trust * order * (1.0 if service < self.failing else _LOOKS_WELL)
        return _Step(service, caller, trust, cost, order, worth)

    def can_say(self, bits: int, least: float, most: Callable[[int], float]) -> bool:
        """Whether these services, as bits, would say as much, each of them as much as it can."""
        while bits and least > 0:
            high = bits.bit_length() - 1
            least -= most(high)
            bits ^= 1 << high
        return least <= 0

    def certain(self, n: int) -> float:
        """What a failing service says if it is explained for certain."""
        own = self.look(n) + self.further
        return max(self.deps[n], own, 0.0)

    def leaning(self, n: int) -> float:
        """What a failing service adds to a tree at most, leaning on what it calls as strongly as any."""
        if (found := self._leaning.get(n)) is None:
            alone = 1 + exp(min(self.look(n) + self.further, _HIGH))
            leans = self._firmest[n] * self.w.leans
            found = self._leaning[n] = log(max(alone, (1 - leans) * alone + leans * exp(min(self.deps[n], _HIGH))))
        return found

    # ---- the tree

    def grow(self, parts: dict[int, float]) -> Tree:
        """Level by level, a level being what costs the same."""
        tree, cost = Tree(parts), dict.fromkeys(parts, 0)
        hangs = tree.hangs
        best: dict[int, float] = {}
        levels: dict[int, list[_Step]] = {}
        self._settle(tree, list(parts), 0, levels)
        while levels and (level := min(levels)) <= _FAR:
            fresh = []
            for step in levels.pop(level):
                caller = step.caller
                worth = step.trust * step.order if step.service in parts else step.worth
                if caller not in cost:
                    cost[caller] = level
                    fresh.append(caller)
                elif cost[caller] <= level - step.cost or worth < best[caller] - _EVEN:
                    continue  # it is nearer to the sources than its parent, or is explained better
                elif worth <= best[caller] + _EVEN:
                    hangs[caller].append(step)
                    continue
                best[caller] = worth
                hangs[caller] = [step]
            self._settle(tree, fresh, level, levels)
        return tree

    def _settle(self, tree: Tree, fresh: list[int], level: int, levels: dict[int, list[_Step]]) -> None:
        tree.order += fresh
        if len(tree.order) >= MANY:
            return
        for n in fresh:
            if (steps := self._steps[n]) is None:
                steps = self._steps[n] = self._steps_of(n)
            for cost, some in steps.items():
                at = level + cost
                if at in levels:
                    levels[at] += some
                else:
                    levels[at] = some.copy()

    def explain(self, sources: Mapping[str, float]) -> Tree:
        """The tree of these sources with ``edges`` filled in; for each, the part of its units that is gone."""
        parts = {self.number[s]: part for s, part in sources.items()}
        for n in parts:
            self.look(n)
        tree = self.grow(parts)
        self._fill(tree)
        return tree

    def partly(self, tree: Tree, n: int, share: float) -> float:
        """What the callers of a source say if only this share of its units is broken."""
        return self._edges(n, self.w.maimed * share, tree.above.get(n, ()))

    # ---- what the callers say

    def _fill(self, tree: Tree) -> None:
        hangs, said, above = tree.hangs, tree.said, tree.above
        sources = len(tree.parts)
        for n in reversed(tree.order[sources:]):
            found = said[n] = self._said(n, 1.0, above.get(n, ()))
            of = len(hangs[n])
            for step in hangs[n]:
                if step.service in above:
                    above[step.service].append((step, found, of))
                else:
                    above[step.service] = [(step, found, of)]
        for n, part in tree.parts.items():
            said[n] = self._said(n, part, above.get(n, ()))

    def _said(self, n: int, part: float, above: _Above) -> Said:
        key = (n, part, *above)
        if (found := self._made.get(key)) is None:
            found = self._made[key] = self._say(n, part, above)
        return found

    def _say(self, n: int, part: float, above: _Above) -> Said:
        edges = self._edges(n, 1.0, above)
        if part < 1.0:
            edges = self._maimed(edges, self._edges(n, self.w.maimed * part, above), part)
        well = sum([said.alone / of for _, said, of in above])
        # if nothing it needs is broken, it is at fault itself, or all are well
        alone = either(self.further + self.own[n] + edges, well)
        told = self.deps[n] + edges - alone
        return Said(edges, alone, exp(told if told < _HIGH else _HIGH))

    def _maimed(self, whole: float, some: float, part: float) -> float:
        """Of a service that has lost this part of its units: it fails as a whole, or as far as they are gone."""
        fails = self.w.fells * part
        return either(log(fails) + whole, log1p(-fails) + some)

    def _edges(self, n: int, part: float, above: _Above) -> float:
        """What its callers say."""
        leans = self.w.leans * part
        if (found := self._standing.get((n, part))) is None:
            found = self._standing[n, part] = self._stands(n, leans)
        for step, said, of in above:
            found += (said.alone + log1p(leans * step.trust * (step.order * said.falls - 1))) / of
        return found

    def besides(self, tree: Tree) -> dict[int, float]:
        """The chance of each service above the sources that it is at fault as well, if these are."""
        broken, found = dict(tree.parts), {}
        for n in tree.order:
            if n in tree.parts:
                continue
            said, hangs, suffers = tree.said[n], tree.hangs[n], 0.0
            for step in hangs:
                leans = step.trust * self.w.leans
                falls = leans * step.order * said.falls
                suffers = min(suffers + broken[step.service] * falls / (falls + 1 - leans) / len(hangs), 1.0)
            fault = exp(min(self.further + self.own[n] + said.edges - said.alone, 0.0))
            found[n] = (1 - suffers) * fault
            broken[n] = suffers + found[n]
        return found

    def _stands(self, n: int, leans: float) -> float:
        """What its callers that stand say."""
        if (calm := self._still.get(n)) is None:
            calm = self._still[n] = self._calm(n)
        return sum([callers * log1p(-leans * trust) for trust, callers in calm])

    def _calm(self, n: int) -> list[tuple[float, int]]:
        """How many callers stand and have nothing failing above, by how surely each would show it if it leaned on
        what is broken for certain.
        """
        layout, names = self.scene.layout, self.names
        if not (trusts := layout.trusts(names[n])):
            return []
        calm, told = dict(trusts), layout.told
        for caller, trust in zip(self.above[n], self._trusts[n], strict=True):
            if told(names[caller]).prompt:
                calm[trust] -= 1
        if not any(calm.values()):
            return []
        loud = self.w.sees_deps * (1 - self.checks.quiet(self.scene.now - self.scene.since(names[n]) - 10.0))
        return [(trust * loud, callers) for trust, callers in sorted(calm.items()) if callers]
