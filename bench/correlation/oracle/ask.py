"""Every fault the bench could have drawn, weighed: how often it draws it, times how well it fits what is seen."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from math import exp, inf, log
from typing import NamedTuple

from bench.correlation.faults import AROUND, DEAD, KINDS, PARTIAL, ZONE_HIT
from bench.correlation.oracle.belief import UNCHECKED, Belief, shown, told, unrated
from bench.correlation.oracle.chances import shows
from bench.correlation.oracle.evidence import Evidence
from bench.correlation.oracle.looks import BIN_S
from bench.correlation.oracle.rates import Span
from bench.correlation.oracle.spread import Drawn, Source, Spread
from bench.correlation.simulate import Case
from bench.correlation.state import Ranking

_FEW, _MANY = 4, 40  # draws for each span of ages: of all faults, of those that then may be the best
_FAR = 6.0  # log: what is that much worse is not drawn again
_LATER = range(7)  # steps between two faults
_MOST = 20
LARGEST = 100  # services of a mesh for which it can be waited
_DOUBT = 0.5
_KIND = log(1 / len(KINDS))


class Guess(NamedTuple):
    """A fault, or two."""

    roots: tuple[str, ...]
    hidden: tuple[bool, ...] = ()


def oracle(case: Case) -> Ranking:
    """Told the truth of the mesh."""
    assert case.world is not None
    return _ranked(case, told(case.world))


def onlooker(case: Case) -> Ranking:
    """Told what is shown."""
    return _ranked(case, shown(case.topology))


def outsider(case: Case) -> Ranking:
    """Told what is shown, and not the rates that no look at a mesh tells."""
    return _ranked(case, unrated(case.topology))


def _ranked(case: Case, belief: Belief) -> Ranking:
    evidence = Evidence(case, belief)
    if evidence.heard.serf:
        return _dead(evidence)
    asked = Asked(evidence, random.Random(case.name))
    logs = asked.all()
    nobody = _KIND + log(evidence.nothing())
    best = max([nobody, *logs.values()])
    total = exp(nobody - best) + sum(exp(x - best) for x in logs.values())
    if exp(nobody - best) / total > _DOUBT:
        return []
    chances: dict[str, float] = {}
    for guess, x in logs.items():
        for root in guess.roots:
            chances[root] = chances.get(root, 0.0) + exp(x - best) / total
    order = sorted(chances.items(), key=lambda x: (-x[1], x[0]))
    return order[:_MOST]


def _dead(evidence: Evidence) -> Ranking:
    """Only what is dead fails its node check: one is a node, or the only one of a zone that was hit."""
    zones, often = evidence.belief.topology["zones"], evidence.belief.told.often
    dead = sorted(evidence.heard.serf)
    zone = zones[dead[0]]
    there = sum(z == zone for z in zones.values())
    node, place = (1 / len(zones), 1 / len(set(zones.values()))) if often is None else often.places()
    of_zone = place * ZONE_HIT ** len(dead) * (1 - ZONE_HIT) ** (there - len(dead))
    of_node = node if len(dead) == 1 else 0.0
    share = of_node / (of_node + of_zone)
    return sorted([(f"node:{dead[0]}", share), (f"zone:{zone}", 1 - share)], key=lambda x: -x[1])


class Asked:
    def __init__(self, evidence: Evidence, dice: random.Random) -> None:
        self.evidence, self.dice, self.belief = evidence, dice, evidence.belief
        self.rates = self.belief.told
        self.spread = Spread(evidence, dice)
        self.told: dict[Guess, dict[Span, list[float]]] = {}  # by age: logs of how well each draw fits
        self.sure: set[Guess] = set()
        self.shows = shows(self.belief)
        called = self.belief.called
        self.checked = [s for s in self.belief.units if self.belief.kits[s] != UNCHECKED]
        self.some = sum(called.values())
        self.both = sum(called[s] for s in self.checked)

    def all(self) -> dict[Guess, float]:
        """Log of how likely each is, with what is seen, to nothing but noise."""
        for guess in [*self._services(), *self._places()]:
            self._ask(guess, self.rates.ages, _FEW)
        self._again()
        singles = {guess: self._log(guess) for guess in self.told}
        for guess in list(self._pairs(singles)):
            self._ask(guess, self._ages(Guess(guess.roots[:1], guess.hidden[:1])), _FEW)
        self._again()
        return {guess: x for guess in self.told if (x := self._log(guess)) > -inf}

    def _ask(self, guess: Guess, spans: Sequence[Span], draws: int) -> None:
        told = self.told.setdefault(guess, {span: [] for span in self.rates.ages})
        for span in spans:
            told[span] += [self._one(guess, span[n * len(span) // draws]) for n in range(draws)]

    def _again(self) -> None:
        logs = {guess: self._log(guess) for guess in self.told}
        best = max([_KIND, *logs.values()])
        for guess, x in logs.items():
            if x > best - _FAR and guess not in self.sure:
                self.sure.add(guess)
                self._ask(guess, self._ages(guess), _MANY)

    def _ages(self, guess: Guess) -> list[Span]:
        """Those that are worth a thought."""
        means = {span: _mean(told) for span, told in self.told[guess].items()}
        best = max(means.values())
        return [span for span, x in means.items() if x > max(best - _FAR, -1e300)]

    def _log(self, guess: Guess) -> float:
        return _mean([_mean(told) for told in self.told[guess].values()]) + self._prior(guess)

    # ---- what may be at fault

    def _services(self) -> Iterator[Guess]:
        for service in sorted(self.spread.near):
            if self.evidence.fails(service):
                yield Guess((service,), (False,))
            if any(self.evidence.fails(c) for c in self.belief.callers.get(service, ())):
                yield Guess((service,), (True,))

    def _places(self) -> Iterator[Guess]:
        nodes = {self.belief.topology["nodes"][u] for u in self.evidence.failing}
        yield from (Guess((f"node:{n}",)) for n in sorted(nodes) if len(self.belief.hosted[n]) > 1)
        zones = {self.belief.topology["zones"][n] for n in nodes}
        yield from (Guess((f"zone:{z}",)) for z in sorted(zones))

    def _pairs(self, logs: dict[Guess, float]) -> Iterator[Guess]:
        order = sorted((g for g in logs if g.hidden and logs[g] > -inf), key=lambda g: (-logs[g], g))
        seen = [g for g in order if not g.hidden[0]]
        for first in seen[:8]:
            for second in [*seen[:12], *[g for g in order[:12] if g.hidden[0]]]:
                if first.roots != second.roots and (second.hidden[0] or first.roots < second.roots):
                    yield Guess(first.roots + second.roots, first.hidden + second.hidden)

    # ---- how likely each is

    def _prior(self, guess: Guess) -> float:
        if self.rates.often is not None:
            return _KIND + self.rates.often.log_of(guess.roots[0], guess.hidden)
        zones = self.belief.topology["zones"]
        root = guess.roots[0]
        if root.startswith("node:"):
            often = 1 / sum(len(there) > 1 for there in self.belief.hosted.values()) * self.shows.node
        elif root.startswith("zone:"):
            often = 1 / len(set(zones.values())) * self.shows.zone
        elif len(guess.roots) == 1:
            often = self._picked(root, guess.hidden[0]) * (1.0 if guess.hidden[0] else self.shows.service)
        else:
            often = self._picked(root, False) * self._picked(guess.roots[1], guess.hidden[1])
            often *= (0.2 if guess.hidden[1] else 1.6) * self.shows.double
        return _KIND + log(often)

    def _picked(self, service: str, hidden: bool) -> float:
        if hidden:
            return self.belief.called[service] / self.some
        return 0.75 * self.belief.called[service] / max(self.both, 1) + 0.25 / len(self.checked)

    def _one(self, guess: Guess, age: int) -> float:
        """Log of how well one draw of it fits what is seen."""
        if not guess.hidden:
            sources, weight = self._place(guess.roots[0], age)
            return weight + self.spread.draw(sources).weight if weight > -inf else -inf
        sources, weight = [], 0.0
        both = list(zip(guess.roots, guess.hidden, strict=True))
        if not any(guess.hidden) and self.dice.random() < 0.5:
            both.reverse()  # which of two was first
        for n, (root, hidden) in enumerate(both):
            source, more = self._service(root, _LATER if n else (0,), age, hidden)
            sources.append(source)
            weight += more
        if weight == -inf:
            return -inf
        drawn = self.spread.draw(sources)
        for root, hidden in zip(guess.roots, guess.hidden, strict=True):
            if hidden:
                weight += self._told_of(root, drawn, age, alone=len(guess.roots) == 1)
        return weight + drawn.weight

    def _service(self, root: str, later: Sequence[int], age: int, hidden: bool) -> tuple[Source, float]:
        """Since when, how much of it; and the log of how well its own checks fit that."""
        units = len(self.belief.units[root])
        if hidden:
            share = 1 / units if self.dice.random() < PARTIAL else 1.0
            return (root, age - self.dice.choice(later), share), 0.0
        ways = [
            (age - k, share, told / len(later))
            for k in later
            for share, told in zip((1.0, 1 / units), self.evidence.root(root, age - k), strict=True)
        ]
        total = sum(told for _, _, told in ways)
        if not total:
            return (root, age, 1.0), -inf
        since, share, _ = self.dice.choices(ways, [told for _, _, told in ways])[0]
        return (root, since, share), log(total)

    def _told_of(self, root: str, drawn: Drawn, age: int, alone: bool) -> float:
        """Log: of a hidden root some callers have to fail; how much the oftener it is drawn for that."""
        callers = [*self.belief.callers.get(root, ()), *(c for c, callee in drawn.strangers if callee == root)]
        fails = sum(
            c in drawn.ill and any(self.evidence.failing.get(u, inf) <= age * BIN_S for u in self.belief.units[c])
            for c in callers
        )
        if not fails:
            return -inf
        if not alone:
            return 0.0
        return log(self.shows.hidden_two if fails >= 2 else self.shows.hidden)

    def _place(self, place: str, age: int) -> tuple[Sequence[Source], float]:
        kind, _, name = place.partition(":")
        zones = self.belief.topology["zones"]
        nodes = [name] if kind == "node" else sorted(n for n, z in zones.items() if z == name)
        here: dict[str, int] = {}
        weight = log(1 - DEAD)  # the dead ones are known
        for node in nodes:
            fits = sum(log(self.evidence.sick(u, max(age - 1, 0))) for u in self.belief.hosted.get(node, ()))
            if kind == "zone":
                both = ZONE_HIT * exp(min(fits, 300.0)) + 1 - ZONE_HIT
                weight += log(both)
                if self.dice.random() >= ZONE_HIT * exp(min(fits, 300.0)) / both:
                    continue
            else:
                weight += fits
            for unit in self.belief.hosted.get(node, ()):
                service = self.belief.topology["instances"][unit]
                here[service] = here.get(service, 0) + 1
        sources = []
        for service, count in sorted(here.items()):
            share = count / len(self.belief.units[service])
            sources.append((service, age, share if share == 1 else AROUND * share))
        return sources, weight


def _sum(logs: Sequence[float]) -> float:
    best = max(logs, default=-inf)
    return best + log(sum(exp(x - best) for x in logs)) if best > -inf else -inf


def _mean(logs: Sequence[float]) -> float:
    return _sum(logs) - log(max(len(logs), 1))
