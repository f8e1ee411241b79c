"""``consulguard demo``, as a new user runs it: every fault ends by itself, and the summary tells the truth."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.consul import need_consul

LIMIT_S = 90  # what the demo promises


@dataclass(frozen=True)
class Shown:
    """What was on the screen, in three parts."""

    opening: str
    story: str
    summary: str

    @property
    def actions(self) -> int:
        (found,) = re.findall(r"^actions: (\d+);", self.summary, re.M)
        return int(found)


def demo(fault: str, folder: Path, *more: str) -> Shown:
    command = [sys.executable, "-m", "consulguard", "demo", "--fault", fault, *more]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CONSUL_")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    opening, _, rest = done.stdout.partition("FAULT:")
    story, _, summary = rest.partition("--- summary ---")
    assert len(summary.splitlines()) <= 25  # one screen
    return Shown(opening, story, summary)


def repaired_by_the_bot(shown: Shown, root: str, playbook: str, actions: int) -> None:
    assert f"resolved: root cause {root}" in shown.summary
    assert f"run of {playbook}: done" in shown.summary
    assert "verified: 3 good looks in a row" in shown.summary
    assert shown.actions == actions
    assert "repaired by consulguard" in shown.summary
    assert re.search(r"\[(CRITICAL|WARNING)\]", shown.story)  # as bad as it still is when it is told
    for word in ("Root cause:", "Why:", f"Playbook: {playbook}", "verified", "[RESOLVED]"):
        assert word in shown.story


def left_to_people(shown: Shown) -> None:
    assert shown.actions == 0
    assert "run of" not in shown.summary
    assert "repaired by a person" in shown.summary


@pytest.fixture(params=["twin", pytest.param("real", marks=pytest.mark.real)])
def where(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Flags that choose the Consul."""
    if request.param == "real":
        need_consul()
        return ()
    return ("--no-consul-binary",)


@pytest.mark.slow
def test_a_dead_backend_is_restarted(where: tuple[str, ...], tmp_path: Path) -> None:
    shown = demo("dead-backend", tmp_path, *where)
    assert ("embedded twin" if where else "real agent") in shown.opening
    assert "11 services, 28 instances, all passing" in shown.opening
    repaired_by_the_bot(shown, "instance payment-2", "restart-instance", 3)
    steps = re.findall(r"^  (\w+): done, ", shown.summary, re.M)
    assert steps == ["drain", "restart", "rejoin"]


@pytest.mark.slow
def test_a_dead_node_is_replaced(where: tuple[str, ...], tmp_path: Path) -> None:
    shown = demo("dead-node", tmp_path, *where)
    repaired_by_the_bot(shown, "node rack-1", "replace-node", 1)


@pytest.mark.slow
def test_who_flaps_is_not_restarted(tmp_path: Path) -> None:
    shown = demo("flapping", tmp_path, "--no-consul-binary")
    left_to_people(shown)
    assert re.search(r"Root cause: .*cart.*, flapping", shown.story)
    assert re.search(r"root cause (service cart|instance cart-1),", shown.summary)


@pytest.mark.slow
def test_a_hidden_culprit_is_named_though_its_check_is_green(tmp_path: Path) -> None:
    shown = demo("hidden-culprit", tmp_path, "--no-consul-binary")
    left_to_people(shown)
    assert "root cause service ledger" in shown.summary
    assert "ledger's own checks pass" in shown.summary


@pytest.mark.slow
def test_a_mass_failure_is_held_by_the_brake(tmp_path: Path) -> None:
    shown = demo("mass-failure", tmp_path, "--no-consul-binary")
    left_to_people(shown)
    assert "Storm brake on" in shown.story
    assert "Storm over" in shown.story
    assert re.search(r"^storm brake: .* not healthy", shown.summary, re.M)
