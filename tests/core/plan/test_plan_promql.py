"""Look-ups in a query: only as label values, and never out of their quotes."""

from __future__ import annotations

import pytest
from consulguard.model import Query, parse_condition
from consulguard.plan import fill, promql
from hypothesis import given
from hypothesis import strategies as st

from tests.core.plan.helpers import changed, playbook, wrong

VERIFY = "  target: {passing_for: 3}\n"
PROMETHEUS = VERIFY + """  prometheus: {query: 'up{service="${target.service}"}', expect: "== 1"}\n"""


def filled(query: str, value: str) -> str:
    return str(fill({"query": query}, {"target": {"service": value}})["query"])


@pytest.mark.parametrize(
    "query",
    [
        "${target.service}",
        "up{service=${target.service}}",
        "up{${target.service}}",
        'up{service="a"} # ${target.service}',
        "up{service=`${target.service}`}",
        'up{service="\\${target.service}"}',
        'label_replace(up, "a", "${target.service}", "", "")',
        '"${target.service}"',
        'a == "${target.service}"',
        'up{a="x"}${target.service}',
        "rate(up[${target.service}])",
    ],
)
def test_anywhere_but_in_a_quoted_label_value_a_lookup_is_refused(query: str) -> None:
    assert list(promql.check(query))
    with pytest.raises(LookupError):
        filled(query, "web")


@pytest.mark.parametrize(
    ("query", "made"),
    [
        ('up{a="${target.service}"}', 'up{a="w.b"}'),
        ("up{a='${target.service}'}", "up{a='w.b'}"),
        ('up{a!= "x-${target.service}-y"}', 'up{a!= "x-w.b-y"}'),
        ('up{a=~"${target.service}-.*"}', 'up{a=~"w\\\\.b-.*"}'),
        ("up{a!~'${target.service}'}", "up{a!~'w\\\\.b'}"),
        ('a{b="\\""} / c{d="${target.service}"}', 'a{b="\\""} / c{d="w.b"}'),
        ("a{b=`\\`} / c{d='${target.service}'}", "a{b=`\\`} / c{d='w.b'}"),
        ('# it\'s\nup{a="${target.service}"}', '# it\'s\nup{a="w.b"}'),
    ],
)
def test_in_a_quoted_label_value_it_is_filled_in(query: str, made: str) -> None:
    assert list(promql.check(query)) == []
    assert filled(query, "w.b") == made


@given(
    value=st.text(
        st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), min_size=1
    ),
    quote=st.sampled_from("\"'"),
)
def test_a_value_never_ends_its_quotes(value: str, quote: str) -> None:
    inner = filled(f"up{{a={quote}${{target.service}}{quote}}}", value).removeprefix(f"up{{a={quote}")
    inner = inner.removesuffix(f"{quote}}}")
    read, chars = "", iter(inner)
    for char in chars:
        assert char != quote
        read += next(chars) if char == "\\" else char
    assert read == value


def test_a_playbook_may_verify_with_a_query() -> None:
    made = playbook((VERIFY, PROMETHEUS)).verify
    assert made is not None
    assert made.prometheus == Query(text='up{service="${target.service}"}', expect="== 1")
    alone = PROMETHEUS.replace("passing_for: 3", "passing_for: 0").replace("${target.service}", "x")
    assert playbook((VERIFY, alone))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"== 1"', '"= 1"', "must be one of"),
        ('"== 1"', "1", "must be text"),
        ('service="${target.service}"', "service=${target.service}", "quoted label value"),
        ("${target.service}", "${target.sevice}", "no value"),
        (', expect: "== 1"', "", "required"),
        ("query:", "querry:", "did you mean query"),
    ],
)
def test_a_wrong_one_is_refused_at_load(old: str, new: str, words: str) -> None:
    assert words in wrong(changed((VERIFY, PROMETHEUS), (old, new)))


def test_a_query_in_a_step_is_checked_alike() -> None:
    gate = "  - {name: gate, uses: prometheus.query, with: {query: 'up{a=${target.service}}', expect: '> 0'}}\n"
    assert "steps[0].with.query" in wrong(changed(("steps:\n", f"steps:\n{gate}")))


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
def test_a_condition_holds_or_its_opposite_does_and_nan_never(value: float, operator: str) -> None:
    opposite = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}[operator]
    both = [Query(text="x", expect=f"{op} 0.5").holds(value) for op in (operator, opposite)]
    assert sum(both) == (0 if value != value else 1)


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "==", "!="])
def test_nan_is_never_as_expected(operator: str) -> None:
    assert not Query(text="x", expect=f"{operator} 5").holds(float("nan"))


@given(st.text(max_size=20))
def test_any_condition_is_read_or_refused_in_a_sentence(text: str) -> None:
    try:
        compare, bound = parse_condition(text)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert compare(bound, bound) in (True, False)
