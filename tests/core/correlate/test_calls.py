"""Calls that are measured as evidence: a hidden cause with a single caller, and when calls say nothing."""

from __future__ import annotations

import pytest
from consulguard.correlate import Book, blame, learn, measure, remember
from consulguard.correlate.accuse import Past
from consulguard.correlate.cause.memory import Hints
from consulguard.model import CallRate, Explanation, Observation, Status, Trouble
from consulguard.policy import CorrelatePolicy
from hypothesis import given
from hypothesis import strategies as st

from tests.core.correlate.world import at, bad, inst, roots, service, troubles

INFER = CorrelatePolicy(infer=True)
SHOP = [service("shop", "db", "mail", count=2), service("db", count=2), service("mail", count=2)]


def rate(caller: str, callee: str, failed: float | None) -> CallRate:
    return CallRate(caller=caller, callee=callee, failed=failed)


def shop_fails() -> tuple[Book, dict[str, Trouble]]:
    """Both instances, ten seconds in; db and mail pass."""
    book = Book()
    learn(book, SHOP, at(0))
    units = [inst("shop", number=n) for n in (1, 2)]
    look = {"status": Status.CRITICAL, "at": at(10)}
    remember(book, [Observation(target=u, check=f"service:{u.instance}", **look) for u in units])
    return book, troubles(*(bad(u, 10) for u in units))


def judged(*rates: CallRate, since: float = 5, again: tuple[CallRate, ...] = ()) -> Explanation:
    book, found = shop_fails()
    measure(book, rates, at(since), INFER)
    measure(book, again, at(since + 15), INFER)
    (one,) = blame(book.graph, found, at(90), INFER, Past(book.trails, hints=Hints(book.calls)))
    return one


def test_a_hidden_cause_with_one_caller_is_told_from_the_caller_by_the_calls() -> None:
    assert roots([judged()]) == ["service:shop"]
    one = judged(rate("shop", "db", 0.62), rate("shop", "mail", 0.0))
    assert roots([one]) == ["service:db"]
    assert one.confidence > 0.5
    assert "62% of shop's calls to db fail (Prometheus)." in one.why


def test_whose_calls_all_fail_may_be_at_fault_itself() -> None:
    everywhere = judged(rate("shop", "db", 0.6), rate("shop", "mail", 0.6))
    assert roots([everywhere]) == ["service:shop"]


def test_calls_that_succeed_speak_for_who_is_called() -> None:
    """The caller is surer to be at fault itself."""
    fine = judged(rate("shop", "db", 0.0), rate("shop", "mail", 0.0))
    assert roots([fine]) == ["service:shop"]
    assert fine.confidence > judged().confidence


@pytest.mark.parametrize("names", [("shop", "nobody"), ("nobody", "db"), ("db", "db")])
def test_calls_of_services_nobody_knows_say_nothing(names: tuple[str, str]) -> None:
    told = judged(rate(*names, 0.9), rate("shop", "mail", 0.0))
    assert told.confidence == judged(rate("shop", "mail", 0.0)).confidence
    assert not any("Prometheus" in sentence for sentence in told.why)


def test_what_is_not_measured_any_more_says_nothing() -> None:
    gone = judged(rate("shop", "db", 0.9), again=(rate("shop", "db", None),))
    assert gone == judged()


def test_calls_fail_down_to_half_of_the_share_from_which_they_fail() -> None:
    """10 % by default: 7 % are no failure, unless they were."""
    mail = rate("shop", "mail", 0.0)
    assert roots([judged(rate("shop", "db", 0.07), mail)]) == ["service:shop"]
    assert roots([judged(rate("shop", "db", 0.12), mail, again=(rate("shop", "db", 0.07),))]) == ["service:db"]
    assert roots([judged(rate("shop", "db", 0.12), mail, again=(rate("shop", "db", 0.04),))]) != ["service:db"]


def test_failing_calls_alone_open_no_incident() -> None:
    book = Book()
    learn(book, SHOP, at(0))
    measure(book, [rate("shop", "db", 0.9)], at(5), INFER)
    assert blame(book.graph, {}, at(90), INFER, Past(book.trails, hints=Hints(book.calls))) == ()


names = st.sampled_from(["shop", "db", "mail", "nobody"])


@given(st.lists(st.tuples(names, names, st.one_of(st.none(), st.floats(0, 1))), max_size=12))
def test_any_measurements_leave_one_explanation_of_the_failing_service(
    told: list[tuple[str, str, float | None]],
) -> None:
    one = judged(*(rate(*t) for t in told))
    assert one.root.name in {"shop", "db", "mail"}
    assert 0 <= one.confidence <= 1
    assert "shop" in {member.name for member in one.members}
