"""What was changed shortly before something failed is evidence, and is told."""

from __future__ import annotations

import msgspec
import pytest
from consulguard.correlate import Book, blame, learn, remember
from consulguard.correlate.accuse import Past
from consulguard.correlate.cause.changes import forget_changes
from consulguard.correlate.cause.memory import Hints
from consulguard.model import (
    EdgesFact,
    Explanation,
    Fact,
    InstanceFact,
    Observation,
    ServiceFact,
    Status,
    Upstream,
)
from consulguard.policy import CorrelatePolicy

from tests.core.correlate.world import at, bad, edges, inst, service, sidecar, svc, troubles

INFER = CorrelatePolicy(infer=True)
SHOP = [service("shop", "db", count=2), service("db", count=2), service("mail", count=2)]
CALLERS = edges("intentions", ("shop", "db"))


def read(name: str, seconds: float, *numbers: int, **fields: object) -> ServiceFact:
    """A service read in detail."""
    units = tuple(InstanceFact(target=inst(name, number=n), status=Status.PASSING, checks=1) for n in numbers)
    fact = service(name, count=len(units), seconds=seconds)
    return msgspec.structs.replace(fact, instances=units, index=1, **fields)


def told(*later: tuple[Fact, float], failed: float = 60.0, first: tuple[Fact, ...] = ()) -> list[str]:
    """What was changed of db, as sentences."""
    return [s for s in judged(*later, failed=failed, first=first).why if " before, " in s]


def judged(*later: tuple[Fact, float], failed: float = 60.0, first: tuple[Fact, ...] = ()) -> Explanation:
    """Facts first, then later ones with their moments; then both instances of db fail."""
    book = Book()
    learn(book, [*SHOP, CALLERS, *first], at(0))
    for fact, seconds in later:
        learn(book, [fact], at(seconds))
    units = [inst("db", number=n) for n in (1, 2)]
    look = {"status": Status.CRITICAL, "at": at(failed)}
    remember(book, [Observation(target=u, check=f"service:{u.instance}", **look) for u in units])
    past = Past(book.trails, hints=Hints(book.calls, book.changes))
    found = blame(book.graph, troubles(*(bad(u, failed) for u in units)), at(failed + 30), INFER, past)
    return next(e for e in found if e.root.name == "db")


V1, V2 = {"meta": {"version": "1.0"}}, {"meta": {"version": "1.1"}}


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (read("db", 1, 1, 2, **V1), read("db", 20, 1, 2, **V2), "its version changed from 1.0 to 1.1"),
        (read("db", 1, 1, 2), read("db", 20, 1, 2, **V2), "its meta changed"),
        (read("db", 1, 1, 2, tags=("a",)), read("db", 20, 1, 2, tags=("b",)), "its tags changed"),
        (read("db", 1, 1, 2), read("db", 20, 2, 3), "1 of its instances was replaced"),
        (read("db", 1, 1, 2), read("db", 20, 3, 4), "2 of its instances were replaced"),
        (CALLERS, edges("intentions", ("shop", "db"), ("mail", "db")), "an intention to it was edited"),
        (
            edges("config/service-resolver"),
            edges("config/service-resolver", ("db", "mail"), provenance="resolver-redirect"),
            "its service-resolver was edited",
        ),
    ],
)
def test_what_was_changed_is_told_with_its_moment(before: Fact, after: Fact, sentence: str) -> None:
    assert told((after, 20), first=(before,)) == [f"40 s before, {sentence}."]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (service("db", count=2), read("db", 20, 1, 2, **V2)),  # read for the first time
        (read("db", 1, 1, 2, **V1), read("db", 20, 1, 2, **V1)),
        (read("db", 1, 1, 2), read("db", 20, 1)),  # one has gone, nothing came
        (read("db", 1, 1), read("db", 20, 1, 2)),  # one came
        (edges("intentions", ("shop", "db")), edges("intentions", ("shop", "db"))),
        (edges("declared/file", ("shop", "db")), edges("declared/file", ("mail", "db"))),  # our own words
    ],
)
def test_what_was_only_learned_is_no_change(before: Fact, after: Fact) -> None:
    assert told((after, 20), first=(before,)) == []


def test_a_denied_caller_is_an_edited_intention() -> None:
    denied = EdgesFact(source="intentions", edges=CALLERS.edges, denied=((svc("mail"), svc("db")),), at=at(20))
    assert told((denied, 20)) == ["40 s before, an intention to it was edited."]


def test_a_sidecars_change_is_its_services() -> None:
    """Its upstreams are no change of what it serves, its version is."""
    before = msgspec.structs.replace(sidecar("db", count=2), index=1, **V1)
    after = msgspec.structs.replace(before, upstreams=(Upstream(name="mail"),), **V2)
    assert told((after, 20), first=(before,)) == ["40 s before, its version changed from 1.0 to 1.1."]


def test_what_was_changed_shortly_before_is_suspected_more() -> None:
    change = read("db", 20, 1, 2, **V2)
    first = (read("db", 1, 1, 2, **V1),)
    plain = judged(first=first).confidence
    assert judged((change, 20), first=first).confidence > plain
    assert judged((change, 100), first=first).confidence == plain  # it failed first
    assert judged((change, 20), first=first, failed=800).confidence == judged(first=first, failed=800).confidence


def test_old_changes_and_names_nobody_can_read_are_not_kept() -> None:
    book = Book()
    learn(book, [read("db", 1, 1, 2, meta={"version": "1\n2"})], at(0))
    for n in range(5):
        learn(book, [read("db", 2, 1, 2, meta={"version": f"*evil* {n}"})], at(1 + n))
    (changes,) = book.changes.values()
    assert [c.what for c in changes] == ["its version changed"] * 3
    forget_changes(book.changes, at(1000).timestamp())
    assert book.changes == {}
