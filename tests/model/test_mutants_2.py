"""Every mutant is caught: see ``mutants``."""

import pytest

from tests.model.seams import Mutation
from tests.model.stories import is_caught, share


@pytest.mark.parametrize("mutant", share(1, 3), ids=lambda m: m.__name__)
def test_a_mutant_is_caught(mutant: type[Mutation]) -> None:
    is_caught(mutant)
