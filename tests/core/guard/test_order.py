"""All guards are asked, none hides another, and their answers become one."""

from __future__ import annotations

import tomllib
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from consulguard.guard import ORDER, combine, judge, would
from consulguard.guard.answer import RANK, Answer, allow
from consulguard.guard.situation import Situation
from consulguard.model import Decision, Mode, Verdict
from hypothesis import given
from hypothesis import strategies as st

from tests.core.guard.scenes import NOW, scene

ROOT = Path(__file__).parents[3]


def verdict(decision: Decision, guard: str = "g", retry_at: datetime | None = None) -> Verdict:
    return Verdict(intent_id="i", decision=decision, guard=guard, reason="because", retry_at=retry_at)


def test_every_guard_answers_even_when_the_first_denies() -> None:
    verdicts = judge(scene(policy={"mode": Mode.OBSERVE}, action=None, matched=0, lease_held=False))
    assert [v.guard for v in verdicts] == [name for name, _ in ORDER]
    assert {v.intent_id for v in verdicts} == {"run-1/0/1"}


@pytest.mark.parametrize("error", [ValueError, KeyError, IndexError, TypeError, ZeroDivisionError, AttributeError])
def test_a_guard_that_cannot_be_evaluated_holds(error: type[Exception]) -> None:
    def broken(_: Situation) -> Answer:
        raise error("no such thing")

    first, second = judge(scene(), [("broken", broken), ("fine", lambda _: allow("all is well"))])
    assert (first.decision, second.decision) == (Decision.WAIT, Decision.ALLOW)
    assert "cannot be evaluated" in first.reason
    assert "no such thing" in first.reason
    assert first.retry_at is not None
    assert first.retry_at > NOW


def test_a_mistake_of_ours_is_seen() -> None:
    def wrong(_: Situation) -> Answer:
        raise AssertionError("a bug")

    with pytest.raises(AssertionError):
        judge(scene(), [("wrong", wrong)])


def test_no_guard_asked_is_a_denial() -> None:
    assert combine(()).decision is Decision.DENY


@given(st.lists(st.tuples(st.sampled_from(Decision), st.integers(0, 3)), min_size=1))
def test_the_combined_verdict_is_the_first_of_the_highest_rank(given: list[tuple[Decision, int]]) -> None:
    verdicts = [
        verdict(d, f"g{i}", NOW + timedelta(seconds=s) if d is Decision.WAIT else None)
        for i, (d, s) in enumerate(given)
    ]
    one = combine(verdicts)
    ranks = [RANK[v.decision] for v in verdicts]
    assert RANK[one.decision] == max(ranks)
    assert one.guard == f"g{ranks.index(max(ranks))}"
    ends = [v.retry_at for v in verdicts if v.retry_at]
    assert one.retry_at == (max(ends) if ends else None)


def test_observe_says_what_it_would_do_and_hides_no_better_reason() -> None:
    s = scene(policy={"mode": Mode.OBSERVE})
    assert combine(judge(s)).reason.startswith("mode is observe: would act")
    assert would(judge(s)).decision is Decision.ALLOW
    worse = scene(policy={"mode": Mode.OBSERVE}, matched=0)
    assert combine(judge(worse)).guard == "empty_selection"


def test_the_entry_points_are_the_order() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert list(declared["consulguard.guards"]) == [name for name, _ in ORDER]
    for name, guard in ORDER:
        assert declared["consulguard.guards"][name] == f"{guard.__module__}:guard"


def test_the_manual_tells_every_guard_in_its_order() -> None:
    manual = (ROOT / "docs" / "guards.md").read_text()
    headings = [line.removeprefix("### ").strip("` ") for line in manual.splitlines() if line.startswith("### ")]
    assert [h for h in headings if h in dict(ORDER)] == [name for name, _ in ORDER]
