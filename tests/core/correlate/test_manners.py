"""A slow check is not mistaken for a healthy one: what its interval and thresholds leave it to say."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from consulguard.correlate import Book, blame, learn, remember
from consulguard.correlate.accuse import Past
from consulguard.correlate.cause.manners import USUAL, Manner, manner_of, quiet
from consulguard.correlate.cause.weights import WEIGHTS
from consulguard.model import Explanation, InstanceFact, Observation, ServiceFact, Status, Target
from consulguard.policy import CorrelatePolicy

from tests.core.correlate.world import at, bad, inst, service, sidecar, troubles

SLOW = {"consulguard-check-interval": "60s", "consulguard-failures-before-critical": "3"}


def told(name: str, *intervals: float | None, **more: str) -> ServiceFact:
    """As newer servers tell the checks' intervals."""
    units = tuple(
        InstanceFact(target=inst(name, number=n + 1), status=Status.PASSING, checks=1, interval_s=interval)
        for n, interval in enumerate(intervals)
    )
    return msgspec.structs.replace(service(name, count=len(units), meta=more), instances=units)


@pytest.mark.parametrize(
    ("fact", "manner"),
    [
        (None, USUAL),
        (service("a"), USUAL),
        (service("a", meta=SLOW), Manner(120.0, 60.0)),
        (service("a", meta={"consulguard.io/check-interval": "2m"}), Manner(0.0, 120.0)),
        (told("a", 60.0, None, 10.0), Manner(0.0, 10.0)),
        (told("a", 60.0, **{"consulguard-failures-before-critical": "2"}), Manner(60.0, 60.0)),
        (told("a", 60.0, **{"consulguard-check-interval": "5s"}), Manner(0.0, 5.0)),
        (service("a", meta={"consulguard-check-interval": "soon"}), USUAL),
        (service("a", meta={"consulguard-failures-before-critical": "3"}), USUAL),
        (service("a", meta=SLOW | {"consulguard-failures-before-critical": "-1"}), Manner(0.0, 60.0)),
        (service("a", meta=SLOW | {"consulguard-failures-before-critical": "9" * 30}), Manner(3600.0, 60.0)),
        (service("a", meta={"consulguard-check-interval": "999999h"}), Manner(0.0, 3600.0)),
    ],
)
def test_what_is_known_of_a_check(fact: ServiceFact | None, manner: Manner) -> None:
    assert manner_of(fact) == manner


def test_a_check_that_cannot_have_told_yet_says_nothing() -> None:
    slow = manner_of(service("a", meta=SLOW))
    assert quiet(119.0, slow, WEIGHTS) == 1.0
    assert quiet(119.0, USUAL, WEIGHTS) < 0.4
    assert quiet(600.0, slow, WEIGHTS) < 0.2


def judged(db: dict[str, str], others: dict[str, str]) -> Explanation:
    """shop fails; db, which it calls, passes, and so do four others that call db."""
    book, unit = Book(), inst("shop")
    standing = [service(f"other-{n}", "db", meta=others) for n in range(4)]
    learn(book, [service("shop", "db"), service("db", meta=db), *standing], at(0))
    remember(book, [Observation(target=unit, check="http", status=Status.CRITICAL, at=at(10))])
    (one,) = blame(book.graph, troubles(bad(unit, 10)), at(110), CorrelatePolicy(infer=True), Past(book.trails))
    return one


def chance(one: Explanation, name: str) -> float:
    found = {one.root.name: one.confidence} | {a.root.name: a.confidence for a in one.alternatives}
    return found.get(name, 0.0)


def test_a_slow_check_that_passes_does_not_clear_its_service() -> None:
    assert chance(judged(SLOW, {}), "db") >= chance(judged({}, {}), "db")
    assert chance(judged(SLOW, SLOW), "db") > chance(judged({}, SLOW), "db")


def test_callers_with_slow_checks_that_stand_do_not_clear_whom_they_call() -> None:
    assert chance(judged({}, SLOW), "db") > chance(judged({}, {}), "db")


def test_a_check_within_the_usual_changes_nothing() -> None:
    usual = {"consulguard-check-interval": "10s", "consulguard-failures-before-critical": "1"}
    assert judged(usual, usual) == judged({}, {})


def failed_by(
    *checks: tuple[str, str], unit: Target | None = None, facts: Sequence[ServiceFact] = ()
) -> Explanation:
    """shop, which calls db, has failed for two minutes by these checks (name, type)."""
    book, shop = Book(), inst("shop")
    learn(book, [service("shop", "db"), service("db"), service("other", "db"), *facts], at(0))
    seen = [
        Observation(target=unit or shop, check=name, type=kind, status=Status.CRITICAL, at=at(10))
        for name, kind in checks
    ]
    remember(book, seen)
    found = troubles(bad(unit or shop, 10))
    return blame(book.graph, found, at(130), CorrelatePolicy(infer=True), Past(book.trails))[0]


def test_an_alias_accuses_what_it_stands_for_and_not_the_thing_it_is_at() -> None:
    http, alias, both = (
        failed_by(("web", "http")),
        failed_by(("a", "alias")),
        failed_by(("web", "http"), ("a", "alias")),
    )
    assert chance(alias, "shop") < 0.5 < chance(http, "shop")
    assert chance(alias, "db") > chance(http, "db")
    assert chance(http, "shop") >= chance(both, "shop") > chance(alias, "shop")


def test_of_two_checks_of_which_none_is_an_alias_the_second_speaks_for_the_thing_itself() -> None:
    assert chance(failed_by(("web", "http"), ("b", "tcp")), "shop") > chance(failed_by(("web", "http")), "shop")


def test_a_sidecars_alias_speaks_for_the_instance_it_fronts() -> None:
    front = inst("shop-sidecar-proxy", "n-shop-1")
    by = [failed_by(("a", kind), unit=front, facts=[sidecar("shop")]) for kind in ("alias", "tcp")]
    assert chance(by[0], "shop") == chance(by[1], "shop") > 0.5
