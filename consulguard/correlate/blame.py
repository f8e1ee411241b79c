"""The one pure function that says who is to blame: plain inhibition, corrected by what the evidence accuses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from consulguard.correlate.accuse import NOTHING, Accused, Past, accuse
from consulguard.correlate.explain import explain
from consulguard.correlate.graph import Graph
from consulguard.correlate.inhibit import judge
from consulguard.correlate.places import find_places
from consulguard.correlate.survey import survey
from consulguard.model import Explanation, Trouble
from consulguard.policy import CorrelatePolicy


def blame(
    graph: Graph, troubles: Mapping[str, Trouble], at: datetime, policy: CorrelatePolicy, past: Past | None = None
) -> tuple[Explanation, ...]:
    """One explanation per cause, the earliest first; none when nothing fails.

    ``troubles`` is everything that is not passing, by target key. Without a ``past`` it is plain inhibition that
    judges. With one, services that look well and places are blamed too where they explain best what fails, and
    every confidence is the chance that was inferred.
    """
    seen = survey(graph, troubles, policy)
    if not seen.services and not seen.dead:
        return ()
    accused: Accused = accuse(graph, past, at) if past is not None else NOTHING
    places = accused.places(graph, seen, find_places(graph, seen, policy), policy)
    standing = {key for kind, key in accused.standing if kind == "service"}
    found = judge(graph, seen, places, policy, accused.services(seen), standing)
    return explain(graph, troubles, seen, found, accused)
