"""Of what hangs together not every story is weighed in the sums: what is left out gets a chance all the same."""

from __future__ import annotations

from itertools import combinations
from math import exp, log

import pytest
from consulguard.correlate.cause.stories import Sets

PLACE, SERVICES, BESIDE = 0b0001, 0b0011, 0b0010  # what a story touches: a place, it and others, the others alone


def exact(y: list[float], touches: list[int]) -> tuple[float, list[float]]:
    """The sum over all sets, of at most two stories as no three go together here, and over those with each."""
    total, found = 1.0, [0.0] * len(y)
    for size in (1, 2):
        for some in combinations(range(len(y)), size):
            if size == 2 and touches[some[0]] & touches[some[1]]:
                continue
            weight = exp(sum(y[n] for n in some))
            total += weight
            for n in some:
                found[n] += weight
    return total, found


def test_what_is_true_beside_the_strongest_is_not_crowded_out_by_what_says_the_same() -> None:
    y = [15.0, *[5.0] * 40, *[3.5, 3.0, 2.5]]
    touches = [PLACE, *[SERVICES] * 40, *[BESIDE] * 3]
    sets, (total, with_) = Sets(y, touches), exact(y, touches)
    assert sets.all() == pytest.approx(log(total), abs=0.01)
    for n in (0, 41, 42, 43):
        assert sets.kept(n)
        assert exp(sets.with_(n) - sets.all()) == pytest.approx(with_[n] / total, abs=0.01)


def test_of_so_many_beside_it_the_strongest_are_kept() -> None:
    y = [15.0, *(5.0 - n / 100 for n in range(40)), *(3.0 - n / 100 for n in range(12))]
    sets = Sets(y, [PLACE, *[SERVICES] * 40, *[BESIDE] * 12])
    assert [sets.kept(n) for n in (0, 1, 40, 41, 52)] == [True, True, False, True, False]
