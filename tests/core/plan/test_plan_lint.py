"""Findings over a set, and that "cannot both match" is never said wrongly."""

from __future__ import annotations

import msgspec
import pytest
from consulguard.model import ActionInfo, Match, Matcher, Playbook, State
from consulguard.plan import labels, lint, matches
from consulguard.plan.overlap import can_tie, contradict, narrows
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.core.plan.helpers import playbook, subject

ACTIONS = [
    ActionInfo(name="consul.maintenance", idempotent=True, touches="instance", undoable=True),
    ActionInfo(name="exec.run", idempotent=False, touches="instance"),
    ActionInfo(name="node.delete", idempotent=False, touches="node", destructive=True),
]
LOW = ("priority: 50", "priority: 1")
OTHER = playbook(("name: restart", "name: fail-over"), LOW, ("playbook: fail-over", "notify: x"))


def rules(*books: Playbook) -> list[str]:
    return [f"{f.playbook}:{f.rule}" for f in lint([*books, OTHER], ACTIONS)]


def test_a_good_set_has_no_findings() -> None:
    assert rules(playbook()) == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (("uses: exec.run", "uses: exec.runn"), "unknown-action"),
        (("undo: {uses: consul.maintenance", "undo: {uses: consul.maintenanc"), "unknown-action"),
        (("playbook: fail-over", "playbook: fail-ovr"), "unknown-playbook"),
        (("'meta.unit!=\"\"'", "'scope=\"node\"'"), "unreachable"),
        (("'meta.unit!=\"\"'", "'state=\"warning\"'"), "unreachable"),
        (("'meta.unit!=\"\"'", "'datacenter=\"dc2\"'"), "unreachable"),
        (("'meta.unit!=\"\"'", "'meta.unit=\"a\"', 'meta.unit=\"b\"'"), "unreachable"),
        (("'datacenter=\"dc1\"'", "'service=\"web\"'"), "never-matches"),
        (("    undo: {uses: consul.maintenance, with: {enable: false}}\n", ""), "nothing-to-undo"),
        (("    undo: {uses: consul.maintenance, with: {enable: false}}\n", ""), "missing-undo"),
        (("undo: {uses: consul.maintenance, with: {enable: false}}", "undo: {uses: exec.run}"), "undo-repeats"),
        (("uses: exec.run", "uses: node.delete"), "destructive"),
        (("pay-.*", "pay-.*|cons.*"), "protected"),
    ],
)
def test_each_finding(change: tuple[str, str], rule: str) -> None:
    found = rules(playbook(change))
    assert any(f.endswith(f":{rule}") for f in found), found


def test_a_name_used_twice_is_a_finding() -> None:
    assert rules(playbook(), msgspec.structs.replace(playbook(), priority=7)) == ["restart:duplicate-name"]


def test_acting_without_looking_is_a_finding() -> None:
    book = msgspec.structs.replace(playbook(), verify=None)
    assert rules(book) == ["restart:missing-verify"]


def test_a_step_that_does_what_the_undo_would_do_needs_none() -> None:
    back = "verify:\n"
    book = playbook((back, "  - {name: back, uses: consul.maintenance, with: {enable: false}}\n" + back))
    assert rules(book) == []


def test_escalations_that_run_in_a_circle() -> None:
    one = playbook(("name: restart", "name: a"), ("playbook: fail-over", "playbook: b"))
    two = playbook(("name: restart", "name: b"), LOW, ("playbook: fail-over", "playbook: a"))
    two = msgspec.structs.replace(two, priority=2)
    assert rules(one, two) == ["a:escalation-cycle", "b:escalation-cycle"]


class Params(BaseModel, extra="forbid", strict=True):
    argv: list[str]
    idempotent: bool


def test_parameters_are_checked_by_the_actions_own_model() -> None:
    book = playbook(("idempotent: true", "idempotnt: true"))
    texts = [f.text for f in lint([book, OTHER], ACTIONS, {"exec.run": Params}) if f.rule == "bad-params"]
    assert any("with.idempotent" in t for t in texts)
    assert any("with.idempotnt" in t for t in texts)
    assert lint([playbook(), OTHER], ACTIONS, {"exec.run": Params}) == []


