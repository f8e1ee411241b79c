"""A person's word: each is answered, and what it does to an incident is told in its message."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from consulguard.engine.step import restore, snapshot
from consulguard.events import Commanded, Reply, Tell
from consulguard.model import IncidentState, Status

from tests.core.engine.test_ladder import calls, failed_run
from tests.core.engine.test_ladder import world as laddered
from tests.core.engine.world import World, instance, moment

ALL = "pause stop resume rearm digest approve deny run ack assign resolve reopen silence expire click refused what"


def say(w: World, second: float, command: str, who: str = "ann", **args: Any) -> Reply:
    event = Commanded(at=moment(second), command=command, who=who, args=args, key="k")
    (reply,) = [e for e in w.feed(event) if isinstance(e, Reply)]
    return reply


def told() -> World:
    w = World(playbook="")
    w.fail(1)
    w.wait(3, 10)
    return w


@pytest.mark.parametrize("command", ALL.split())
def test_every_word_is_answered_and_nonsense_changes_nothing(command: str):
    w = told()
    before = restore(snapshot(w.state))
    reply = say(w, 10, command)
    assert reply.key == "k"
    assert reply.text
    if command not in ("pause", "stop", "resume", "rearm", "digest"):
        assert not reply.ok
        for field in ("questions", "silences", "offers", "pauses", "runs", "orders"):
            assert getattr(w.state, field) == getattr(before, field)
        assert w.state.book.incidents == before.book.incidents


def test_what_a_door_refused_is_answered_with_the_reason():
    w = told()
    reply = say(w, 11, "refused", verb="approve", subject="q1", why="U7 is a guest")
    assert (reply.ok, reply.text) == (False, "refused: approve q1: U7 is a guest")


def facts(w: World) -> dict[str, str]:
    return dict(w.told(w.incident.id)[-1].facts)


def test_acknowledged_assigned_and_closed_in_one_message():
    w = told()
    assert say(w, 11, "ack", incident=w.incident.id).ok
    assert w.told(w.incident.id)[-1].severity == "acknowledged"
    assert facts(w)["Acknowledged"] == "by ann at 2026-01-01 00:00:11Z"
    assert "already acknowledged by ann" in say(w, 12, "ack", "bob", incident=w.incident.id).text
    assert say(w, 13, "assign", incident=w.incident.id, to="bob").ok
    assert facts(w)["Assigned to"] == "bob"
    refused = say(w, 14, "resolve", incident=w.incident.id)
    assert (refused.ok, "needs a reason" in refused.text) == (False, True)
    assert say(w, 15, "resolve", incident=w.incident.id, reason="known, ticket 7").ok
    assert w.told(w.incident.id)[-1].severity == "resolved"
    assert facts(w)["Resolved by"] == "ann: known, ticket 7"
    versions = [m.version for m in w.told(w.incident.id)]
    assert versions == list(range(1, len(versions) + 1))


def test_closed_with_what_fails_it_is_quiet_until_something_else_does():
    w = told()
    say(w, 11, "resolve", incident=w.incident.id, reason="known")
    so_far = len(w.told())
    w.wait(12, 2000)
    assert len(w.told()) == so_far
    assert w.incident.state is IncidentState.RESOLVED
    for number in (1, 2):
        w.fail(2001, instance("c", number))
    w.wait(2010, 2030)
    assert w.incident.state is IncidentState.OPEN
    assert [m.severity for m in w.told(w.incident.id)][-1] == "critical"
    assert "Resolved by" not in facts(w)


def test_reopened_by_hand_it_is_told_who_did_it():
    w = told()
    w.see(20, instance("c"), Status.PASSING)
    w.wait(21, 120)
    assert w.incident.state is IncidentState.RESOLVED
    assert say(w, 121, "reopen", incident=w.incident.id, reason="users still complain").ok
    w.wait(125, 600)
    assert (w.incident.state, facts(w)["Reopened by"]) == (IncidentState.OPEN, "ann: users still complain")
    assert say(w, 601, "resolve", incident=w.incident.id).ok
    assert w.incident.state is IncidentState.RESOLVED


def test_who_has_acknowledged_is_not_called():
    w = laddered()
    failed_run(w)
    w.wait(70, 100)
    say(w, 101, "ack", incident=w.incident.id)
    w.wait(105, 2000)
    assert calls(w) == []


def test_the_digest_says_who_looks_after_it():
    w = told()
    say(w, 11, "ack", incident=w.incident.id)
    (digest,) = [e for e in w.feed(Commanded(at=moment(12), command="digest", who="x")) if isinstance(e, Tell)]
    assert "ann looks after it" in digest.message.text


@pytest.mark.parametrize("for_s", ["soon", True, -1, 1e12, float("nan"), float("inf"), [1]])
def test_a_pause_for_no_sensible_time_is_refused_not_fatal(for_s: Any):
    w = told()
    assert not say(w, 11, "pause", reason="x", for_s=for_s).ok
    assert w.state.pauses == []


def test_a_snapshot_of_before_can_be_read():
    """What is new has a default, everywhere."""
    w = told()
    new = ("silences", "silenced", "hushing", "hushed", "offers", "offered", "touched", "shelf")
    old = without(msgspec.json.decode(snapshot(w.state)), new)
    w.state = restore(msgspec.json.encode(old))
    assert say(w, 11, "ack", incident=w.incident.id).ok
    assert w.told(w.incident.id)[-1].offers[0].verb == "silence"


def without(value: Any, names: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: without(inner, names) for key, inner in value.items() if key not in names}
    return [without(inner, names) for inner in value] if isinstance(value, list) else value


def test_the_same_journal_gives_the_same_state():
    w = told()
    say(w, 11, "ack", incident=w.incident.id)
    say(w, 12, "silence", matchers=['service="b"'], for_s=60, comment="x")
    say(w, 13, "resolve", incident=w.incident.id, reason="known")
    w.wait(14, 100)
    again = World.__new__(World)
    again.state, again.events, again.effects = type(w.state)(), [], []
    for event in w.events:
        again.feed(event)
        again.state = restore(snapshot(again.state))
    assert snapshot(again.state) == snapshot(w.state)
