"""Reminders and digests: what the calendar asks for, and nothing twice."""

from __future__ import annotations

import pytest
from consulguard.engine import step
from consulguard.engine.remind import to_remind
from consulguard.engine.step import restore, snapshot
from consulguard.events import Commanded, Tell
from consulguard.model import Status

from tests.core.engine.world import World, instance, moment

AFTER_S = 1800.0


def failing() -> World:
    """One incident that no playbook matches, told a while ago."""
    w = World(playbook="")
    w.fail(1)
    w.wait(3, 63)
    assert len(w.told(w.incident.id)) >= 1
    return w


def remind(w: World, second: float) -> list[str]:
    """The thread lines of one look of the calendar."""
    told = w.feed(Commanded(at=moment(second), command="remind", who="calendar", args={"after_s": AFTER_S}))
    return [line for e in told if isinstance(e, Tell) for line in e.message.thread]


def test_what_nobody_took_is_brought_up_ever_more_rarely() -> None:
    w = failing()
    said = [(hour, line) for hour in range(25) for line in remind(w, hour * 3600 + 63)]
    assert [hour for hour, _ in said] == [1, 2, 4, 8, 16]
    assert said[0][1] == "still open after 1 h 1 min, and nobody has taken it"


@pytest.mark.parametrize(("second", "count"), [(1700, 0), (1900, 1), (3000, 0)])
def test_a_reminder_has_its_time(second: float, count: int) -> None:
    w = failing()
    if second == 3000:
        assert remind(w, 1900)
    assert len(to_remind(w.state, AFTER_S, moment(second))) == count
    assert len(remind(w, second)) == count


def test_the_message_stays_as_it_is_and_so_does_its_version_order() -> None:
    w = failing()
    before = w.told(w.incident.id)[-1]
    remind(w, 1900)
    after = w.told(w.incident.id)[-1]
    assert (after.version, after.title, after.severity) == (before.version + 1, before.title, before.severity)
    w.state = restore(snapshot(w.state))
    assert remind(w, 1960) == []


def test_steps_told_later_are_not_lost_behind_a_reminder() -> None:
    w = World()
    w.fail(1)
    w.wait(3, 30)
    remind(w, 40)
    w.state, _ = step(w.state, Commanded(at=moment(41), command="remind", who="calendar", args={"after_s": 5.0}))
    w.wait(45, 66)
    w.confirm(67)
    told = [line for message in w.told(w.incident.id) for line in message.thread]
    assert list(w.run.log) == told


def test_what_is_over_is_not_brought_up() -> None:
    w = failing()
    w.see(70, instance("c"), Status.PASSING)
    w.wait(71, 200)
    assert remind(w, 4000) == []
    assert to_remind(w.state, 0.0, moment(4000)) == []


def test_a_digest_is_a_message_of_its_own_each_time_and_none_while_nothing_fails() -> None:
    w = failing()
    for hour in (4, 8):
        w.feed(Commanded(at=moment(hour * 3600), command="digest", who="calendar"))
    digests = [m for m in w.told() if m.key.startswith("digest")]
    assert [m.title for m in digests] == ["Digest: 1 still failing"] * 2
    assert len({m.key for m in digests}) == 2
    assert w.incident.id in digests[0].text
    assert sum(key.startswith("digest") for key in w.state.told) == 1
    w.see(30_000, instance("c"), Status.PASSING)
    w.wait(30_001, 30_200)
    w.feed(Commanded(at=moment(31_000), command="digest", who="calendar"))
    assert sum(m.key.startswith("digest") for m in w.told()) == 2
