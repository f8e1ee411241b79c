"""Journals of past versions give the same decisions: intents, incidents and who is told when."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from consulguard.app import fold
from consulguard.app.codec import event_of
from consulguard.engine import EngineState, step
from consulguard.engine.step import snapshot
from consulguard.events import AnyEvent, Do
from consulguard.journal import Draft
from consulguard.journal.sqlite import SqliteStore

from tests.replay.decisions import replay
from tests.replay.scenes import SCENES

GOLDEN = Path(__file__).parent / "golden"
JOURNALS = sorted(p for p in GOLDEN.glob("v*/*.jsonl") if not p.name.endswith(".decided.jsonl"))


def events_of(journal: Path) -> list[AnyEvent]:
    return [event_of(line) for line in journal.read_bytes().splitlines()]


def name_of(journal: Path) -> str:
    return f"{journal.parent.name}-{journal.stem}"


@pytest.mark.parametrize("journal", JOURNALS, ids=name_of)
def test_the_same_decisions_as_ever(journal: Path) -> None:
    _, decided = replay(events_of(journal))
    kept = journal.with_name(f"{journal.stem}.decided.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(msgspec.json.encode(line)) for line in decided] == [
        msgspec.json.decode(line) for line in kept
    ]


@pytest.mark.parametrize("journal", JOURNALS, ids=name_of)
async def test_the_same_state_out_of_the_journal(journal: Path, tmp_path: Path) -> None:
    events = events_of(journal)
    state, drafts = EngineState(), []
    for event in events:
        drafts.append(Draft(at=event.at, kind="event", body=msgspec.json.encode(event), epoch=state.epoch))
        state, effects = step(state, event)
        drafts += [
            Draft(at=event.at, kind="intent", body=msgspec.json.encode(e), epoch=state.epoch)
            for e in effects
            if isinstance(e, Do)
        ]
    store = SqliteStore(tmp_path / "journal.sqlite")
    await store.open()
    try:
        await store.append(drafts)
        past = await fold(store)
    finally:
        await store.close()
    assert past.doubt == ""
    assert past.seq == len(drafts)
    assert snapshot(past.state) == snapshot(state)


def test_every_scene_is_kept_and_small() -> None:
    assert {journal.stem for journal in JOURNALS} >= set(SCENES)
    assert sum(p.stat().st_size for p in GOLDEN.glob("v*/*")) < 200_000
