"""Probes as evidence: which answers count, what they change, and how they are told."""

from __future__ import annotations

import pytest
from consulguard.correlate import Book, answered, blame, learn, remember
from consulguard.correlate.accuse import Past
from consulguard.correlate.cause.doors import sentence
from consulguard.correlate.cause.memory import Hints
from consulguard.correlate.cause.weights import WEIGHTS
from consulguard.model import DoorAnswer, Explanation, Observation, Reaction, Status
from consulguard.policy import CorrelatePolicy
from hypothesis import given
from hypothesis import strategies as st

from tests.core.correlate.world import at, bad, inst, roots, service, svc, troubles

INFER = CorrelatePolicy(infer=True)
FAILS = 10.0  # shop, which calls db alone
NOW = 90.0
BAD = (Reaction.SLOW, Reaction.BADLY, Reaction.REFUSED, Reaction.TIMEOUT)
WELL = (0.0, Reaction.WELL)


def answer(how: Reaction, kind: str = "http", name: str = "db", took_s: float = 2.0) -> DoorAnswer:
    return DoorAnswer(service=svc(name), how=how, kind=kind, address="10.0.0.5:8080", took_s=took_s)


def judged(*met: tuple[float, Reaction], kind: str = "http", now: float = NOW) -> Explanation:
    """shop fails; db passes and has answered so, each time with its second."""
    book, unit = Book(), inst("shop")
    learn(book, [service("shop", "db"), service("db")], at(0))
    remember(book, [Observation(target=unit, check="http", status=Status.CRITICAL, at=at(FAILS))])
    for second, how in met:
        answered(book, [answer(how, kind)], at(second))
    past = Past(book.trails, hints=Hints(doors=book.doors))
    (one,) = blame(book.graph, troubles(bad(unit, FAILS)), at(now), INFER, past)
    return one


@pytest.mark.parametrize("how", BAD)
def test_a_bad_answer_names_a_cause_that_its_only_caller_hides(how: Reaction) -> None:
    assert roots([judged()]) == ["service:shop"]
    one = judged(WELL, (40.0, how))
    assert roots([one]) == ["service:db"]
    assert one.confidence > 0.5
    assert [m.name for m in one.members] == ["db", "shop"]


def test_a_good_answer_speaks_for_who_was_asked() -> None:
    one = judged((40.0, Reaction.WELL))
    assert roots([one]) == ["service:shop"]
    assert one.confidence > judged().confidence
    [other] = one.alternatives
    assert other.why.endswith("; a probe of db at 10.0.0.5:8080 was answered in 2 s")


def test_an_open_port_says_less_than_an_answer() -> None:
    port, page = judged((40.0, Reaction.WELL), kind="tcp"), judged((40.0, Reaction.WELL))
    assert judged().confidence < port.confidence < page.confidence


@pytest.mark.parametrize("how", BAD)
def test_a_door_that_never_answered_well_says_nothing(how: Reaction) -> None:
    """A service that listens on its host's loopback alone, behind its sidecar, refuses us without any fault."""
    assert judged((0.0, how), (40.0, how)) == judged()


def test_a_door_that_answered_well_long_ago_says_nothing() -> None:
    day = 86_400.0
    assert judged((-day, Reaction.WELL), (40.0, Reaction.REFUSED)) == judged()
    assert roots([judged((-day + NOW + 1, Reaction.WELL), (40.0, Reaction.REFUSED))]) == ["service:db"]


def test_an_answer_from_before_the_fault_does_not_clear_anybody() -> None:
    assert judged((FAILS - 1, Reaction.WELL)) == judged()


def test_an_answer_holds_for_five_minutes() -> None:
    assert roots([judged(WELL, (40.0, Reaction.REFUSED), now=339.0)]) == ["service:db"]
    assert judged(WELL, (40.0, Reaction.REFUSED), now=341.0) == judged(now=341.0)


def test_what_says_nothing_leaves_what_was_known() -> None:
    known = (WELL, (40.0, Reaction.TIMEOUT))
    assert judged(*known, (60.0, Reaction.UNSURE)) == judged(*known)


@pytest.mark.parametrize(
    ("how", "kind", "sentence"),
    [
        (Reaction.TIMEOUT, "http", "timed out after 2 s"),
        (Reaction.REFUSED, "tcp", "was refused"),
        (Reaction.BADLY, "grpc", "was answered badly"),
        (Reaction.SLOW, "http", "was answered only after 2 s"),
    ],
)
def test_the_answer_is_told(how: Reaction, kind: str, sentence: str) -> None:
    assert f"A probe of db at 10.0.0.5:8080 {sentence}." in judged(WELL, (40.0, how), kind=kind).why


def test_a_reason_is_told_with_it() -> None:
    book = Book()
    answered(book, [answer(Reaction.WELL)], at(0))
    book.doors[svc("db").key].answer = DoorAnswer(
        service=svc("db"), how=Reaction.BADLY, kind="http", address="10.0.0.5:8080", reason="HTTP 503"
    )
    told = sentence(book.doors[svc("db").key], at(0).timestamp(), at(10).timestamp(), WEIGHTS)
    assert told == "A probe of db at 10.0.0.5:8080 was answered badly (HTTP 503)."


def test_a_bad_answer_alone_opens_no_incident() -> None:
    book = Book()
    learn(book, [service("shop", "db"), service("db")], at(0))
    for second, how in (WELL, (40.0, Reaction.REFUSED)):
        answered(book, [answer(how)], at(second))
    assert blame(book.graph, {}, at(NOW), INFER, Past(book.trails, hints=Hints(doors=book.doors))) == ()


reactions = st.sampled_from(list(Reaction))
kinds = st.sampled_from(["tcp", "http", "https", "grpc"])


@given(st.lists(st.tuples(st.floats(-1000, NOW), reactions), max_size=6), kinds)
def test_any_answers_leave_one_explanation(met: list[tuple[float, Reaction]], kind: str) -> None:
    one = judged(*sorted(met, key=lambda m: m[0]), kind=kind)
    assert one.root.name in {"shop", "db"}
    assert 0 <= one.confidence <= 1
    assert "shop" in {member.name for member in one.members}
