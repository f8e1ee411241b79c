"""Slack's rendering: the layout people know, and nothing hostile ever gets through."""

from __future__ import annotations

import re

import msgspec
import pytest
from consulguard.model import Incident, JsonObject, Message, Offer, OutboxRow
from consulguard.notify.slack import render
from consulguard.testing import slack_blocks
from hypothesis import given
from hypothesis import strategies as st

from tests.support.messages import START, incident, message

HOSTILE = [
    "<!channel> <@U123> *x*",
    "<https://evil.example|click>",
    "&lt;!here&gt;",
    "\u202egnp.exe",
    "\x1b[31mred\x00",
    "a\nb\r\nc",
    "✅ Approved",
    "\ud800",
    "😀" * 4000,
    "&" * 5000,
    "<" * 149 + "&&",
    "",
    "   ",
    "\u200b",
]


def texts(args: JsonObject) -> list[str]:
    """Every text people may see."""
    found: list[str] = [args["text"]]

    def walk(value: object) -> None:
        if isinstance(value, list):
            for each in value:
                walk(each)
        elif isinstance(value, dict):
            found.extend(v for k, v in value.items() if k in ("text", "fallback") and isinstance(v, str))
            for each in value.values():
                walk(each)

    walk([args["blocks"], args.get("attachments", [])])
    return found


def length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


VERBS = ["approve", "deny", "silence", "ack", "explain", "timeline", "topology", "dance"]
NASTY = st.one_of(
    st.sampled_from(HOSTILE), st.text(max_size=300), st.text(alphabet="<>&!@#\U0001f600a", max_size=4000)
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    subject: Incident | None = None
    if draw(st.booleans()):
        subject = incident(draw(NASTY), tuple(draw(st.lists(NASTY, max_size=8))))
        subject = msgspec.structs.replace(subject, why=tuple(draw(st.lists(NASTY, max_size=9))), id=draw(NASTY))
    return Message(
        key="k",
        version=1,
        severity=draw(st.sampled_from(["critical", "warning", "info", "resolved", "", "<!here>"])),
        title=draw(NASTY),
        at=START,
        incident=subject,
        facts=tuple(draw(st.lists(st.tuples(NASTY, NASTY), max_size=14))),
        thread=tuple(draw(st.lists(NASTY, min_size=1, max_size=30))),
        text=draw(NASTY),
        offers=tuple(
            Offer(id=f"{number}" * draw(st.integers(1, 200)), verb=verb, confirm=draw(NASTY))
            for number, verb in enumerate(draw(st.lists(st.sampled_from(VERBS), max_size=9)))
        ),
    )


def harmless(args: JsonObject) -> None:
    slack_blocks.refuse(args)  # raises what Slack would refuse
    for text in texts(args):
        assert text.strip()
        assert length(text) <= 3000
        assert not set(re.sub(r"&(amp|lt|gt);", "", text)) & set("<>&")
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\ud800-\udfff]", text)
    assert b'"mrkdwn"' not in msgspec.json.encode(args)


@given(messages())
def test_no_message_is_refused_or_harmful(told: Message) -> None:
    harmless(render.parent(told, "https://graphs.example/d/1?var-service={service}&from={incident}"))
    harmless(render.plain(told))


@given(messages(), st.integers(0, 3))
def test_the_whole_thread_is_told_in_order(told: Message, skipped: int) -> None:
    row = OutboxRow(channel="slack", key="k", rev=1, message=told, skipped=skipped)
    left, calls = told.thread, 0
    while left:
        part = msgspec.structs.replace(row, message=msgspec.structs.replace(told, thread=left))
        args, lines = render.reply(part)
        harmless(args)
        assert lines >= 1
        left, calls = left[lines:], calls + 1
    assert calls <= len(told.thread)


def test_the_layout_of_an_incident() -> None:
    facts = (("Playbook", "restart (approve)"), ("root cause", "mine"))
    told = message(title="pay-api: root cause (3 affected)")
    told = msgspec.structs.replace(told, incident=incident(), facts=facts)
    args = render.parent(told)
    [attachment] = args["attachments"]
    header, context, fields, why = attachment["blocks"]
    assert args["text"] == "[CRITICAL] pay-api: root cause (3 affected)"
    assert attachment["color"] == "#a30200"
    assert header == {"type": "header", "text": {"type": "plain_text", "text": args["text"], "emoji": False}}
    assert context["elements"][0]["text"] == (
        "State: open · Severity: critical · Datacenter: dc1 · Since: 2026-01-01 12:00:00Z · Id: INC-7"
    )
    assert [each["text"] for each in fields["fields"]] == [
        "Affected: checkout, cart, frontend",
        "Playbook: restart (approve)",
        "root cause: mine",
    ]
    assert why["text"]["text"].startswith("2 of 2 instances of pay-api are critical\n")


