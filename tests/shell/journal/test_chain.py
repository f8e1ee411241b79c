"""The chain's own mathematics: every field counts, and old journals stay verifiable."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from consulguard.journal import Draft, chain, rows
from consulguard.model import Entry
from hypothesis import given
from hypothesis import strategies as st

from tests.support.messages import draft

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
DRAFTS = st.builds(
    Draft,
    at=MOMENTS,
    kind=st.text(st.characters(codec="utf-8"), max_size=8),
    body=st.binary(max_size=30),
    epoch=st.integers(-(2**63), 2**63 - 1),
    version=st.integers(0, 5),
)


def follow(seq: int, previous: str, entries: Sequence[Entry]) -> tuple[int, str]:
    """The chain walked as a reader of rows walks it."""
    for entry in entries:
        at = chain.to_us(entry.at)
        row = (entry.seq, at, entry.epoch, entry.kind, entry.version, entry.body, entry.hash)
        found = rows.proved(row, seq + 1, previous)
        seq, previous = found.seq, found.hash
    return seq, previous


def test_the_hash_of_an_entry_is_fixed_for_ever() -> None:
    """Changing it would make every journal out there unverifiable."""
    first, second = chain.link(0, chain.GENESIS, [draft(1), draft(2, kind="intent")])
    assert first.hash == "8b076c304548c8a05791d85a6478fc4a68219587840fd2816953cb7c0c5765fd"
    assert second.hash == "8eb16782a76efb16085d762a54901e3ec42f7aa78033a6b4181b4d0a68f3cf44"


@given(st.lists(DRAFTS, min_size=1, max_size=6), st.integers(0, 10**9))
def test_a_linked_chain_holds(drafts: list[Draft], start: int) -> None:
    entries = chain.link(start, chain.GENESIS, drafts)
    assert follow(start, chain.GENESIS, entries) == (entries[-1].seq, entries[-1].hash)
    assert [chain.from_us(chain.to_us(entry.at)) for entry in entries] == [entry.at for entry in entries]


@given(st.lists(DRAFTS, min_size=2, max_size=6), st.data())
def test_no_change_goes_unseen(drafts: list[Draft], data: st.DataObject) -> None:
    entries = chain.link(0, chain.GENESIS, drafts)
    place = data.draw(st.integers(0, len(entries) - 1))
    entry = entries[place]
    change: dict[str, Any] = data.draw(
        st.sampled_from(
            [
                {"at": entry.at + timedelta(microseconds=1)},
                {"kind": entry.kind + "x"},
                {"body": entry.body + b"\0"},
                {"body": b"x" + entry.body},
                {"epoch": entry.epoch // 2 + 1 if entry.epoch != 1 else 0},
                {"version": entry.version + 1},
                {"seq": entry.seq + 1},
                {"hash": chain.GENESIS},
            ]
        )
    )
    if change == {"epoch": entry.epoch}:
        return
    entries[place] = msgspec.structs.replace(entry, **change)
    with pytest.raises(chain.BrokenChain) as caught:
        follow(0, chain.GENESIS, entries)
    assert caught.value.seq == place + 1


@given(st.lists(DRAFTS, min_size=2, max_size=6), st.data())
def test_no_entry_can_be_taken_out_or_moved(drafts: list[Draft], data: st.DataObject) -> None:
    entries = chain.link(0, chain.GENESIS, drafts)
    gone = data.draw(st.integers(0, len(entries) - 2))
    with pytest.raises(chain.BrokenChain):
        follow(0, chain.GENESIS, entries[:gone] + entries[gone + 1 :])
    moved = entries.copy()
    moved[gone], moved[gone + 1] = moved[gone + 1], moved[gone]
    with pytest.raises(chain.BrokenChain):
        follow(0, chain.GENESIS, moved)
