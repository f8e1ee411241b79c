"""An agent that starts calls each of its checks critical until it has run: that is no failure yet."""

from datetime import UTC, datetime, timedelta

import pytest
from consulguard.model import Status
from consulguard.watch.book import FIRST_RUN_S, HealthBook, key_of
from consulguard.watch.decode import Check, Scope

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def check(status="critical", output="", kind="http", index=1):
    return Check(
        Node="n",
        CheckID="c",
        Status=status,
        Output=output,
        ServiceID="a1",
        ServiceName="a",
        Type=kind,
        ModifyIndex=index,
    )


@pytest.fixture
def book():
    book = HealthBook(Scope("dc1"), ("feed",))
    list(book.changes("feed", {}, T0))
    return book


def see(book, found, second=0.0):
    """What is told of one answer with this check."""
    at = T0 + timedelta(seconds=second)
    return [o.status for o in book.changes("feed", {key_of(found): found}, at)]


def overdue(book, second):
    return [o.status for o in book.overdue(T0 + timedelta(seconds=second))]


@pytest.mark.parametrize("kind", ["http", "tcp", "grpc"])
def test_it_is_unknown_first_and_critical_when_it_has_run(book, kind):
    assert see(book, check(kind=kind)) == [Status.UNKNOWN]
    assert see(book, check(kind=kind, output="refused", index=2), 1) == [Status.CRITICAL]
    assert overdue(book, 500) == []


def test_or_passing(book):
    assert see(book, check()) == [Status.UNKNOWN]
    assert see(book, check("passing", "200 OK", index=2), 1) == [Status.PASSING]
    assert overdue(book, 500) == []


def test_after_its_time_it_is_critical_even_without_an_output(book):
    """Agents tell a change of output alone only minutes later."""
    assert see(book, check()) == [Status.UNKNOWN]
    assert overdue(book, FIRST_RUN_S) == []
    assert overdue(book, FIRST_RUN_S + 3) == [Status.CRITICAL]
    assert overdue(book, FIRST_RUN_S + 4) == []
    assert see(book, check(), 60) == []


def test_what_failed_before_the_agent_started_again_fails_on(book):
    assert see(book, check(output="refused")) == [Status.CRITICAL]
    see(book, check(index=2), 1)
    assert {known.status for known in book.known.values()} == {Status.CRITICAL}
    assert overdue(book, 500) == []


@pytest.mark.parametrize("kind", ["ttl", "script", ""])
def test_checks_that_may_fail_without_a_word_are_believed(book, kind):
    assert see(book, check(kind=kind)) == [Status.CRITICAL]


def test_an_alias_of_a_check_that_has_not_run_has_not_either(book):
    assert see(book, check(kind="alias", output='Aliased check "c" failing: ')) == [Status.UNKNOWN]
    assert see(book, check(kind="alias", output='Aliased check "c" failing: 500', index=2)) == [Status.CRITICAL]


def test_the_first_whole_read_is_believed():
    """How long its records have been so is not known."""
    book = HealthBook(Scope("dc1"), ("feed",))
    assert see(book, check()) == [Status.CRITICAL]


def test_one_that_leaves_is_no_longer_waited_for(book):
    found = check()
    see(book, found)
    assert book.absent(key_of(found), T0) is not None
    assert overdue(book, 500) == []
