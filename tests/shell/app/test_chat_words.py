"""What is typed: words to verbs, and what the bot says back within Slack's limits."""

from __future__ import annotations

from typing import Any

import pytest
from consulguard.app.chat import tell, words
from consulguard.testing import slack_blocks, slack_views
from hypothesis import given
from hypothesis import strategies as st

ALL = tuple(words.FORMS)


@pytest.mark.parametrize(
    ("text", "verb", "args"),
    [
        ("", "help", {}),
        ("  HELP me", "help", {}),
        ("status", "status", {}),
        ("status pay", "status", {"service": "pay"}),
        ("show inc-1", "show", {"incident": "inc-1"}),
        ("explain pay", "explain", {"subject": "pay"}),
        ("run fix pay", "run", {"playbook": "fix", "service": "pay", "dry_run": False}),
        ("run fix pay --dry-run", "run", {"playbook": "fix", "service": "pay", "dry_run": True}),
        ("deny 0123ab  not during the sale ", "deny", {"id": "0123ab", "reason": "not during the sale"}),
        ("assign inc-1 <@U0123|bob>", "assign", {"incident": "inc-1", "to": "U0123"}),
        ("assign inc-1 the night shift", "assign", {"incident": "inc-1", "to": "the night shift"}),
        ("resolve inc-1", "resolve", {"incident": "inc-1", "reason": ""}),
        ("pause deploy &amp; test", "pause", {"reason": "deploy & test"}),
        ("pause 1h deploy", "pause", {"for_s": 3600.0, "reason": "deploy"}),
        ("resume", "resume", {}),
        ("resume deploy", "resume", {"reason": "deploy"}),
        (
            "silence service=~“pay-.*” node=n1 2h a move, 1h at most",
            "silence",
            {"matchers": ['service=~"pay-.*"', "node=n1"], "for_s": 7200.0, "comment": "a move, 1h at most"},
        ),
        (
            'silence output="a b" 30m why',
            "silence",
            {"matchers": ['output="a b"'], "for_s": 1800.0, "comment": "why"},
        ),
    ],
)
def test_words_become_a_verb_and_its_arguments(text: str, verb: str, args: dict[str, Any]) -> None:
    assert words.parse(text, ALL) == words.Asked(verb=verb, args=args)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("aprove 12", "did you mean approve?"),
        ("statsu", "did you mean status?"),
        ("frobnicate", "try help"),
        ("deny 123456", "Say why. Usage: deny ID REASON"),
        ("show", "Usage: show INCIDENT"),
        ("incidents now", "It takes no argument"),
        ("run fix", "Usage: run PLAYBOOK SERVICE [--dry-run]"),
        ("silence service=pay forever x", "Usage: silence"),
        ("silence 1h x", "Usage: silence"),
        ("silence service=pay 1h", "Say why"),
        ("pause", "Say why"),
        ("pause " + "x" * 501, "more than 500"),
    ],
)
def test_what_is_wrong_is_said_with_the_way_out(text: str, hint: str) -> None:
    assert hint in words.parse(text, ALL).problem


def test_a_suggestion_is_something_the_caller_may_say() -> None:
    assert "approve" not in words.parse("aprove 12", ("help", "status")).problem


@given(st.text(max_size=200))
def test_nothing_typed_breaks_the_reader(text: str) -> None:
    asked = words.parse(text, ALL)
    assert asked.problem or asked.verb in words.FORMS


HOSTILE = st.one_of(
    st.text(max_size=900),
    st.sampled_from(
        ["<!channel>", "<@U123>", "*b* _i_ `c`", "&" * 3000, "<http://x|y>", "\u202e\u0000", "🤖" * 900]
    ),
)


@given(st.lists(HOSTILE, max_size=60))
def test_whatever_is_said_is_plain_text_within_slacks_limits(lines: list[str]) -> None:
    body = tell.said(lines)
    slack_blocks.refuse(body)
    for text in [body["text"], *(block["text"]["text"] for block in body["blocks"])]:
        assert "<" not in text
        assert ">" not in text
    assert all(block["text"]["type"] == "plain_text" for block in body["blocks"])


def test_what_does_not_fit_is_counted() -> None:
    body = tell.said(["x" * 500] * 100)
    told = sum(block["text"]["text"].count("x" * 500) for block in body["blocks"])
    assert body["blocks"][-1]["text"]["text"].endswith(f"+{100 - told} more lines")


@given(HOSTILE, st.text(max_size=500))
def test_forms_are_such_as_slack_takes(about: str, metadata: str) -> None:
    for form in (tell.deny_form, tell.silence_form):
        assert slack_views.problems(form(metadata, about)) == []
