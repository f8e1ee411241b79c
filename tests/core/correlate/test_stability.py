"""A root does not jump back and forth as evidence trickles in, and what is told of a change is told once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate

from consulguard.correlate import Book, blame, learn, open_incidents, remember, update
from consulguard.correlate.accuse import Past, standing
from consulguard.model import Fact, Incident, IncidentState, Observation, Status, Target, Trouble
from consulguard.policy import CorrelatePolicy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.correlate.world import at, bad, inst, node, place, service, troubles

INFER = CorrelatePolicy(infer=True)
CHAIN: list[Fact] = [
    service("web", "cart", "list", count=2),
    service("cart", "db", count=2),
    service("list", "db", count=2),
    service("db", count=2),
]
UNITS = [inst(name, number=n) for name in ("web", "cart", "list", "db") for n in (1, 2)]

Look = tuple[float, Target, bool]  # seconds, unit, whether it fails


def known(*facts: Fact) -> Book:
    book = Book()
    learn(book, facts, at(0))
    return book


def trickle(book: Book, looks: Iterable[Look]) -> Iterator[list[Incident]]:
    """Look by look; what was told after each."""
    failing: dict[str, Trouble] = {}
    for seconds, unit, fails in looks:
        status = Status.CRITICAL if fails else Status.PASSING
        remember(book, [Observation(target=unit, check="service", status=status, at=at(seconds))])
        if fails:
            failing.update(troubles(bad(unit, seconds)))
        else:
            failing.pop(unit.key, None)
        yield update(book, failing, at(seconds), INFER)


def roots(told: Iterable[list[Incident]]) -> dict[str, list[str]]:
    """By incident: its roots, one after the other."""
    found: dict[str, list[str]] = {}
    for incidents in told:
        for incident in incidents:
            mine = found.setdefault(incident.id, [])
            name = f"{incident.root.kind} {incident.root.instance or incident.root.name}"
            if mine[-1:] != [name]:
                mine.append(name)
    return found


@settings(max_examples=60)
@given(st.permutations(UNITS), st.lists(st.integers(0, 15), min_size=8, max_size=8))
def test_in_whatever_order_a_fault_shows_its_root_moves_on_and_never_back(
    order: list[Target], waits: list[int]
) -> None:
    looks: list[Look] = []
    seconds = 10.0
    for unit, wait in zip(order, waits, strict=True):
        seconds += wait
        looks.append((seconds, unit, True))
    for mine in roots(trickle(known(*CHAIN), looks)).values():
        assert len(set(mine)) == len(mine)


@settings(max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_a_root_one_unit_of_which_comes_and_goes_stays_the_service(flaps: list[bool]) -> None:
    units = [inst("db", number=n) for n in (1, 2, 3)]
    looks: list[Look] = [(10.0, unit, True) for unit in units]
    looks += [(20.0 + 10 * n, units[n % 2], fails) for n, fails in enumerate(flaps)]
    for mine in roots(trickle(known(service("db", count=3)), looks)).values():
        assert mine[mine.index("service db") :] == ["service db"]


def test_a_change_of_mind_is_told_once() -> None:
    book = known(*CHAIN)
    looks: list[Look] = [(10.0, unit, True) for unit in UNITS if unit.service != "db"]
    looks += [(30.0, unit, True) for unit in UNITS if unit.service == "db"]
    told = list(trickle(book, looks))
    named = [i for incidents in told for i in incidents if i.root.name == "db"]
    assert len({(i.root, i.root_since) for i in named}) == 1
    failing = troubles(*(bad(unit, seconds) for seconds, unit, _ in looks))
    assert update(book, failing, at(31), INFER) == []


def test_an_incident_that_fails_elsewhere_as_well_does_not_only_shrink() -> None:
    """What is left of a zone's trouble goes on as that, and what fails beyond it is told apart, each once."""
    sick = [bad(inst("db", "w1", 1)), bad(node("w2"))]
    book = known(
        *(place(name, zone) for name, zone in (("w1", "west"), ("w2", "west"), ("e1", "east"))),
        service("db", nodes=("w1", "w2", "e1", "x1")),
        service("web", nodes=("x1", "w2")),
        *(service(name, nodes=("x1",)) for name in ("mail", "list", "cart")),
    )
    update(book, troubles(*sick), at(0), CorrelatePolicy())
    assert [i.root.kind for i in book.incidents.values()] == ["zone"]
    told = update(book, troubles(*sick, bad(inst("db", "e1", 3))), at(25), CorrelatePolicy())
    assert {(i.root.name, i.version) for i in told} == {("w2", 2), ("db", 1)}
    assert book.abating == {}


SHARED: list[Fact] = [
    *(place(name) for name in ("c1", "c2")),
    *(service(name, nodes=("c1", "c2")) for name in ("web", "cart")),
    *(service(name, nodes=("c2",)) for name in ("db", "list", "mail", "user")),
]


def test_whether_something_else_is_likelier_is_said_of_one_moment() -> None:
    """Three fail on one node, which at first is likelier than each. Small steps of chances are not told."""
    book, units = known(*SHARED), [inst(name, "c2") for name in ("db", "list", "mail")]
    failing = troubles(*(bad(unit, 10) for unit in units))
    for unit in units:
        remember(book, [Observation(target=unit, check=unit.instance, status=Status.CRITICAL, at=at(10))])
    answers = set()
    for seconds in range(11, 131, 3):
        past = Past(book.trails, standing(incident.root for incident in open_incidents(book)))
        found = blame(book.graph, failing, at(seconds), INFER, past)
        update(book, failing, at(seconds), INFER)
        told = {incident.root: incident for incident in open_incidents(book)}
        for one in found:
            likelier = one.unknown and any(other.confidence > one.confidence for other in one.alternatives)
            assert (told[one.root].likelier is not None) is likelier
            answers.add(likelier)
    assert answers == {True, False}


@settings(max_examples=40)
@given(st.permutations(UNITS), st.lists(st.integers(0, 15), min_size=8, max_size=8))
def test_at_every_moment_the_sentences_name_the_chances_that_are_shown(
    order: list[Target], waits: list[int]
) -> None:
    book, seconds = known(*CHAIN), list(accumulate(waits, initial=10.0))
    looks = [(when, unit, True) for when, unit in zip(seconds[1:], order, strict=True)]
    for _ in trickle(book, looks):
        for incident in book.incidents.values():
            if incident.state is not IncidentState.MERGED:
                assert _spoken(incident) == _shown(incident)


def _spoken(incident: Incident) -> list[str]:
    """Every chance in a sentence."""
    return re.findall(r"(?:chance of |\()(\d+%)", "\n".join(incident.why))


def _shown(incident: Incident) -> list[str]:
    own = [f"{incident.confidence:.0%}"] if incident.unknown else []
    return own + [f"{other.confidence:.0%}" for other in incident.alternatives]
