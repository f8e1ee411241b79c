"""When services are probed: only where allowed, suspects first, at a pace, and what the answer then decides."""

from __future__ import annotations

from typing import Any

from consulguard.engine.step import restore, snapshot, step
from consulguard.events import Commanded, Configured, Knock, Knocked, LeaseChanged, Started
from consulguard.model import DoorAnswer, Mode, Reaction, Status, Target
from consulguard.policy import CorrelatePolicy, Policy, ProbePolicy

from tests.core.engine.world import World, instance, moment

C = Target(dc="dc1", service="c")


def world(*services: str, infer: bool = True, **probe: Any) -> World:
    """a -> b -> c; whoever is named may be probed."""
    allowed = ProbePolicy(services=services, **probe)
    correlate = CorrelatePolicy(infer=infer, probe=allowed)
    return World("", policy=Policy(mode=Mode.OBSERVE, correlate=correlate))


def knocks(mesh: World) -> list[str]:
    """Who was probed since the last time somebody asked."""
    found = [e.service.service for e in mesh.effects if isinstance(e, Knock)]
    mesh.effects.clear()
    return found


def answers(mesh: World, second: float, how: Reaction, service: Target = C) -> None:
    met = DoorAnswer(service=service, how=how, kind="http", address="10.0.0.5:80", took_s=2.0)
    mesh.feed(Knocked(at=moment(second), answers=(met,)))


def b_fails(mesh: World, second: float) -> None:
    for number in range(3):
        mesh.fail(second, instance("b", number))


def root(mesh: World) -> str:
    return mesh.incident.root.name


def test_nobody_is_probed_who_is_not_on_the_list() -> None:
    for mesh in (world(), world("c", infer=False), world("nobody")):
        b_fails(mesh, 10)
        mesh.wait(15, 120)
        assert knocks(mesh) == []
        assert mesh.state.book.doors == {}


def test_who_is_well_is_probed_at_once_and_then_rarely() -> None:
    mesh = world("c")
    assert knocks(mesh) == ["c"]
    answers(mesh, 1, Reaction.WELL)
    mesh.wait(5, 595)
    assert knocks(mesh) == []
    mesh.wait(600, 605)
    assert knocks(mesh) == ["c"]


def test_a_suspect_is_probed_while_the_incident_lasts_and_named_by_its_answer() -> None:
    mesh = world("c")
    answers(mesh, 1, Reaction.WELL)
    b_fails(mesh, 40)
    assert root(mesh) == "b"
    assert knocks(mesh)[-1:] == ["c"]
    answers(mesh, 44, Reaction.TIMEOUT)
    assert root(mesh) == "c"
    assert "A probe of c at 10.0.0.5:80 timed out after 2 s." in mesh.incident.why
    mesh.wait(50, 160)
    assert knocks(mesh) == ["c"] * 4, "every half minute, as a hidden root"
    for number in range(3):
        mesh.see(165, instance("b", number), Status.PASSING)
    mesh.wait(170, 280)
    assert knocks(mesh) == [], "the incident is over"


def test_a_failing_service_is_not_probed() -> None:
    mesh = world("b")
    knocks(mesh)
    b_fails(mesh, 40)
    mesh.wait(50, 700)
    assert knocks(mesh) == []


def test_no_more_are_probed_in_a_minute_than_allowed() -> None:
    mesh = world("a", "b", "c", most=2)
    assert knocks(mesh) == ["a", "b"]
    mesh.wait(5, 55)
    assert knocks(mesh) == []
    mesh.wait(60, 65)
    assert knocks(mesh) == ["c"]


def test_suspects_come_before_who_is_well() -> None:
    mesh = world("a", "c", most=1, every_s=1.0, well_s=1.0)
    knocks(mesh)
    b_fails(mesh, 30)
    mesh.wait(32, 62)
    assert knocks(mesh) == ["c"]


def test_who_does_not_lead_see_or_is_paused_knocks_at_nobodys_door() -> None:
    mesh = world("c")
    knocks(mesh)
    mesh.feed(LeaseChanged(at=moment(5), held=False, epoch=1, reason="lost"))
    mesh.wait(10, 700)
    assert knocks(mesh) == []
    mesh.feed(LeaseChanged(at=moment(700), held=True, epoch=2))
    assert knocks(mesh) == ["c"]
    mesh.view(701, trusted=False)
    mesh.feed(Commanded(at=moment(1400), command="pause", who="op", args={"reason": "r"}))
    assert knocks(mesh) == []
    mesh.wait(1405, 1410)
    assert knocks(mesh) == []


def test_another_life_knows_no_door() -> None:
    mesh = world("c")
    answers(mesh, 1, Reaction.WELL)
    mesh.feed(Started(at=moment(10), life="2", version="1"))
    assert mesh.state.book.doors == {}
    mesh.view(11)
    assert knocks(mesh)[-1:] == ["c"]


def test_switched_off_nothing_of_it_is_left() -> None:
    mesh = world("c")
    answers(mesh, 1, Reaction.WELL)
    correlate = CorrelatePolicy(infer=True)
    mesh.feed(Configured(at=moment(5), policy=Policy(correlate=correlate), playbooks=()))
    assert (mesh.state.book.doors, mesh.state.book.knocks) == ({}, [])


def test_a_snapshot_keeps_doors_and_a_replay_makes_the_same_decisions() -> None:
    mesh = world("c")
    answers(mesh, 1, Reaction.WELL)
    half = restore(snapshot(mesh.state))
    assert half.book.doors == mesh.state.book.doors
    seen = len(mesh.events)
    b_fails(mesh, 40)
    answers(mesh, 44, Reaction.REFUSED)
    for event in mesh.events[seen:]:
        half, _ = step(half, event)
    assert snapshot(half) == snapshot(mesh.state)
    assert root(mesh) == "c"
