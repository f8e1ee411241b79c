"""More evidence against a cause never clears it, less never convicts it, and a healthy stranger changes little.

Stories of one cause: something that others call, some of these failing. Only who explains the same can take from
it: of a service that stands in one place that is the place (its node, its zone), whose chance goes up with each
unit that fails there. So a service is asked for together with the place that holds all of it, and alone where it
stands in two zones.
"""

from __future__ import annotations

from typing import Any

from consulguard.correlate import suspects
from consulguard.testing.ranking import graph_of, name_of, trails_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.correlate.meshes import Flip, critical, mesh

NOW = 120.0
CALLERS = "abcdef"
CHANCE = 1e-6
PLACE = 1e-3  # a zone is a suspect only from so many sick nodes on
LITTLE = 0.02  # a call that nobody told us of goes to each of many services the less likely


@st.composite
def stars(draw: st.DrawFn, least: int = 1) -> tuple[dict[str, Any], list[Flip], str]:
    """A mesh in which all call ``r``, flips of some of them, of ``r`` as well or not, and a caller that stands.

    From two units on each service stands in two zones.
    """
    callers = CALLERS[: draw(st.integers(2, len(CALLERS)))]
    topology = mesh({**{c: ["r"] for c in callers}, "r": []}, units=draw(st.integers(least, 3)), nodes=12)
    begin = draw(st.integers(0, 40))
    flips = critical(topology, "r", begin) if draw(st.booleans()) else []
    failing = draw(st.integers(0, len(callers) - 1))
    for name in callers[:failing]:
        flips += critical(topology, name, begin + draw(st.integers(0, 20)))
    return topology, in_order(flips), callers[failing]


def in_order(flips: list[Flip]) -> list[Flip]:
    return sorted(flips, key=lambda f: f["t"])


def chances(topology: dict[str, Any], flips: list[Flip]) -> dict[str, float]:
    """Also where we would say that we do not know."""
    verdict = suspects(graph_of(topology), trails_of(topology, flips, NOW), NOW)
    return {name_of(s): s.chance for s in verdict.suspects}


def broken(topology: dict[str, Any], flips: list[Flip]) -> float:
    """The chance that ``r`` is at fault, or a place that holds all of it."""
    found = chances(topology, flips)
    nodes = {topology["nodes"][i] for i, s in topology["instances"].items() if s == "r"}
    zones = {topology["zones"][n] for n in nodes}
    places = [f"node:{n}" for n in nodes if len(nodes) == 1] + [f"zone:{z}" for z in zones if len(zones) == 1]
    return sum(found.get(e, 0.0) for e in ("r", *places))


def less_of(flips: list[Flip], data: st.DataObject) -> list[Flip]:
    """Without the flips of one instance, of ``r`` or of one that calls it."""
    gone = data.draw(st.sampled_from(sorted({f["instance"] for f in flips}) or [""]))
    return [f for f in flips if f["instance"] != gone]


@settings(max_examples=100)
@given(stars(least=2), st.integers(0, 60))
def test_one_more_failing_caller_never_clears_a_service_green_or_not(
    star: tuple[dict[str, Any], list[Flip], str], at: int
) -> None:
    topology, flips, caller = star
    more = in_order(flips + critical(topology, caller, at))
    assert chances(topology, more).get("r", 0.0) >= chances(topology, flips).get("r", 0.0) - CHANCE


@settings(max_examples=100)
@given(stars(), st.integers(0, 60))
def test_one_more_failing_caller_never_clears_a_service_and_its_place(
    star: tuple[dict[str, Any], list[Flip], str], at: int
) -> None:
    topology, flips, caller = star
    more = in_order(flips + critical(topology, caller, at))
    assert broken(topology, more) >= broken(topology, flips) - PLACE


@settings(max_examples=100)
@given(stars(least=2), st.data())
def test_less_evidence_never_raises_a_confidence(
    star: tuple[dict[str, Any], list[Flip], str], data: st.DataObject
) -> None:
    topology, flips, _ = star
    less = less_of(flips, data)
    assert chances(topology, less).get("r", 0.0) <= chances(topology, flips).get("r", 0.0) + CHANCE


@settings(max_examples=100)
@given(stars(), st.data())
def test_less_evidence_never_raises_what_is_said_of_a_service_and_its_place(
    star: tuple[dict[str, Any], list[Flip], str], data: st.DataObject
) -> None:
    topology, flips, _ = star
    assert broken(topology, less_of(flips, data)) <= broken(topology, flips) + PLACE


@settings(max_examples=60)
@given(stars())
def test_a_healthy_stranger_changes_next_to_nothing(
    star: tuple[dict[str, Any], list[Flip], str],
) -> None:
    topology, flips, _ = star
    more = {
        **topology,
        "services": [*topology["services"], "stranger"],
        "instances": {**topology["instances"], "stranger-0": "stranger"},
        "nodes": {**topology["nodes"], "stranger-0": "elsewhere"},
        "zones": {**topology["zones"], "elsewhere": "nowhere"},
    }
    before, after = chances(topology, flips), chances(more, flips)
    assert before.keys() == after.keys()
    assert all(abs(after[e] - c) < LITTLE for e, c in before.items())
