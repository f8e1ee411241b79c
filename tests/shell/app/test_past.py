"""What a journal says was sent weighs more than what its events, stepped again, would decide today."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from consulguard.app.codec import encode
from consulguard.app.past import fold
from consulguard.engine.step import snapshot
from consulguard.errors import ConfigError, StoreCorrupt
from consulguard.events import Commanded, Do, LeaseChanged, Resulted, Started
from consulguard.journal import BODY_VERSION, Draft, SqliteStore
from consulguard.model import Outcome, Result

from tests.core.engine.world import World, moment


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "journal.sqlite")
    await store.open()
    yield store
    await store.close()


def world() -> World:
    """Its last event let the first step go."""
    w = World()
    w.to_first_effect()
    return w


async def write(store: SqliteStore, w: World, *effects: Do) -> int:
    drafts = [Draft(at=e.at, kind="event", body=encode(e)) for e in w.events]
    drafts += [Draft(at=w.events[-1].at, kind="intent", body=encode(e)) for e in effects]
    return await store.append(drafts)


def as_another_version_made_it(do: Do) -> Do:
    intent = msgspec.structs.replace(do.intent, id=do.intent.id.replace("run-", "run-old"))
    return msgspec.structs.replace(do, intent=intent)


async def test_the_same_version_takes_up_what_it_sent(store: SqliteStore) -> None:
    w = world()
    seq = await write(store, w, w.last(Do))
    past = await fold(store)
    assert (past.seq, past.doubt) == (seq, "")
    assert snapshot(past.state) == snapshot(w.state)


async def test_what_a_newer_version_wrote_is_not_guessed_at(tmp_path: Path) -> None:
    """A newer entry may say more than is understood; an event of another name says nothing at all."""
    stopped = encode(Commanded(at=moment(5), command="pause", who="ann")).removesuffix(b"}") + b',"until_epoch":9}'
    strange = b'{"event":"Resharded","at":"2026-01-01T00:00:00Z"}'
    rows = {"newer": (stopped, BODY_VERSION + 1), "strange": (strange, BODY_VERSION)}
    for name, (body, version) in rows.items():
        async with SqliteStore(tmp_path / name) as store:
            await store.append([Draft(at=moment(5), kind="event", body=body, version=version)])
        async with SqliteStore(tmp_path / name, readonly=True) as reader:
            with pytest.raises((ConfigError, StoreCorrupt), match=r"newer consulguard|Resharded"):
                await fold(reader)


@pytest.mark.parametrize("depth", ["pause", "stop"])
async def test_who_comes_after_is_as_paused_as_who_died(store: SqliteStore, depth: str) -> None:
    w = World()
    w.feed(Commanded(at=moment(5), command=depth, who="ann", args={"reason": "deploy"}))
    await write(store, w)
    past = await fold(store)
    assert [(p.depth, p.who, p.why) for p in past.state.pauses] == [(depth, "ann", "deploy")]


async def test_an_open_intent_this_version_would_not_have_made_is_a_doubt(store: SqliteStore) -> None:
    w = world()
    old = as_another_version_made_it(w.last(Do))
    await write(store, w, old)
    past = await fold(store)
    assert "nobody knows whether it happened" in past.doubt
    assert old.intent.id in past.doubt


async def test_what_was_only_imagined_was_never_sent(store: SqliteStore) -> None:
    w = world()
    await write(store, w)
    past = await fold(store)
    assert (past.state.runs, past.state.attempts, past.doubt) == ({}, [], "")
    w.state = past.state
    w.effects.clear()
    w.feed(LeaseChanged(at=moment(70), held=False, epoch=1))
    w.feed(Started(at=moment(70), life="x", version="2"))
    w.feed(LeaseChanged(at=moment(70), held=True, epoch=2))
    w.wait(75, 76)
    assert w.done() == [], "it is decided anew, with a confirm-read"
    w.confirm(77)
    assert len(w.done()) == 1


async def test_a_doubt_ends_with_its_result_and_with_being_told(store: SqliteStore) -> None:
    w = world()
    old = as_another_version_made_it(w.last(Do))
    await write(store, w, old)
    told = Commanded(at=moment(70), command="stop", who="journal", args={"reason": "x"})
    await store.append([Draft(at=told.at, kind="event", body=encode(told))])
    past = await fold(store)
    assert past.doubt == ""
    assert [p.who for p in past.state.pauses] == ["journal"], "and only a person lifts it"


async def test_a_result_leaves_no_doubt(store: SqliteStore) -> None:
    w = world()
    old = as_another_version_made_it(w.last(Do))
    await write(store, w, old)
    result = Result(
        intent_id=old.intent.id, outcome=Outcome.DONE, detail="", started_at=moment(64), ended_at=moment(65)
    )
    body = encode(Resulted(at=moment(65), result=result))
    await store.append([Draft(at=moment(65), kind="event", body=body)])
    assert (await fold(store)).doubt == ""


async def test_a_snapshot_after_the_intent_spares_the_question(store: SqliteStore) -> None:
    w = world()
    seq = await write(store, w, as_another_version_made_it(w.last(Do)))
    await store.save_snapshot(seq, snapshot(w.state))
    past = await fold(store)
    assert past.doubt == ""
    assert next(iter(past.state.runs.values())).sent
