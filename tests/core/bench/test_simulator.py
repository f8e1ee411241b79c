"""The fault simulator: the same by its seed, and what it shows comes from what it says is true."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import Any

import pytest
from bench.correlation.checks import Ill, flips
from bench.correlation.faults import KINDS
from bench.correlation.meshes import LARGE, PUBLIC, calls_of
from bench.correlation.simulate import Case, case, cases
from bench.correlation.world import Check, world

CHECK = Check("http", every_s=10.0, failures_before_critical=0, success_before_passing=0, own=1.0, deps=1.0)
SMALL = tuple(PUBLIC)


class Fair(random.Random):
    """Chances below a half do not come true: nothing is lost or late, every probe of what is ill fails."""

    def random(self) -> float:
        return 0.5


def quiet(kind: str, mesh: str = "train-ticket", count: int = 12) -> Iterator[Case]:
    """Cases in a mesh whose checks never blip."""
    for n in range(count):
        calm = replace(world(mesh, n % 2, 0), noise_rate=1e-12)
        if (made := case(calm, kind, random.Random(f"{kind}/{n}"))) is not None:
            yield made


def failing(made: Case, service: str) -> list[dict[str, Any]]:
    return [e for e in made.events if e["service"] == service and e["t"] >= 0 and e["status"] != "passing"]


# ---- the whole


def test_the_same_seed_gives_the_same_cases() -> None:
    def told(seed: int) -> list[Any]:
        return [(c.name, c.mesh, c.topology, c.events, c.now, c.truth) for c in cases(18, seed, meshes=SMALL)]

    first = told(3)
    world.cache_clear()
    assert told(3) == first
    assert told(4) != first


def test_the_kinds_take_turns() -> None:
    assert [c.kind for c in cases(12, meshes=SMALL)] == list(KINDS) * 2


@pytest.mark.parametrize("mesh", [*SMALL, "power-law-1k"])
def test_a_topology_holds_together(mesh: str) -> None:
    calls = calls_of(mesh)
    shown = world(mesh, 0, 0).topology
    assert all(callee in calls and callee != caller for caller, callees in calls.items() for callee in callees)
    assert shown["services"] == list(calls)
    assert len(calls) == LARGE.get(mesh, len(calls))
    assert set(shown["instances"].values()) == set(calls)
    assert set(shown["nodes"]) == set(shown["instances"])
    assert set(shown["nodes"].values()) <= set(shown["zones"])
    assert {service for edge in shown["edges"] for service in edge} <= set(calls)
    assert len(set(map(tuple, shown["edges"]))) == len(shown["edges"])


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_flips_in_order_until_now(kind: str) -> None:
    for made in cases(10, kinds=[kind], meshes=SMALL):
        last: dict[tuple[str, str, str], str] = {}
        assert [e["t"] for e in made.events] == sorted(e["t"] for e in made.events)
        for event in made.events:
            key = event["instance"], event.get("node", ""), event["check"]
            assert event["t"] <= made.now
            assert event["status"] != last.get(key, "passing")
            last[key] = event["status"]


# ---- what is true, and what shows


@pytest.mark.parametrize("kind", ["service", "double"])
def test_a_broken_service_fails_its_own_check_unless_it_is_hidden(kind: str) -> None:
    for made in quiet(kind):
        assert len(made.truth) == 1 + (kind == "double")
        shown = [service for service in made.truth if failing(made, service)]
        assert shown if kind == "double" else shown == list(made.truth)


def test_a_hidden_root_is_green_and_some_caller_fails() -> None:
    for made in quiet("hidden"):
        (root,) = made.truth
        assert not failing(made, root)
        assert made.world is not None
        assert made.callers_failing
        assert made.callers_failing <= sum(bool(failing(made, c)) for c in made.world.callers[root])
        assert made.family.startswith("hidden, >=" if made.callers_failing >= 2 else "hidden, <")


def test_a_dead_node_is_told_by_serf_and_its_checks_freeze() -> None:
    dead = 0
    for made in quiet("node", count=20):
        (root,) = made.truth
        node = root.removeprefix("node:")
        serf = [e for e in made.events if e["check"] == "serfHealth"]
        if serf:
            dead += 1
            assert [e["node"] for e in serf] == [node]
            there = [e for e in made.events if made.topology["nodes"].get(e["instance"]) == node]
            assert all(e["t"] < 45 for e in there)  # nothing but answers that came late
    assert dead


def test_a_zone_takes_its_nodes_with_it() -> None:
    for made in quiet("zone"):
        (root,) = made.truth
        hit = {e.get("node") or made.topology["nodes"][e["instance"]] for e in made.events if e["t"] >= 0}
        assert sum(made.topology["zones"][node] == root.removeprefix("zone:") for node in hit) >= 1


def test_where_nothing_is_at_fault_only_what_is_planned_or_noisy_shows() -> None:
    for made in quiet("none", count=30):
        assert made.truth == frozenset()
        planned = {
            made.topology["nodes"].get(e["instance"], e.get("node")) for e in made.events if e["check"][0] == "_"
        }
        others = {
            e["service"]
            for e in made.events
            if e["service"] and made.topology["nodes"][e["instance"]] not in planned
        }
        assert len(others) <= 5  # three flappers, an old trouble, a deploy


def test_nothing_flips_in_a_quiet_mesh() -> None:
    assert min(len(made.events) for made in quiet("none", count=20)) == 0


# ---- one check


def seen(check: Check, *ills: Ill, now: float = 100.0, frozen: float = inf) -> list[tuple[float, str]]:
    """Rounded down to whole seconds; probes are at -5, 5, 15 ..."""
    return [(int(at), status) for at, status in flips(check, ills, now, Fair(), frozen)]


def test_a_check_fails_from_the_first_probe_on_and_passes_again() -> None:
    assert seen(CHECK, Ill(10, 40)) == [(15, "critical"), (45, "passing")]


def test_thresholds_count_probes_in_a_row() -> None:
    slow = replace(CHECK, failures_before_critical=3, success_before_passing=2)
    assert seen(slow, Ill(10, 40)) == [(35, "critical"), (55, "passing")]
    assert seen(slow, Ill(10, 30)) == []


def test_a_soft_check_warns() -> None:
    assert seen(replace(CHECK, soft=True), Ill(10, 200)) == [(15, "warning")]


def test_a_ttl_check_is_critical_when_no_beat_came_for_so_long() -> None:
    ttl = replace(CHECK, name="ttl", ttl_s=30.0)
    assert seen(ttl, Ill(10, 60)) == [(35, "critical"), (65, "passing")]
    assert seen(ttl, Ill(10, 30)) == []


def test_the_check_of_a_dead_node_says_nothing_new() -> None:
    assert seen(CHECK, Ill(10, 200), frozen=5) == []
    assert seen(CHECK, Ill(10, 40), frozen=20) == [(15, "critical")]


def test_what_is_ill_for_hours_flipped_once() -> None:
    assert seen(CHECK, Ill(-7_200, inf)) == [(-7_200, "critical")]
