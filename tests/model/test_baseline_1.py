"""The machine as it is: see ``stories``."""

import pytest

from tests.model.stories import holds


@pytest.mark.parametrize("seed", [101, 102])
def test_no_story_breaks_an_invariant(seed: int) -> None:
    holds(seed)
