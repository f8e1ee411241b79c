"""Matchers against a reference in Python's own re, and what is refused."""

from __future__ import annotations

import re
import time

import pytest
from consulguard.model import Matcher
from consulguard.plan.matcher import format_matcher, holds, matches, parse_matcher
from hypothesis import given
from hypothesis import strategies as st

WORDS = st.text("ab-.\n", max_size=4)
PATTERNS = st.sampled_from(["a", "a.*", ".*", ".+", "a|b", "(a|b)+", "", "a?b*", "[ab-]+", r"\.", "^a", "b$"])


def reference(matcher: Matcher, values: list[str]) -> bool:
    present = values or [""]
    if matcher.op in ("=", "!="):
        hit = any(v == matcher.value for v in present)
    else:
        hit = any(re.fullmatch(matcher.value, v, re.S) for v in present)
    return hit if matcher.op in ("=", "=~") else not hit


@given(st.sampled_from(["=", "!=", "=~", "!~"]), WORDS, PATTERNS, st.lists(WORDS, max_size=3))
def test_holds_like_the_reference(op: str, word: str, pattern: str, values: list[str]) -> None:
    matcher = Matcher(name="tag", op=op, value=pattern if "~" in op else word)
    assert holds(matcher, values) == reference(matcher, values)


@given(st.sampled_from(["=", "!="]), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_notation_there_and_back(op: str, value: str) -> None:
    matcher = Matcher(name="meta.x", op=op, value=value.replace("${", "").replace("{{", ""))
    assert parse_matcher(format_matcher(matcher)) == matcher


@pytest.mark.parametrize(
    ("text", "name", "op", "value"),
    [
        ('service="web"', "service", "=", "web"),
        ('service != "web"', "service", "!=", "web"),
        ("service=web", "service", "=", "web"),
        ("service=", "service", "=", ""),
        (r'service=~"pay-\d+\.x"', "service", "=~", r"pay-\d+\.x"),
        (r'meta.note="say \"hi\""', "meta.note", "=", 'say "hi"'),
        ('meta.consulguard.io/restart-url!=""', "meta.consulguard.io/restart-url", "!=", ""),
        ('tag!~"a|b"', "tag", "!~", "a|b"),
    ],
)
def test_notation(text: str, name: str, op: str, value: str) -> None:
    assert parse_matcher(text) == Matcher(name=name, op=op, value=value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "service", "=x", '="x"', 'service=="x"', 'service="x', 'service="x" y', "service='x'", 'servce="x"'),
        *('meta.="x"', 'service=~"("', 'service=~"a(?=b)"', 'service=~"(a)\\1"', 'service=~"' + "a" * 2000 + '"'),
        *('service=~"(((a{100}){100}){100})"', 'service="${target.service}"', 'service="{{x}}"', 'a b="c"'),
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_matcher(text)
    assert "\n" not in str(caught.value)


def test_did_you_mean() -> None:
    with pytest.raises(ValueError, match="did you mean service"):
        parse_matcher('servce="x"')


def test_item_19_a_pattern_that_explodes_elsewhere_takes_no_time_here() -> None:
    matcher = parse_matcher('output=~"(a+)+$"')
    start = time.perf_counter()
    assert not holds(matcher, ["a" * 4096 + "b"])
    assert time.perf_counter() - start < 1


def test_item_20_the_whole_value_must_match() -> None:
    assert not holds(parse_matcher('service=~"^web$"'), ["web\n"])
    assert not holds(parse_matcher('service=~"web"'), ["web2"])
    assert not holds(parse_matcher('service="web"'), ["ｗｅｂ"])
    assert holds(parse_matcher('output=~".*refused"'), ["connect:\nrefused"])


def test_values_consul_should_never_send_are_no_error() -> None:
    assert not holds(parse_matcher('output=~"a"'), ["\ud800"])


def test_missing_is_empty_and_all_must_hold() -> None:
    assert holds(parse_matcher('meta.x=""'), [])
    assert not holds(parse_matcher('meta.x!=""'), [])
    both = [parse_matcher('service="a"'), parse_matcher('tag="t"')]
    assert matches(both, {"service": ("a",), "tag": ("s", "t")})
    assert not matches(both, {"service": ("a",)})
