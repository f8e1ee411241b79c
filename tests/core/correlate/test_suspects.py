"""Whom the evidence accuses: services, places, hidden causes, two at once, and nobody."""

from __future__ import annotations

from typing import Any

import pytest
from consulguard.testing import rank

from tests.core.correlate.meshes import critical, mesh, passing, warning


def accused(topology: dict[str, Any], *flips: dict[str, Any], now: float = 120.0) -> list[str]:
    return [name for name, _ in rank(topology, sorted(flips, key=lambda f: f["t"]), now)]


SHOP = mesh({"web": ["cart", "list"], "cart": ["db"], "list": ["db"], "db": [], "mail": []}, units=2)


def test_a_healthy_mesh_blames_nobody() -> None:
    assert accused(SHOP) == []


def test_the_service_below_its_failing_callers_is_accused() -> None:
    flips = [f for n, s in enumerate(("db", "cart", "list", "web")) for f in critical(SHOP, s, 10 + 3 * n)]
    assert accused(SHOP, *flips)[0] == "db"


def test_a_service_whose_checks_are_green_is_accused_by_its_callers() -> None:
    topology = mesh({"a": ["db"], "b": ["db"], "c": ["db"], "d": ["db"], "db": [], "other": []}, units=2)
    flips = [f for s in "abcd" for f in critical(topology, s, 10)]
    assert accused(topology, *flips)[0] == "db"


def test_two_faults_at_once_are_both_named() -> None:
    topology = mesh({"a": ["x"], "b": ["x"], "c": ["y"], "d": ["y"], "x": [], "y": []}, units=2)
    flips = [f for s in "abcdxy" for f in critical(topology, s, 10 + (s in "abcd"))]
    assert set(accused(topology, *flips)[:2]) == {"x", "y"}


def test_a_node_is_accused_when_its_own_check_fails_and_the_checks_there_are_frozen() -> None:
    flip = {"t": 10.0, "service": "", "instance": "", "node": "n0", "check": "serfHealth", "status": "critical"}
    assert accused(SHOP, flip)[0] == "node:n0"


@pytest.mark.parametrize("check", ["externalNodeHealth", "disk"])
def test_a_node_is_accused_by_other_checks_of_its_own(check: str) -> None:
    """Of a node without an agent its health is told by whoever watches it; others tell of its disk."""
    there = [i for i, node in SHOP["nodes"].items() if node == "n0"]
    flips = [f for i in there[:1] for f in critical(SHOP, SHOP["instances"][i], 10, only=i)]
    flips.append({"t": 10.0, "service": "", "instance": "", "node": "n0", "check": check, "status": "critical"})
    assert accused(SHOP, *flips, now=14.0)[0] == "node:n0"


def test_a_node_is_accused_when_only_what_runs_there_fails() -> None:
    there = [i for i, node in SHOP["nodes"].items() if node == "n0"]
    flips = [f for i in there for f in critical(SHOP, SHOP["instances"][i], 10, only=i)]
    assert accused(SHOP, *flips)[0] == "node:n0"


def test_a_zone_is_accused_when_its_nodes_die() -> None:
    topology = mesh({s: [] for s in "abcdefgh"}, units=4, nodes=8)
    dead = [n for n, zone in topology["zones"].items() if zone == "z0"]
    flips = [
        {"t": 10.0, "service": "", "instance": "", "node": n, "check": "serfHealth", "status": "critical"}
        for n in dead
    ]
    assert accused(topology, *flips)[0] == "zone:z0"


def test_the_zone_of_a_dead_node_is_thought_of_unless_it_is_that_node() -> None:
    dead = {"t": 10.0, "service": "", "instance": "", "node": "n0", "check": "serfHealth", "status": "critical"}
    assert accused(SHOP, dead)[:2] == ["node:n0", "zone:z0"]
    alone = {**SHOP, "zones": {node: f"z-{node}" for node in SHOP["zones"]}}
    assert not any(name.startswith("zone:") for name in accused(alone, dead))


@pytest.mark.parametrize("seconds", [12.0, 25.0])
def test_a_blip_that_is_over_accuses_nobody(seconds: float) -> None:
    assert accused(SHOP, *critical(SHOP, "mail", 10, only="mail-0"), *passing(SHOP, "mail", 10 + seconds)) == []


def test_a_rolling_restart_accuses_nobody() -> None:
    topology = mesh({"a": ["b"], "b": [], "c": ["b"]}, units=4)
    flips = []
    for n in range(4):
        flips += critical(topology, "b", 10 + 28 * n, only=f"b-{n}")
        flips += passing(topology, "b", 30 + 28 * n, only=f"b-{n}") if n < 3 else []
    assert accused(topology, *flips, now=105.0) == []


def test_a_flapper_accuses_nobody() -> None:
    flips = []
    for n in range(6):
        flips += critical(SHOP, "mail", -560 + 100 * n, only="mail-0")
        flips += passing(SHOP, "mail", -510 + 100 * n, only="mail-0")
    assert accused(SHOP, *flips, *critical(SHOP, "mail", 40, only="mail-0"), now=70.0) == []


def test_what_has_failed_for_hours_is_another_story() -> None:
    flips = [f for n, s in enumerate(("db", "cart", "list", "web")) for f in critical(SHOP, s, 10 + 3 * n)]
    assert accused(SHOP, *critical(SHOP, "mail", -9000), *flips)[0] == "db"


def test_warnings_alone_weigh_less() -> None:
    firm = dict(rank(SHOP, critical(SHOP, "mail", 10), 90.0))
    soft = dict(rank(SHOP, warning(SHOP, "mail", 10), 90.0))
    assert soft.get("mail", 0.0) < firm["mail"]


def test_a_lone_failure_is_believed_later_where_much_comes_and_goes() -> None:
    blips = [f for s in ("web", "cart", "list") for f in (*critical(SHOP, s, 0), *passing(SHOP, s, 15))]
    lone = critical(SHOP, "mail", 40, only="mail-0")
    quiet = dict(rank(SHOP, lone, 120.0))
    noisy = dict(rank(SHOP, sorted(blips + lone, key=lambda f: f["t"]), 120.0))
    assert quiet["mail"] > noisy.get("mail", 0.0)


def test_a_strain_that_is_over_accuses_nobody() -> None:
    strain = [{**f, "check": "cpu"} for f in critical(SHOP, "mail", 10, only="mail-0")]
    over = [{**f, "check": "cpu"} for f in passing(SHOP, "mail", 70, only="mail-0")]
    assert accused(SHOP, *strain, *over) == []
