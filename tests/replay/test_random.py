"""Whatever happens in whatever order: no error, and a restart in between changes nothing that comes later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from consulguard.engine import step
from consulguard.engine.step import restore, snapshot
from consulguard.events import (
    Commanded,
    Do,
    Learned,
    LeaseChanged,
    Look,
    Looked,
    Observed,
    Probe,
    Resulted,
    Started,
    Woke,
)
from consulguard.model import NodeFact, Observation, Outcome, Result, Status, Target
from hypothesis import given
from hypothesis import strategies as st

from tests.core.engine.world import World, instance, moment, service

NAMES = ("a", "b", "c", "d")  # d is not known to the topology
Draw = Callable[[Any], Any]
Turn = Callable[[World, Draw, float], object]


def observed(w: World, draw: Draw, second: float) -> None:
    seen = draw(
        st.lists(
            st.tuples(st.sampled_from(NAMES), st.integers(0, 2), st.sampled_from(Status), st.sampled_from("xy")),
            min_size=1,
            max_size=6,
        )
    )
    looks = tuple(
        Observation(target=instance(n, i), check=c, status=s, at=moment(second), index=int(second), output=c)
        for n, i, s, c in seen
    )
    w.feed(Observed(at=moment(second), observations=looks))


def node_observed(w: World, draw: Draw, second: float) -> None:
    node, status = Target(dc="dc1", node=f"n{draw(st.integers(0, 3))}"), draw(st.sampled_from(Status))
    look = Observation(target=node, check="serfHealth", status=status, at=moment(second))
    w.feed(Observed(at=moment(second), observations=(look,)))


def viewed(w: World, draw: Draw, second: float) -> None:
    w.view(
        second,
        trusted=draw(st.booleans()),
        settled=draw(st.booleans()),
        instances=draw(st.sampled_from([0, 9, 30])),
    )


def learned(w: World, draw: Draw, second: float) -> None:
    name = draw(st.sampled_from(NAMES))
    fact = service(name, tuple(draw(st.lists(st.sampled_from(NAMES), max_size=2))), count=draw(st.integers(0, 3)))
    node = NodeFact(target=Target(dc="dc1", node=f"n{draw(st.integers(0, 3))}"), at=moment(second))
    w.feed(Learned(at=moment(second), facts=(msgspec.structs.replace(fact, gone=draw(st.booleans())), node)))


def looked(w: World, draw: Draw, second: float) -> None:
    """An answer to a look of ours, or to one that nobody remembers."""
    looks = [e for e in w.effects if isinstance(e, Look)][-3:]
    look = draw(st.sampled_from([*looks, Look(key="run-0/0/1?confirm", target=instance("c"))]))
    w.feed(
        Looked(
            at=moment(second),
            key=look.key,
            target=look.target,
            status=draw(st.sampled_from([Status.CRITICAL, Status.PASSING, Status.MAINTENANCE])),
            error=draw(st.sampled_from(["", "", "no answer"])),
            healthy=draw(st.integers(0, 3)),
            registered=3,
            index=int(second),
        )
    )


def resulted(w: World, draw: Draw, second: float) -> None:
    asked = [e.intent.id for e in w.effects if isinstance(e, Do | Probe)][-2:]
    result = Result(
        intent_id=draw(st.sampled_from([*asked, "run-0/0/1"])),
        outcome=draw(st.sampled_from(Outcome)),
        detail="told",
        started_at=moment(second),
        ended_at=moment(second),
        index=int(second),
    )
    w.feed(Resulted(at=moment(second), result=result))


def commanded(w: World, draw: Draw, second: float) -> None:
    word = draw(st.sampled_from(["pause", "stop", "resume", "resume", "digest", "dance"]))
    args = {"reason": "drill"} | draw(st.sampled_from([{}, {"for_s": 30}]))
    w.feed(Commanded(at=moment(second), command=word, who="ann", args=args))


def restarted(w: World, draw: Draw, second: float) -> None:
    epoch = w.state.epoch
    w.feed(LeaseChanged(at=moment(second), held=False, epoch=epoch))
    if draw(st.booleans()):
        w.feed(Started(at=moment(second), life="next", version="1"))
    w.feed(LeaseChanged(at=moment(second), held=True, epoch=epoch + 1))


def woke(w: World, draw: Draw, second: float) -> None:
    w.feed(Woke(at=moment(second)))


TURNS: tuple[Turn, ...] = (
    observed,
    observed,
    node_observed,
    viewed,
    learned,
    looked,
    looked,
    resulted,
    commanded,
    restarted,
    woke,
)


def on_its_way(w: World) -> float:
    """Half of the stories begin where a run is about to do something."""
    w.fail(1)
    w.wait(3, 63)
    return 64.0


@given(st.data())
def test_no_sequence_raises_and_a_restored_state_goes_on_the_same(data: st.DataObject) -> None:
    w = World()
    second = on_its_way(w) if data.draw(st.booleans()) else 1.0
    begun = len(w.events)
    kept = snapshot(w.state)
    for turn in data.draw(st.lists(st.sampled_from(TURNS), max_size=25)):
        second = max(0.0, second + data.draw(st.sampled_from([-1.0, 0.0, 0.5, 2.0, 10.0, 65.0, 400.0])))
        turn(w, data.draw, second)
        if data.draw(st.integers(0, 9)) == 0:
            begun, kept = len(w.events), snapshot(w.state)
    again, effects = restore(kept), []
    for event in w.events[begun:]:
        again, new = step(again, event)
        effects += new
    assert snapshot(again) == snapshot(w.state)
    fresh = World()
    state = fresh.state
    for event in w.events[len(fresh.events) :]:
        state, _ = step(state, event)
    assert snapshot(state) == snapshot(w.state)
