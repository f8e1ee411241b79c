"""The budgets of the tests beside this: how long the machine runs in CI."""

from __future__ import annotations

import pytest

from tests.model.mutants import MUTANTS
from tests.model.seams import Mutation
from tests.model.support import machine, run

SEED = 7
BASELINE = (5, 14)  # stories, rules in each
MUTANT = (200, 8)  # at most


def holds(seed: int) -> None:
    """All sixteen, in so many stories."""
    run(machine(), stories=BASELINE[0], steps=BASELINE[1], seed=seed)


def is_caught(mutant: type[Mutation]) -> None:
    """A story is found that breaks one of the invariants that speak of what the mutant broke."""
    with pytest.raises(AssertionError) as caught:
        run(machine(mutant()), stories=MUTANT[0], steps=MUTANT[1], seed=SEED)
    assert str(caught.value).split()[0] in mutant.caught_by, caught.value


def share(part: int, parts: int) -> list[type[Mutation]]:
    """The mutants of one test file: several files, so that several workers take them."""
    return list(MUTANTS[part::parts])