def test_without_a_title_the_incident_gives_one() -> None:
    told = Message(key="k", version=1, severity="critical", title="", at=START, incident=incident())
    assert render.parent(told)["text"] == "[CRITICAL] pay-api: root cause (3 affected)"


def test_many_are_counted_not_listed() -> None:
    crowd = incident(affected=tuple(f"s{n}" for n in range(30)))
    told = msgspec.structs.replace(
        message(), incident=crowd, facts=tuple((f"fact {n}", "x") for n in range(15)), text="one\ntwo"
    )
    fields = [each["text"] for each in render.parent(told)["attachments"][0]["blocks"][2]["fields"]]
    assert fields[1] == "Affected: s0, s1, s2, s3, s4 +25 more"
    assert (len(fields), fields[-1]) == (10, "More: +8 more")


@pytest.mark.parametrize(
    ("severity", "color"),
    [
        ("critical", "#a30200"),
        ("warning", "#daa038"),
        ("resolved", "#2eb886"),
        ("acknowledged", "#daa038"),
        ("silenced", "#dddddd"),
        ("info", "#dddddd"),
        ("?", "#dddddd"),
    ],
)
def test_colours(severity: str, color: str) -> None:
    assert render.parent(message(severity=severity))["attachments"][0]["color"] == color


@given(st.text(alphabet="<>&a\U0001f600", max_size=50), st.integers(1, 40))
def test_escapes_are_never_cut_in_two(value: str, limit: int) -> None:
    told = render.escape(value, limit)
    assert length(told) <= limit
    assert "&" not in re.sub(r"&(amp|lt|gt);", "", told)
    if length(render.escape(value, 1000)) <= limit:
        assert told == render.escape(value, 1000)


def offers(*verbs: str) -> tuple[Offer, ...]:
    return tuple(
        Offer(id=f"id-{verb}", verb=verb, confirm="restart 1 of 3" if verb == "approve" else "") for verb in verbs
    )


def pressed(*verbs: str, dashboard: str = "") -> list[JsonObject]:
    told = msgspec.structs.replace(message(), incident=incident("pay api/2"), offers=offers(*verbs))
    last = render.parent(told, dashboard)["attachments"][0]["blocks"][-1]
    return list(last["elements"]) if last["type"] == "actions" else []


def menu(element: JsonObject) -> list[tuple[str, str]]:
    assert (element["type"], element["action_id"]) == ("overflow", render.MENU)
    return [(option["text"]["text"], option["value"]) for option in element["options"]]


def test_three_buttons_and_the_rest_in_the_menu() -> None:
    *buttons, more = pressed("explain", "timeline", "topology", "ack", "silence", "deny", "approve")
    assert [(b["action_id"], b["value"], b.get("style")) for b in buttons] == [
        ("approve", "id-approve", "primary"),
        ("deny", "id-deny", "danger"),
        ("silence", "id-silence", None),
    ]
    assert buttons[0]["confirm"]["text"]["text"] == "restart 1 of 3"
    assert not {"confirm"} & (buttons[1].keys() | buttons[2].keys())
    assert menu(more) == [
        ("Ack", "id-ack"),
        ("Explain", "id-explain"),
        ("Topology", "id-topology"),
        ("Timeline", "id-timeline"),
    ]


def test_without_a_question_silence_and_ack_are_the_buttons() -> None:
    silence, ack, more = pressed("silence", "ack", "explain", dashboard="https://g.example/{service}?n={node}")
    assert (silence["action_id"], ack["action_id"]) == ("silence", "ack")
    assert menu(more) == [("Explain", "id-explain"), ("Dashboard", "dashboard")]
    assert more["options"][1]["url"] == "https://g.example/pay%20api%2F2?n="
    assert pressed() == []


def test_a_question_is_blue_and_says_so() -> None:
    asked = msgspec.structs.replace(message(), incident=incident(), offers=offers("approve"))
    [attachment] = render.parent(asked)["attachments"]
    assert attachment["color"] == "#1264a3"
    assert attachment["blocks"][1]["elements"][0]["text"].startswith("State: awaiting approval · ")
    assert render.color(msgspec.structs.replace(asked, severity="resolved")) == "#2eb886"
    assert render.color(msgspec.structs.replace(asked, severity="silenced")) == "#dddddd"
