"""Silences: who is quiet, until when, and that everybody is told when it is over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from consulguard.engine import step
from consulguard.engine.step import restore, snapshot
from consulguard.events import Commanded, Learned, Reply, Tell, Wake, Woke
from consulguard.model import IncidentState, Status
from hypothesis import given
from hypothesis import strategies as st

from tests.core.engine.world import Look, World, instance, moment, service


def say(w: World, second: float, command: str, who: str = "ann", **args: Any) -> Reply:
    event = Commanded(at=moment(second), command=command, who=who, args=args, key="k")
    (reply,) = [e for e in w.feed(event) if isinstance(e, Reply)]
    return reply


def hush(w: World, second: float, *matchers: str, for_s: float = 600.0) -> Reply:
    return say(w, second, "silence", matchers=list(matchers), for_s=for_s, comment="known")


def test_what_is_silenced_from_the_start_is_neither_told_nor_repaired():
    w = World()
    made = hush(w, 0.5, 'service="c"')
    assert (made.ok, made.subject) == (True, "sil-1")
    w.fail(1)
    w.wait(3, 300)
    assert w.told(w.incident.id) == []
    assert [e for e in w.effects if isinstance(e, Look)] == []
    assert w.plan.steps[0].verdict.guard == "silence"


def test_when_it_is_over_that_is_told_and_all_goes_its_way():
    w = World()
    hush(w, 0.5, 'service="c"', for_s=100)
    w.fail(1)
    w.wait(3, 99)
    (begun,) = w.told("sil-1")
    assert (begun.severity, begun.text) == ("silenced", "ann: known")
    _, effects = step(restore(snapshot(w.state)), Woke(at=moment(99.5)))
    (wake,) = [e for e in effects if isinstance(e, Wake)]
    assert wake.at <= moment(100.6), "time alone ends it"
    told = [e.message for e in w.feed(Woke(at=moment(100.5))) if isinstance(e, Tell)]
    assert {m.key: m.severity for m in told} == {"sil-1": "info", w.incident.id: "critical"}
    assert next(m for m in told if m.key == "sil-1").text == "Still failing: c"
    w.confirm(101)
    assert len(w.done()) == 1


def test_a_message_that_was_told_goes_grey_once_and_comes_back():
    w = World()
    w.fail(1)
    w.wait(3, 10)
    assert [m.severity for m in w.told(w.incident.id)] == ["critical"]
    hush(w, 11, 'service="c"', for_s=1000)
    w.fail(15, instance("c", 1))
    w.wait(16, 200)
    assert [m.severity for m in w.told(w.incident.id)] == ["critical", "silenced"]
    assert say(w, 201, "expire", id="sil-1").ok
    assert [m.severity for m in w.told(w.incident.id)] == ["critical", "silenced", "critical"]
    assert w.told("sil-1")[-1].severity == "info"


def test_one_that_ends_while_silenced_says_so_in_its_grey_message():
    w = World()
    w.fail(1)
    w.wait(3, 10)
    hush(w, 11, 'service="c"', for_s=10_000)
    w.see(20, instance("c"), Status.PASSING)
    w.wait(21, 120)
    assert w.incident.state is IncidentState.RESOLVED
    assert [m.severity for m in w.told(w.incident.id)] == ["critical", "silenced", "resolved"]


def test_a_person_may_order_what_nobody_does_by_itself():
    w = World()
    hush(w, 0.5, 'service="c"', for_s=10_000)
    w.fail(1)
    w.wait(3, 70)
    assert say(w, 71, "run", playbook="drain-and-restart", service="c").ok
    w.confirm(72)
    assert len(w.done()) == 1


def test_the_digest_is_quiet_as_well():
    w = World()
    w.fail(1)
    w.wait(3, 10)
    hush(w, 11, 'service="c"', for_s=10_000)
    said = Commanded(at=moment(12), command="digest", who="calendar")
    assert [e for e in w.feed(said) if isinstance(e, Tell)] == []


FITS = {
    'service="c"': True,
    'service=~"b|c"': True,
    'service!="c",datacenter="dc1"': False,
    'datacenter="dc1"': True,
    'datacenter="dc2"': False,
    'scope="instance"': True,
    'node="n0"': True,
    'namespace="default",partition="default"': True,
    'severity="critical"': True,
    'severity="warning"': False,
    'team="payments"': True,
    'meta.tier=~"g.*"': True,
    'meta.tier="silver",service="c"': False,
    'meta.nothing="",service="c"': True,
}


@pytest.mark.parametrize("matchers", FITS)
def test_all_matchers_must_fit_the_root(matchers: str):
    w = World()
    fact = service("c", meta={"tier": "gold", "team": "payments"})
    bare = tuple(i for i in fact.instances or ())
    w.feed(Learned(at=moment(0.1), facts=(type(fact)(**{**fields(fact), "instances": with_meta(bare)}),)))
    w.fail(1)
    assert hush(w, 5, *matchers.split(",")).ok
    assert bool(w.state.hushed) is FITS[matchers]


def fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def with_meta(found: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(type(i)(**{**fields(i), "meta": {"tier": "gold", "team": "payments"}}) for i in found)


def test_it_begins_when_it_was_meant_to():
    w = World()
    w.fail(1)
    w.wait(3, 10)
    made = say(w, 11, "silence", matchers=['service="c"'], for_s=50, comment="later", starts_in_s=20)
    assert made.ok
    assert w.state.hushed == {}
    w.wait(12, 30)
    assert w.state.hushed == {}
    w.wait(31, 36)
    assert w.state.hushed == {w.incident.id: "sil-1"}
    w.wait(81, 86)
    assert w.state.hushed == {}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no matcher": ({"matchers": []}, "1 to 20 matchers"),
    "all that has no value": ({"matchers": ['service=~".*"']}, "fit everything"),
    "only what is not": ({"matchers": ['service!="c"']}, "fit everything"),
    "no such label": ({"matchers": ['sevrice="c"']}, "did you mean service"),
    "no matcher at all": ({"matchers": ["c"]}, "is not a matcher"),
    "a wrong pattern": ({"matchers": ['service=~"("']}, "not a regular expression"),
    "for no time": ({"for_s": 0}, "for_s is a number"),
    "for ever": ({"for_s": 1e9}, "for_s is a number"),
    "for no number": ({"for_s": float("nan")}, "for_s is a number"),
    "for yes": ({"for_s": True}, "for_s is a number"),
    "without a reason": ({"comment": "  "}, "needs a comment"),
    "in the past": ({"starts_in_s": -1}, "starts_in_s"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_meant_changes_nothing(what: str):
    w = World()
    changes, words = WRONG[what]
    reply = say(w, 1, "silence", **{"matchers": ['service="c"'], "for_s": 60, "comment": "x", **changes})
    assert not reply.ok
    assert words in reply.text
    assert w.state.silences == {}


def test_expiring_what_is_not_there_is_told():
    w = World()
    assert "no silence" in say(w, 1, "expire", id="sil-9").text
    hush(w, 2, 'service="c"')
    assert say(w, 3, "expire", id="sil-1").ok
    assert "was over" in say(w, 4, "expire", id="sil-1").text


def test_an_author_is_never_only_the_callers_word():
    w = World()
    say(w, 1, "silence", matchers=['service="c"'], for_s=60, comment="x", author="boss")
    assert w.state.silences["sil-1"].author == "boss (by ann)"


def test_the_oldest_that_are_over_are_forgotten():
    w = World()
    for second in range(1, 130):
        hush(w, second, 'service="c"', for_s=1)
    w.feed(Woke(at=moment(200)))
    assert len(w.state.silences) <= 102
    assert "sil-129" in w.state.silences
    assert len([k for k in w.state.told if k.startswith("sil-")]) <= 102


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 40), st.integers(1, 60)), max_size=5),
    st.lists(st.integers(1, 12), min_size=1, max_size=12),
)
def test_an_incident_is_hushed_exactly_while_a_silence_fits(silences: list[Any], steps: list[int]):
    w = World(playbook="")
    for second, name in ((0.1, "a"), (0.2, "c")):
        w.see(second, instance(name), Status.CRITICAL)
    for name, starts, lasts in silences:
        args = {"matchers": [f'service="{name}"'], "for_s": lasts, "comment": "x", "starts_in_s": starts}
        say(w, 1, "silence", **args)
    now = 1.0
    for gap in steps:
        now += gap
        w.state = restore(snapshot(w.state))
        w.feed(Woke(at=moment(now)))
        for incident in w.state.book.incidents.values():
            at = moment(now)
            fits = [
                s
                for s in w.state.silences.values()
                if s.matchers[0].value == incident.root.name and s.starts_at <= at < s.ends_at
            ]
            assert (incident.id in w.state.hushed) is bool(fits)
            if fits:
                assert w.state.silence_of(incident.id).ends_at == max(s.ends_at for s in fits)
        ahead = [m for s in w.state.silences.values() for m in (s.starts_at, s.ends_at) if m > moment(now)]
        if ahead:
            _, effects = step(restore(snapshot(w.state)), Woke(at=moment(now)))
            wake = next(e.at for e in effects if isinstance(e, Wake))
            assert wake <= min(ahead) + timedelta(seconds=2), "time alone changes something then"
