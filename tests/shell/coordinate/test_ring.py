"""The ring: the same everywhere, balanced, and nothing moves that need not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from consulguard.coordinate import Alive, Unit, owner, shares
from hypothesis import assume, given, settings
from hypothesis import strategies as st

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=20)
MEMBERS = st.lists(NAMES, min_size=1, max_size=12, unique=True)
WRITTEN_DOWN = "aaacbaaccaacaacbbbcabccaaabaaabccaabacbaacaabacacabbccabcccc"  # who owns dc0, dc1, ...
UNITS = tuple(f"dc{number}" for number in range(60))


def whose(members: list[str], units: tuple[str, ...] = UNITS) -> dict[str, str | None]:
    alive: Alive = dict.fromkeys(members, units)
    return {unit: owner(unit, alive) for unit in units}


@settings(max_examples=40)
@given(MEMBERS, st.data())
def test_who_goes_moves_only_what_was_its_own(members: list[str], data: st.DataObject) -> None:
    assume(len(members) > 1)
    gone = data.draw(st.sampled_from(members))
    before, after = whose(members), whose([name for name in members if name != gone])
    for unit in UNITS:
        assert after[unit] == before[unit] or before[unit] == gone
        assert after[unit] != gone


@settings(max_examples=40)
@given(MEMBERS, NAMES)
def test_who_comes_takes_and_nothing_moves_between_the_others(members: list[str], new: str) -> None:
    assume(new not in members)
    before, after = whose(members), whose([*members, new])
    for unit in UNITS:
        assert after[unit] in (before[unit], new)


@settings(max_examples=60)
@given(MEMBERS)
def test_shares_are_balanced(members: list[str]) -> None:
    """Each has between half and half again of what would be even, with the points a member has."""
    found = shares(members)
    assert set(found) == set(members)
    assert abs(sum(found.values()) - 1.0) < 1e-9
    for share in found.values():
        assert 0.5 <= share * len(members) <= 1.5


@settings(max_examples=10)
@given(st.lists(NAMES, min_size=2, max_size=6, unique=True))
def test_many_units_come_out_as_the_shares_say(members: list[str]) -> None:
    many = tuple(f"unit-{number}" for number in range(600))
    owned = list(whose(members, many).values())
    for name, share in shares(members).items():
        assert abs(owned.count(name) / len(many) - share) < 0.12


@given(MEMBERS, st.randoms(use_true_random=False))
def test_the_order_in_which_members_are_seen_does_not_matter(
    members: list[str], chance: Callable[..., object]
) -> None:
    mixed = list(members)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert whose(mixed) == whose(members)


def test_every_process_sees_the_same_ring() -> None:
    """Written down: a replica of another version, or another Python, must not see another one."""
    members = ("replica-a", "replica-b", "replica-c")
    script = (
        "from consulguard.coordinate import owner\n"
        f"print(''.join(owner(f'dc{{n}}', {{m: [f'dc{{n}}'] for m in {members!r}}})[-1] for n in range(60)))"
    )
    for seed in ("1", "2"):
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True)
        assert done.stdout.decode().strip() == WRITTEN_DOWN
    assert "".join(str(name)[-1] for name in whose(list(members)).values()) == WRITTEN_DOWN


def test_only_who_runs_a_unit_can_own_it() -> None:
    alive: Alive = {"a": ("dc1",), "b": ("dc1", "dc2"), "c": ()}
    assert owner("dc2", alive) == "b"
    assert owner("dc1", alive) in ("a", "b")
    assert owner("dc3", alive) is None
    assert owner("dc1", {}) is None
    assert shares([]) == {}


def test_names_of_units() -> None:
    plain, part = Unit(datacenter="dc1"), Unit(datacenter="dc1", partition="web")
    assert (plain.name, plain.told) == ("dc1", "dc1")
    assert (part.name, part.told) == ("dc1-web", "dc1/web")
