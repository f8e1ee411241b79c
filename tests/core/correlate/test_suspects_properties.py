"""What must hold of the ranking whatever the mesh and its flips: names, order and strangers do not matter."""

from __future__ import annotations

from typing import Any

from consulguard.testing import rank
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.correlate.meshes import Flip, critical, mesh, passing

NAMES = "abcdefg"
EXACT = 1e-9


@st.composite
def stories(draw: st.DrawFn) -> tuple[dict[str, Any], list[Flip]]:
    """A small mesh, and some of its services that fail; some of these pass again."""
    size = draw(st.integers(2, len(NAMES)))
    names = NAMES[:size]
    calls = {n: draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) for n in names}
    topology = mesh({n: [c for c in callees if c != n] for n, callees in calls.items()}, units=2)
    flips: list[Flip] = []
    for name in draw(st.lists(st.sampled_from(names), max_size=4, unique=True)):
        begin = draw(st.integers(0, 60))
        flips += critical(topology, name, begin)
        if draw(st.booleans()):
            flips += passing(topology, name, begin + draw(st.integers(5, 50)))
    return topology, sorted(flips, key=lambda f: f["t"])


def chances(topology: dict[str, Any], flips: list[Flip], now: float = 120.0) -> dict[str, float]:
    return dict(rank(topology, flips, now))


@settings(max_examples=40)
@given(stories(), st.randoms(use_true_random=False))
def test_the_order_of_flips_within_a_poll_changes_nothing(
    story: tuple[dict[str, Any], list[Flip]], order: Any
) -> None:
    topology, flips = story
    shuffled = list(flips)
    order.shuffle(shuffled)
    assert chances(topology, flips) == chances(topology, sorted(shuffled, key=lambda f: f["t"]))


@settings(max_examples=40)
@given(stories())
def test_names_mean_nothing(story: tuple[dict[str, Any], list[Flip]]) -> None:
    topology, flips = story
    new = {n: f"{'zyxwvut'[k]}{n}" for k, n in enumerate(NAMES)}
    renamed = {
        **topology,
        "services": [new[s] for s in topology["services"]],
        "edges": [[new[a], new[b]] for a, b in topology["edges"]],
        "instances": {i: new[s] for i, s in topology["instances"].items()},
    }
    before = {new.get(e, e): c for e, c in chances(topology, flips).items()}
    after = chances(renamed, [{**f, "service": new[f["service"]]} for f in flips])
    assert before.keys() == after.keys()
    assert all(abs(after[e] - c) < EXACT for e, c in before.items())


@settings(max_examples=40)
@given(stories())
def test_a_healthy_mesh_blames_nobody(story: tuple[dict[str, Any], list[Flip]]) -> None:
    topology, _ = story
    assert chances(topology, []) == {}


@settings(max_examples=40)
@given(st.integers(2, 5), st.integers(1, 4))
def test_one_more_failing_caller_never_clears_a_service(callers: int, failing: int) -> None:
    names = "abcdef"[:callers]
    topology = mesh({**{n: ["r"] for n in names}, "r": []}, units=2)
    flips = critical(topology, "r", 5)
    for name in names[: min(failing, callers - 1)]:
        flips += critical(topology, name, 10)
    more = flips + critical(topology, names[min(failing, callers - 1)], 10)
    assert chances(topology, more).get("r", 0.0) >= chances(topology, flips).get("r", 0.0) - EXACT


@settings(max_examples=40)
@given(stories())
def test_learned_bit_by_bit_or_at_once_the_answer_is_the_same(story: tuple[dict[str, Any], list[Flip]]) -> None:
    topology, flips = story
    for now in (40.0, 80.0):
        chances(topology, [f for f in flips if f["t"] <= now], now)
    fresh = {**topology}  # another object: its graph is made anew
    assert chances(topology, flips) == chances(fresh, flips)
