"""The journal in Elasticsearch: every entry at least once, in order, whatever breaks in between."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from consulguard.errors import ConfigError, ExportRefused, ExportUnavailable
from consulguard.events import Commanded, Do, Learned, LeaseChanged, Resulted
from consulguard.journal import Draft, SqliteStore
from consulguard.journal.documents import BODY_MAX, index_template
from consulguard.journal.elastic import ElasticSink
from consulguard.journal.export import Cursor, export
from consulguard.model import Intent, Outcome, Result, Target
from consulguard.testing.twin import ConsulTwin

from tests.elk.support import FIELDS, OWN, Capture, flat, flaws

AT = datetime(2026, 1, 1, tzinfo=UTC)
WEB = Target(dc="dc1", service="web", node="n1", instance="web-1")
INTENT = Intent(
    id="r/0/1",
    action="http.request",
    target=WEB,
    params={"url": "http://x"},
    expires_at=AT,
    epoch=1,
    incident_id="inc-1",
    playbook="restart",
)
RESULT = Result(intent_id="r/0/1", outcome=Outcome.DONE, detail="200", started_at=AT, ended_at=AT)
EVENTS = (
    LeaseChanged(at=AT, held=True, epoch=1, reason="single replica"),
    Do(intent=INTENT),
    Resulted(at=AT, result=RESULT),
    Commanded(at=AT, command="pause", who="ann", args={"reason": "drill"}),
    Learned(at=AT, facts=()),
)


def drafts(*bodies: object) -> list[Draft]:
    return [
        Draft(
            at=AT + timedelta(seconds=n),
            kind="intent" if isinstance(b, Do) else "event",
            body=msgspec.json.encode(b),
        )
        for n, b in enumerate(bodies)
    ]


@pytest.fixture
def capture() -> Iterator[Capture]:
    with Capture() as capture:
        yield capture


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "journal.sqlite")
    await store.open()
    await store.append(drafts(*EVENTS))
    yield store
    await store.close()


@pytest.fixture
def cursor(tmp_path: Path) -> Cursor:
    return Cursor(tmp_path / "cursor")


@pytest.fixture
async def sink(capture: Capture) -> AsyncIterator[ElasticSink]:
    sink = ElasticSink(capture.address)
    yield sink
    await sink.close()


def sequences(capture: Capture) -> list[int]:
    return [doc["event"]["sequence"] for _, _, doc in capture.docs]


async def test_every_entry_is_one_document_of_the_schema(
    store: SqliteStore, sink: ElasticSink, cursor: Cursor, capture: Capture
) -> None:
    assert await export(store, sink, cursor) == 5
    assert sequences(capture) == [1, 2, 3, 4, 5]
    assert {index for index, _, _ in capture.docs} == {"logs-consulguard.journal-default"}
    hashes = [entry.hash async for entry in store.entries()]
    assert [key for _, key, _ in capture.docs] == hashes
    docs = [doc for _, _, doc in capture.docs]
    assert [flaws(doc) for doc in docs] == [[]] * 5
    do, result, said = docs[1:4]
    assert (do["event"]["action"], do["rule"]["name"], do["message"]) == (
        "Do",
        "restart",
        "do http.request on web-1",
    )
    assert do[OWN]["target"] == {"datacenter": "dc1", "service": "web", "node": "n1", "instance": "web-1"}
    assert (result["event"]["outcome"], result[OWN]["intent"]) == ("success", "r/0/1")
    assert (said["user"]["name"], said[OWN]["command"]) == ("ann", "pause")


async def test_it_goes_on_where_it_ended(
    store: SqliteStore, sink: ElasticSink, cursor: Cursor, capture: Capture
) -> None:
    await export(store, sink, cursor, batch=2)
    assert len([r for r in capture.requests if "_bulk" in r]) == 3
    assert await export(store, sink, cursor) == 0
    await store.append(drafts(EVENTS[0]))
    assert await export(store, sink, cursor) == 1
    assert sequences(capture) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_tried_again(
    store: SqliteStore, sink: ElasticSink, cursor: Cursor, capture: Capture, status: int
) -> None:
    capture.answers = [status, 200, status, status]
    assert await export(store, sink, cursor, batch=2, pause_s=0.01) == 5
    assert sequences(capture) == [1, 2, 3, 4, 5]


async def test_a_server_that_stays_away_leaves_the_cursor_before_what_it_did_not_take(
    store: SqliteStore, sink: ElasticSink, cursor: Cursor, capture: Capture
) -> None:
    capture.answers = [200, *[503] * 20]
    with pytest.raises(ExportUnavailable, match="503"):
        await export(store, sink, cursor, batch=2, pause_s=0.001)
    assert cursor.load()[0] == 2
    capture.answers = []
    assert await export(store, sink, cursor, batch=2) == 3
    assert sequences(capture) == [1, 2, 3, 4, 5]


class Crash(BaseException):
    """The process ends here."""


class Dying:
    """A sink behind which the process dies once: the batch has arrived, the cursor was not written."""

    def __init__(self, sink: ElasticSink) -> None:
        self._sink = sink
        self.left = 1

    async def put(self, documents: object) -> None:
        await self._sink.put(documents)  # type: ignore[arg-type]
        if not self.left:
            raise Crash
        self.left -= 1


async def test_what_arrived_before_a_crash_is_sent_again_and_is_still_one_document(
    store: SqliteStore, sink: ElasticSink, cursor: Cursor, capture: Capture
) -> None:
    with pytest.raises(Crash):
        await export(store, Dying(sink), cursor, batch=2)
    assert (cursor.load()[0], sequences(capture)) == (2, [1, 2, 3, 4])
    assert await export(store, sink, cursor, batch=2) == 3
    assert sequences(capture) == [1, 2, 3, 4, 5]


async def test_a_document_that_is_refused_for_good_stops_the_export_and_is_named(
    store: SqliteStore, sink: ElasticSink, cursor: Cursor, capture: Capture
) -> None:
    third = [entry.hash async for entry in store.entries()][2]
    capture.refuse = {third}
    with pytest.raises(ExportRefused, match="entry 3 was refused with 400: made_up: because"):
        await export(store, sink, cursor, batch=2)
    assert cursor.load()[0] == 2


async def test_a_wrong_key_is_no_reason_to_try_again(
    store: SqliteStore, sink: ElasticSink, cursor: Cursor, capture: Capture
) -> None:
    capture.answers = [401]
    with pytest.raises(ExportRefused, match="401"):
        await export(store, sink, cursor)


async def test_nobody_there(store: SqliteStore, cursor: Cursor) -> None:
    sink = ElasticSink("http://127.0.0.1:1")
    with pytest.raises(ExportUnavailable, match="does not answer"):
        await export(store, sink, cursor, pause_s=0.001)
    await sink.close()


async def test_the_cursor_of_another_journal_is_refused(
    store: SqliteStore, sink: ElasticSink, cursor: Cursor, capture: Capture
) -> None:
    cursor.save(2, "0" * 64)
    with pytest.raises(ConfigError, match="another journal"):
        await export(store, sink, cursor)
    cursor.save(50, "0" * 64)
    with pytest.raises(ConfigError, match="ends at 5"):
        await export(store, sink, cursor)
    assert capture.docs == []


@pytest.mark.parametrize("text", ["", "{", '{"seq": "x", "hash": ""}', "[1]", '{"seq": 1}'])
def test_a_cursor_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "cursor").write_text(text)
    with pytest.raises(ConfigError, match="no cursor of ours"):
        Cursor(tmp_path / "cursor").load()


async def test_a_huge_body_stays_in_the_journal(
    store: SqliteStore, sink: ElasticSink, cursor: Cursor, capture: Capture
) -> None:
    await store.append(drafts(Commanded(at=AT, command="x", who="ann", args={"text": "a" * BODY_MAX})))
    await export(store, sink, cursor)
    _, _, last = capture.docs[-1]
    assert "body" not in last[OWN]
    assert last[OWN]["left_out"] > BODY_MAX


def test_the_template_maps_what_is_written_and_as_the_schema_has_it() -> None:
    mapped = dict(_types(index_template()["template"]["mappings"]["properties"]))
    for name, kind in mapped.items():
        if not name.startswith(OWN):
            assert FIELDS[name] == kind, name


def _types(properties: dict[str, dict[str, object]], above: str = "") -> Iterator[tuple[str, object]]:
    for name, field in properties.items():
        if "properties" in field:
            yield from _types(field["properties"], f"{above}{name}.")  # type: ignore[arg-type]
        else:
            yield f"{above}{name}", field["type"]


async def test_from_the_command_line_beside_a_daemons_journal(tmp_path: Path, capture: Capture) -> None:
    async with ConsulTwin() as twin:
        config = {
            "consul": {"http_addr": twin.address},
            "playbooks": {"allow_empty": True},
            "journal": {"path": str(tmp_path / "state/journal.sqlite")},
            "watch": {"settle": "0s"},
        }
        (tmp_path / "c.yaml").write_text(json.dumps(config))
        (await _consulguard(tmp_path, "run", "--once")).check_returncode()
    send = (
        "journal",
        "export",
        "--elasticsearch",
        capture.address,
        "--cursor",
        str(tmp_path / "cursor"),
        "--prepare",
    )
    done = await _consulguard(tmp_path, *send)
    assert done.returncode == 0, done.stderr
    assert capture.requests[0] == "PUT /_index_template/consulguard"
    assert done.stdout == f"exported {len(capture.docs)} entries\n"
    docs = [doc for _, _, doc in capture.docs]
    assert {"Configured", "Started", "LeaseChanged"} <= {doc["event"]["action"] for doc in docs}
    assert [flaws(doc) for doc in docs] == [[]] * len(docs)
    mapped = dict(_types(index_template()["template"]["mappings"]["properties"]))
    written = {name for doc in docs for name, _ in flat(doc) if not name.startswith(f"{OWN}.body")}
    assert written <= set(mapped)
    assert (await _consulguard(tmp_path, *send[:-1])).stdout == "exported 0 entries\n"


async def _consulguard(folder: Path, *verb: str) -> subprocess.CompletedProcess[str]:
    import asyncio

    command = [sys.executable, "-m", "consulguard", *verb, "-c", str(folder / "c.yaml")]
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, timeout=90, stdin=subprocess.DEVNULL
    )
