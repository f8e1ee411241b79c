"""Choosing a playbook and saying why."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from consulguard.model import Considered, Match, Matcher, Playbook, Role, State, Subject, Target, View
from consulguard.plan import Choice, choose, labels, matches
from consulguard.policy import Policy
from hypothesis import given
from hypothesis import strategies as st

from tests.core.plan.helpers import AT, playbook, subject

TRUSTED = View(trusted=True)
LATER = AT + timedelta(hours=1)


def chosen(playbooks: list[Playbook], *subjects: Subject) -> tuple[Choice | None, dict[str, Considered]]:
    choice, considered = choose(playbooks, subjects, TRUSTED, LATER, Policy())
    return choice, {c.playbook: c for c in considered}


def because(book: Playbook, *subjects: Subject) -> str:
    choice, considered = chosen([book], *subjects)
    assert choice is None
    assert not considered[book.id].matched
    return considered[book.id].because


def test_the_labels_of_a_subject() -> None:
    found = labels(subject(zone="z1", tags=("a", "b"), checks=("c1", "c2"), output="o", kind="mesh-gateway"))
    assert found == {
        "service": ("pay-api",),
        "instance": ("pay-api-1",),
        "node": ("n1",),
        "zone": ("z1",),
        "datacenter": ("dc1",),
        "partition": ("default",),
        "namespace": ("default",),
        "peer": ("",),
        "kind": ("mesh-gateway",),
        "tag": ("a", "b"),
        "check": ("c1", "c2"),
        "output": ("o",),
        "role": ("root_cause",),
        "scope": ("instance",),
        "state": ("critical",),
        "meta.unit": ("pay-api",),
    }


def test_a_match_and_its_sentence() -> None:
    choice, considered = chosen([playbook()], subject())
    assert choice is not None
    assert choice.subjects == (subject(),)
    assert considered["restart"] == Considered(playbook="restart", matched=True, because="matched pay-api-1")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"scope": "service"}, "it is for scope instance; here is scope service"),
        ({"role": Role.AFFECTED}, "it is for role root_cause; pay-api-1 is affected"),
        ({"state": State.WARNING}, "it is for state critical; pay-api-1 is warning"),
        (
            {"target": Target(dc="dc2", service="pay-x", node="n1", instance="i")},
            'datacenter="dc1" is not true of i',
        ),
        (
            {"target": Target(dc="dc1", service="web", node="n1", instance="i")},
            'service=~"pay-.*" is not true of i',
        ),
    ],
)
def test_the_first_reason_why_not(fields: dict[str, object], says: str) -> None:
    assert says in because(playbook(), subject(**fields))


def test_of_several_subjects_the_reason_of_the_closest_is_told() -> None:
    far, close = subject(scope="service"), subject(state=State.WARNING)
    assert "is warning" in because(playbook(), far, close)
    assert "is warning" in because(playbook(), close, far)


def test_nothing_to_act_on() -> None:
    assert "nothing a playbook could act on" in because(playbook())


def test_the_highest_priority_wins_and_a_tie_goes_to_the_first_name() -> None:
    low, high = playbook(("name: restart", "name: a-low"), ("priority: 50", "priority: 1")), playbook()
    tie = playbook(("name: restart", "name: zz"))
    choice, considered = chosen([tie, low, high], subject())
    assert choice is not None
    assert choice.playbook.id == "restart"
    assert list(considered) == ["restart", "zz", "a-low"]
    assert considered["a-low"].matched
    assert considered["a-low"].because == "matched, but restart goes before it (priority 50 to 1)"


def test_all_matching_subjects_are_chosen_and_only_they() -> None:
    others = [
        subject(target=Target(dc="dc1", service="pay-api", node=f"n{n}", instance=f"p{n}")) for n in range(5)
    ]
    choice, considered = chosen([playbook()], subject(role=Role.AFFECTED), *others)
    assert choice is not None
    assert choice.subjects == tuple(others)
    assert considered["restart"].because == "matched p0, p1, p2 and 2 more"


def test_role_any_scope_any() -> None:
    book = msgspec.structs.replace(playbook(), match=Match(role="any", scope="any", match_all=True), steps=())
    for role in Role:
        choice, considered = chosen([book], subject(role=role, scope="zone"))
        assert choice is not None
        assert considered["restart"].because.endswith("it only tells people")


def test_the_sentence_says_what_it_waits_for() -> None:
    _, fresh = choose([playbook()], [subject()], TRUSTED, AT + timedelta(seconds=42), Policy())
    assert fresh[0].because == "matched pay-api-1; so for 42s of the 90s it asks for"
    _, blind = choose([playbook()], [subject()], View(trusted=False), LATER, Policy())
    assert blind[0].because == "matched pay-api-1; its steps wait until the view is trusted"
    assert fresh[0].matched
    assert blind[0].matched


def test_hostile_output_stays_one_printable_line() -> None:
    book = playbook(("'datacenter=\"dc1\"'", "'output=\"x\"'"))
    text = because(book, subject(output="a\x1b[2J\n<!channel>" + "z" * 5000))
    assert text.isprintable()
    assert len(text) < 200


SUBJECTS = st.builds(
    subject,
    scope=st.sampled_from(["instance", "service", "node", "zone"]),
    role=st.sampled_from(Role),
    state=st.sampled_from(State),
    tags=st.lists(st.sampled_from(["a", "b"]), max_size=2).map(tuple),
)
MATCHERS = st.builds(
    Matcher,
    name=st.sampled_from(["tag", "meta.unit", "zone"]),
    op=st.sampled_from(["=", "!="]),
    value=st.sampled_from("ab"),
)
BOOKS = st.builds(
    lambda number, priority, role, scope, states, matchers: msgspec.structs.replace(
        playbook(),
        id=f"p{number}",
        priority=priority,
        match=Match(role=role, scope=scope, states=states, matchers=tuple(matchers)),
    ),
    st.integers(0, 99),
    st.integers(0, 3),
    st.sampled_from(["root_cause", "affected", "any"]),
    st.sampled_from(["instance", "service", "any"]),
    st.lists(st.sampled_from(State), min_size=1, max_size=3).map(tuple),
    st.lists(MATCHERS, max_size=2),
)


@given(st.lists(BOOKS, max_size=6, unique_by=lambda b: b.id), st.lists(SUBJECTS, max_size=4), st.randoms())
def test_the_choice_is_right_and_does_not_depend_on_the_order(books, subjects, random) -> None:  # type: ignore[no-untyped-def]
    def fits(book: Playbook, one: Subject) -> bool:
        match = book.match
        return (
            match.role in ("any", one.role)
            and match.scope in ("any", one.scope)
            and one.state in match.states
            and matches(match.matchers, labels(one))
        )

    best = [b for b in books if any(fits(b, s) for s in subjects)]
    choice, considered = choose(books, subjects, TRUSTED, LATER, Policy())
    random.shuffle(books)
    assert (choice, considered) == choose(books, subjects, TRUSTED, LATER, Policy())
    assert {c.playbook for c in considered if c.matched} == {b.id for b in best}
    if choice is None:
        assert not best
    else:
        assert choice.playbook == min(best, key=lambda b: (-b.priority, b.id))
        assert list(choice.subjects) == [s for s in subjects if fits(choice.playbook, s)]