def test_a_finding_says_where() -> None:
    (finding,) = lint([playbook(("uses: exec.run", "uses: exec.rum")), OTHER], ACTIONS)
    assert finding.where == "p.yaml:1"
    assert finding.text == "step restart uses exec.rum, which does not exist; did you mean exec.run?"


# ---- ties


def book(*matchers: tuple[str, str, str], **match: object) -> Playbook:
    made = tuple(Matcher(name=n, op=o, value=v) for n, o, v in matchers)
    return msgspec.structs.replace(playbook(), match=Match(matchers=made, **match))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "two", "tie"),
    [
        (book(), book(), True),
        (book(scope="node"), book(scope="service"), False),
        (book(scope="instance"), book(scope="service"), True),
        (book(scope="any"), book(scope="node"), True),
        (book(role="affected"), book(role="root_cause"), False),
        (book(role="any"), book(role="affected"), True),
        (book(states=(State.WARNING,)), book(states=(State.CRITICAL,)), False),
        (book(("service", "=", "a")), book(("service", "=", "b")), False),
        (book(("service", "=", "a")), book(("service", "!=", "a")), False),
        (book(("service", "=", "a")), book(("service", "=~", "b.*")), False),
        (book(("service", "=", "a")), book(("service", "=~", "a.*")), True),
        (book(("service", "=~", "a|b")), book(("service", "=~", "(c|d)")), False),
        (book(("service", "=~", "a.*")), book(("service", "=~", "b.*")), True),  # not certain, so a tie
        (book(("tag", "=", "a")), book(("tag", "=", "b")), True),
        (book(("tag", "=", "a")), book(("tag", "!=", "a")), False),
        (book(("meta.x", "!=", "")), book(("meta.x", "=", "")), False),
        (book(("service", "=", "a"), scope="instance"), book(("service", "=", "b"), scope="service"), False),
        (book(("meta.x", "=", "a"), scope="instance"), book(("meta.x", "=", "b"), scope="service"), True),
    ],
)
def test_ties(one: Playbook, two: Playbook, tie: bool) -> None:
    assert can_tie(one, two) is tie
    assert can_tie(two, one) is tie
    assert not can_tie(one, msgspec.structs.replace(two, priority=99))


def test_a_tie_is_a_finding() -> None:
    assert rules(playbook(), playbook(("name: restart", "name: again"))) == ["again:tie"]


ANY = st.sampled_from(["", "a", "b", "ab"])
MATCHERS = st.builds(
    Matcher,
    name=st.sampled_from(["service", "tag", "meta.unit"]),
    op=st.sampled_from(["=", "!=", "=~", "!~"]),
    value=st.sampled_from(["", "a", "b", "a|b", "(a|b)", "a.*", ".*", ".+", "b?"]),
)


@settings(max_examples=300)
@given(st.lists(MATCHERS, max_size=4), st.sets(ANY), ANY, ANY)
def test_what_contradicts_is_never_true(found: list[Matcher], tags: set[str], meta: str, service: str) -> None:
    made = dict(labels(subject(tags=tuple(sorted(tags)), meta={"unit": meta} if meta else {})))
    made["service"] = (service,)
    if matches(found, made):
        assert not contradict(found)


@pytest.mark.parametrize(
    ("matcher", "answer"),
    [
        (("service", "=", "web"), True),
        (("service", "=~", "pay-.*"), True),
        (("service", "=~", "(?i)[a-z0-9.-]*"), False),
        (("service", "!=", ""), False),
        (("meta.x", "!=", ""), True),
        (("meta.x", "=", ""), False),
        (("meta.x", "=~", ".+"), True),
        (("kind", "=", ""), False),
        (("kind", "=", "mesh-gateway"), True),
        (("datacenter", "=", "dc1"), False),
        (("namespace", "=", "team-a"), True),
        (("state", "=", "critical"), False),
    ],
)
def test_what_narrows(matcher: tuple[str, str, str], answer: bool) -> None:
    name, op, value = matcher
    assert narrows(Matcher(name=name, op=op, value=value)) is answer
