"""The one pure function that says who is to blame; a better ranking replaces its content, not its shape."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from consulguard.correlate.explain import explain
from consulguard.correlate.graph import Graph
from consulguard.correlate.inhibit import judge
from consulguard.correlate.places import find_places
from consulguard.correlate.survey import survey
from consulguard.model import Explanation, Trouble
from consulguard.policy import CorrelatePolicy


def blame(
    graph: Graph, troubles: Mapping[str, Trouble], at: datetime, policy: CorrelatePolicy
) -> tuple[Explanation, ...]:
    """One explanation per cause, the earliest first; none when nothing fails.

    ``troubles`` is everything that is not passing, by target key. Plain inhibition needs no present time: ``at``
    is for rankings that weigh how long things have lasted.
    """
    seen = survey(graph, troubles, policy)
    if not seen.services and not seen.dead:
        return ()
    found = judge(graph, seen, find_places(graph, seen, policy), policy)
    return explain(graph, troubles, seen, found)
