"""What people are told of a cause: ranked, with what speaks for and against it, and where we do not know."""

from __future__ import annotations

from consulguard.correlate import Book, blame, learn, remember
from consulguard.correlate.accuse import Past
from consulguard.model import Explanation, Observation, Status
from consulguard.policy import CorrelatePolicy

from tests.core.correlate.world import at, bad, down, graph, inst, judged, roots, service, troubles

INFER = CorrelatePolicy(infer=True)
CALLERS = ("cart", "pay", "shop")


def blamed(*callers: str) -> tuple[Explanation, ...]:
    """These fail and call ledger, which passes."""
    book, units = Book(), [inst(name) for name in callers]
    learn(book, [service("ledger"), *(service(name, "ledger") for name in callers)], at(0))
    remember(book, [Observation(target=u, check="http", status=Status.CRITICAL, at=at(10)) for u in units])
    return blame(book.graph, troubles(*(bad(u, 10) for u in units)), at(90), INFER, Past(book.trails))


def test_what_is_told_of_a_hidden_cause() -> None:
    (one,) = blamed(*CALLERS)
    assert roots([one]) == ["service:ledger"]
    assert one.why[:3] == (
        "3 of 3 known callers of ledger fail (cart, pay, shop), since 12:00:10Z.",
        "ledger's own checks pass: they may not see what its callers see.",
        "All of them depend on nothing else in common.",
    )


def test_what_else_they_share_is_told_where_it_stands() -> None:
    mesh = [service("ledger"), service("mail"), service("web", "mail")]
    mesh += [service(name, "ledger", "mail") for name in CALLERS]
    (one,) = judged(graph(*mesh), *(t for name in CALLERS for t in down(name)))
    assert roots([one]) == ["service:ledger"]
    assert "Nothing else that all of them depend on fails (mail)." in one.why


def test_that_we_do_not_know_is_said_first_and_is_a_mark() -> None:
    found = [one for number in (1, 2, 3) for one in blamed(*CALLERS[:number])]
    for one in found:
        assert one.unknown == one.why[0].startswith("We do not know who is to blame: ")
        assert one.unknown or one.confidence >= 0.5


def test_an_alternative_that_depends_on_the_cause_says_so() -> None:
    (one,) = blamed(*CALLERS)
    assert {a.root.name for a in one.alternatives} <= set(CALLERS)
    assert all(a.why.endswith(", it depends on ledger") for a in one.alternatives)
