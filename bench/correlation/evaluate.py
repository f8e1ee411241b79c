"""How good a ranking is, and whether a rule is better than another beyond chance.

AC@k of a case: the share of its roots among the first k answers, of at most k. Avg@5: the mean of AC@1 to AC@5.
False blame: the share of the cases where nobody is to blame that are answered all the same. An answer of nobody
scores 0 in every case that has a root. Of answers with equal scores the wrong ones count as first. Milliseconds
are of CPU, so that what else the machine does counts less.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import nan, sqrt
from statistics import fmean, stdev

from consulguard.testing import rank

from bench.correlation.baselines import BASELINES
from bench.correlation.oracle import LARGEST, onlooker, oracle, outsider
from bench.correlation.simulate import Case
from bench.correlation.state import Ranking
from bench.measure import percentile

ENGINE, ORACLE = "consulguard", "oracle"
SHOWN, UNRATED = "oracle, as shown", "as shown, no rates"
CEILINGS = (UNRATED, SHOWN, ORACLE)
DEPTH = 5
SURE = 2.0  # standard errors that make a difference more than chance
BINS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of confidence


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one ranker to one case."""

    ac: tuple[float, ...]  # AC@1 to AC@5; empty where nobody is to blame
    answered: bool
    ms: float  # of CPU
    chance: float = 0.0  # what it says of its first answer
    right: bool = False  # the first answer is a root

    @property
    def blames(self) -> float:
        return float(self.answered)


@dataclass(slots=True)
class Row:
    """One case, and what all said."""

    group: str
    family: str
    mesh: str
    services: int
    answers: dict[str, Answer] = field(default_factory=dict)


def rankers(with_oracles: bool = True) -> dict[str, Callable[[Case], Ranking]]:
    def asked(rule: Callable[..., Ranking]) -> Callable[[Case], Ranking]:
        return lambda case: rule(case.topology, case.events, case.now)

    found = {name: asked(rule) for name, rule in (*BASELINES.items(), (ENGINE, rank))}
    return {**found, UNRATED: outsider, SHOWN: onlooker, ORACLE: oracle} if with_oracles else found


def _answers(name: str, case: Case) -> bool:
    """Whether this ranker is asked: the oracles take too long for large meshes."""
    return name not in CEILINGS or len(case.topology["services"]) <= LARGEST


def accuracy(ranking: Ranking, truth: frozenset[str]) -> tuple[float, ...]:
    """AC@1 to AC@5."""
    order = [entity for entity, _ in sorted(ranking, key=lambda x: (-x[1], x[0] in truth))]
    hits = [entity in truth for entity in dict.fromkeys(order)]
    return tuple(sum(hits[:k]) / min(k, len(truth)) for k in range(1, DEPTH + 1))


def judge(case: Case, rule: Callable[[Case], Ranking]) -> Answer:
    begin = time.process_time()
    ranking = rule(case)
    ms = (time.process_time() - begin) * 1e3
    ac = accuracy(ranking, case.truth) if case.truth else ()
    chance = max((score for _, score in ranking), default=0.0)
    return Answer(ac, bool(ranking), ms, chance, bool(ac) and ac[0] > 0)


def run(every: Iterable[tuple[str, Case]], rules: Mapping[str, Callable[[Case], Ranking]]) -> list[Row]:
    """(group, case) each; a topology's first use is not timed, as a daemon has it already."""
    rows, met = [], set()
    for group, case in every:
        asked = {name: rule for name, rule in rules.items() if _answers(name, case)}
        if id(case.topology) not in met:
            met.add(id(case.topology))
            for rule in asked.values():
                rule(case)
        row = Row(group, case.family, case.mesh, len(case.topology["services"]))
        row.answers = {name: judge(case, rule) for name, rule in asked.items()}
        rows.append(row)
    return rows


def mean(rows: Sequence[Row], name: str, of: Callable[[Answer], float]) -> float:
    return fmean([of(row.answers[name]) for row in rows]) if rows else nan


def at(k: int) -> Callable[[Answer], float]:
    return lambda answer: answer.ac[k - 1]


def average(answer: Answer) -> float:
    return fmean(answer.ac)


def faults(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.answers[ENGINE].ac]


def calm(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row.answers[ENGINE].ac]


def p95(rows: Sequence[Row], name: str) -> float:
    return percentile([row.answers[name].ms for row in rows], 0.95)


def beaten(rows: Sequence[Row], rule: str, of: Callable[[Answer], float]) -> tuple[float, bool]:
    """By how much the rule is better than the engine on these cases, and whether that is more than chance."""
    gains = [of(row.answers[rule]) - of(row.answers[ENGINE]) for row in rows]
    gain = fmean(gains)
    error = stdev(gains) / sqrt(len(gains)) if len(gains) > 1 else gain
    return gain, gain > 0 and gain > SURE * error


def reliability(rows: Sequence[Row], name: str) -> list[tuple[float, float, int, float, float]]:
    """By bin of confidence: from, to, how many answers, mean confidence, share that is right."""
    found = []
    for low, high in pairwise(BINS):
        told = [a for a in (row.answers[name] for row in rows) if a.answered and _within(a.chance, low, high)]
        if told:
            found.append((low, high, len(told), fmean(a.chance for a in told), fmean(a.right for a in told)))
    return found


def _within(chance: float, low: float, high: float) -> bool:
    return low <= chance < high or chance >= high == BINS[-1]
