"""What the inferred chances change in explanations and incidents."""

from __future__ import annotations

import re

from consulguard.correlate import Book, blame, learn, next_wake, remember, suspects, update
from consulguard.correlate.accuse import Past
from consulguard.model import Fact, Observation, Role, Status, Target, Trouble
from consulguard.policy import CorrelatePolicy

from tests.core.correlate.world import POLICY, at, bad, graph, inst, place, role, roots, service, troubles

INFER = CorrelatePolicy(infer=True)
FOUR = [service(s, "db", count=2) for s in "abcd"]
HIDDEN: list[Fact] = [*FOUR, service("db", count=2), service("mail", count=2)]


def look(target: Target, seconds: float, status: Status = Status.CRITICAL) -> Observation:
    return Observation(target=target, check=f"service:{target.instance}", status=status, at=at(seconds))


def fail(book: Book, *names: str, seconds: float = 10) -> dict[str, Trouble]:
    units = [inst(name, number=n) for name in names for n in (1, 2)]
    remember(book, [look(unit, seconds) for unit in units])
    return troubles(*(bad(unit, seconds) for unit in units))


def known(*facts: Fact) -> Book:
    book = Book()
    learn(book, facts, at(0))
    return book


def test_a_service_that_looks_well_is_blamed_by_what_only_it_explains() -> None:
    book = known(*HIDDEN)
    found = fail(book, "a", "b", "c", "d")
    (one,) = blame(book.graph, found, at(90), INFER, Past(book.trails))
    assert one.root.name == "db"
    assert one.inferred
    assert one.confidence > 0.5
    assert role(one, Role.AFFECTED) == {"a", "b", "c", "d"}
    assert any("known callers of db fail (a, b, c, d)" in s for s in one.why)


def test_only_what_could_bring_it_down_is_considered_beside_it() -> None:
    book = known(
        *(place(name) for name in ("n1", "n2")),
        service("web", "db", nodes=("n1",)),
        service("db", nodes=("n3",)),
        *(service(name, nodes=("n2",)) for name in ("mail", "list", "cart", "user")),
    )
    units = [inst("web", "n1"), inst("mail", "n2"), inst("list", "n2")]
    remember(book, [look(unit, 10) for unit in units])
    found = blame(book.graph, troubles(*(bad(unit, 10) for unit in units)), at(25), INFER, Past(book.trails))
    others = {e.root.name: {a.root.name for a in e.alternatives} for e in found}
    assert others == {"web": {"db", "n1"}, "mail": {"n2"}, "list": {"n2"}}


def test_the_sentences_agree_with_the_numbers() -> None:
    book = known(*HIDDEN, service("e", "db", count=2))
    found = fail(book, "a", "b", "c")
    (one, *_) = blame(book.graph, found, at(90), INFER, Past(book.trails))
    for other in one.alternatives:
        (sentence,) = [s for s in one.why if s.startswith(f"Also considered: {other.root.name} ")]
        assert f"({other.confidence:.0%})" in sentence
        assert other.confidence <= one.confidence
    share = next((m for s in one.why if (m := re.match(r"(\d+) of (\d+) known callers of (\w+)", s))), None)
    if share is not None:
        assert int(share[1]) == 3
        assert int(share[2]) == 5


def test_what_has_only_just_failed_is_not_known_to_be_a_fault() -> None:
    book = known(*HIDDEN)
    remember(book, [look(inst("mail"), 10)])
    found = troubles(bad(inst("mail"), 10))
    (one,) = blame(book.graph, found, at(11), INFER, Past(book.trails))
    assert one.confidence < 0.5
    assert one.why[0].startswith("We do not know who is to blame")


def test_a_standing_root_stays_when_its_evidence_has_grown_old() -> None:
    book = known(*HIDDEN)
    found = fail(book, "a", "b", "c")
    opened = update(book, found, at(90), INFER)
    assert [i.root.name for i in opened] == ["db"]
    assert update(book, found, at(3000), INFER) == []
    assert [i.root.name for i in book.incidents.values()] == ["db"]


def test_without_inference_nothing_is_remembered_or_changed() -> None:
    mesh = graph(*HIDDEN)
    found = troubles(*(bad(inst(s, number=n)) for s in "ab" for n in (1, 2)))
    assert all(not e.inferred and not e.alternatives for e in blame(mesh, found, at(60), POLICY))


def test_a_young_incident_is_judged_again_though_nothing_happens() -> None:
    book = known(*HIDDEN)
    update(book, fail(book, "mail"), at(10), INFER)
    assert next_wake(book, INFER) == at(25)
    assert next_wake(book, POLICY) is None
    update(book, fail(book, "mail"), at(200), INFER)
    assert next_wake(book, INFER) is None


def test_what_is_in_maintenance_accuses_nobody() -> None:
    book = known(*HIDDEN)
    fail(book, "a", "b", "c", "d")
    planned = [look(inst(s, number=n), 20, Status.MAINTENANCE) for s in "abcd" for n in (1, 2)]
    remember(book, planned)
    assert suspects(book.graph, book.trails.values(), at(90).timestamp()).suspects == ()


def fail_there(book: Book, *units: Target) -> dict[str, Trouble]:
    remember(book, [look(unit, 10 + 7 * n) for n, unit in enumerate(units)])
    return troubles(*(bad(unit, 10 + 7 * n) for n, unit in enumerate(units)))


def test_services_that_run_nowhere_else_do_not_accuse_their_node() -> None:
    here = [inst(name, "c2") for name in ("sick", "heals", "fails", "db", "web", "cart")]
    book = known(
        *(service(n) for n in ("sick", "heals", "fails", "db")),
        *(service(n, count=2) for n in ("web", "cart")),
        place("c2", "", *here),
        place("c1", "", inst("web", "c1", 2), inst("cart", "c1", 2)),
    )
    found = blame(book.graph, fail_there(book, *here[:3]), at(90), INFER, Past(book.trails))
    assert {e.root.name for e in found} == {"sick", "heals", "fails"}
    assert all(not any("well on other nodes" in s for s in e.why) for e in found)


def test_services_that_stand_elsewhere_accuse_the_node_they_fail_on() -> None:
    names = ("a", "b", "c", "d")
    book = known(
        *(service(n, count=2) for n in names),
        place("c2", "", *(inst(n, "c2") for n in names)),
        place("c1", "", *(inst(n, "c1", 2) for n in names)),
    )
    found = blame(book.graph, fail_there(book, *(inst(n, "c2") for n in names)), at(90), INFER, Past(book.trails))
    assert roots(found) == ["node:c2"]


def test_three_services_that_fail_each_by_itself_are_all_known_to_be_at_fault() -> None:
    book = known(*(service(n, count=2) for n in ("a", "b", "c", "d", "e")))
    found = blame(book.graph, fail(book, "a", "b", "c"), at(90), INFER, Past(book.trails))
    assert {e.root.name for e in found} == {"a", "b", "c"}
    assert all(e.confidence > 0.5 for e in found)
