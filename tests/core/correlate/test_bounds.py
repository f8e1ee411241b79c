"""What a tree is taken to say at most, before it is grown: places that cannot say enough are not judged."""

from __future__ import annotations

from typing import Any

from consulguard.correlate.cause.callers import Callers
from consulguard.correlate.cause.checks import Checks
from consulguard.correlate.cause.scene import Scene
from consulguard.correlate.cause.weights import WEIGHTS
from consulguard.testing.ranking import graph_of, trails_of
from hypothesis import given, settings

from tests.core.correlate.meshes import Flip
from tests.core.correlate.test_suspects_properties import stories

NOW = 120.0
ROUNDING = 1e-9


@settings(max_examples=100)
@given(stories())
def test_no_tree_says_more_than_its_callers_can(story: tuple[dict[str, Any], list[Flip]]) -> None:
    topology, flips = story
    scene = Scene(graph_of(topology), trails_of(topology, flips, NOW), NOW, WEIGHTS)
    callers = Callers(scene, Checks(scene))
    for source in callers.names:
        n = callers.number[source]
        for part in (1.0, 0.5):
            tree = callers.explain({source: part})
            above = tree.touches() & ~(1 << n)
            assert callers.can_say(above, tree.edges(n) - ROUNDING, callers.leaning)
