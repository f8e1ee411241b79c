"""Two real daemons, one lease in a real Consul, one journal in a real PostgreSQL: one acts at a time."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from consulguard.journal import BODY_VERSION, Draft
from consulguard.journal.postgresql import PostgresStore
from consulguard.testing import RealConsul

from tests.e2e.support import shared
from tests.e2e.support.bot import Bot
from tests.e2e.support.journal import Record
from tests.e2e.support.receiver import Receiver, recorded
from tests.e2e.support.scene import FREE
from tests.support.consul import need_consul
from tests.support.postgresql import RealPostgres
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]

PATIENCE_S = 90.0
TTL = "4s"
MATCH = {"scope": "instance", "states": ["critical"], "for": "1s"}


class Pair:
    """Replicas a and b, a recording target, and one service that fails."""

    def __init__(self, consul: RealConsul, dsn: str, folder: Path, name: str) -> None:
        self.consul, self.dsn, self.name = consul, dsn, name
        self.recording = folder / "recording"
        self.folder = folder
        self.bots: dict[str, Bot] = {}
        self.target: Receiver

    def record(self) -> Record:
        return shared.read(self.dsn)

    def make(self, which: str) -> Bot:
        folder = self.folder / which
        step = {"method": "POST", "url": f"{self.target.address}/restart", "idempotent": True}
        book = {
            "name": "restart",
            "mode": "auto",
            "match": {**MATCH, "matchers": [f'service="{self.name}"']},
            "steps": [{"name": "post", "uses": "http.request", "with": step}],
            "verify": {"within": "60s", "target": {"passing_for": 1}},
            "on_failure": "hold",
        }
        (self.folder / "dsn").write_text(f"{self.dsn}\n")
        (self.folder / "dsn").chmod(0o600)
        sections: dict[str, Any] = {
            **FREE,
            "actions": {"http": {"hosts": {"target": {"url": self.target.address, "private": True}}}},
            "journal": {"store": "postgresql", "dsn_file": str(self.folder / "dsn")},
            "coordinate": {"backend": "consul", "key": f"consulguard/{self.name}", "ttl": TTL},
        }
        bot = self.bots[which] = Bot(folder, self.consul.address, book, **sections)
        return bot

    async def call(self, path: str, body: Any = None) -> None:
        url = self.consul.address + path
        async with aiohttp.ClientSession() as session, session.put(url, data=json.dumps(body)) as answer:
            assert answer.status == 200, await answer.text()

    async def register(self) -> None:
        check = {"CheckID": self.name, "Name": "ttl", "TTL": "1h", "Status": "passing"}
        service = {"Name": self.name, "ID": self.name, "Port": 1, "Checks": [check]}
        await self.call("/v1/agent/service/register", service)

    async def until(self, what: str, look: Any) -> None:
        async def once() -> Any:
            gone = [name for name, bot in self.bots.items() if bot.ended_with() not in (None, -signal.SIGKILL)]
            return "ended" if gone else look()

        try:
            seen = await eventually(once, bool, within_s=PATIENCE_S)
            assert seen != "ended"
        except AssertionError as error:
            said = "\n".join(f"--- {name}: {bot.output()}" for name, bot in self.bots.items())
            raise AssertionError(f"{what}: {error}\n{said}") from None

    def epochs(self) -> list[int]:
        """Of those who gained the lease, in order."""
        return [line.epoch for line in self.record().events("LeaseChanged") if line.body["held"]]

    def effects(self) -> list[dict[str, Any]]:
        return [line for line in recorded(self.recording) if line["effect"]]

    def settled(self) -> bool:
        """In the newest life."""
        record = self.record()
        seen = [c for c in record.events("ViewChanged") if record.lives and c.at >= record.lives[-1]]
        view = seen[-1].body["view"] if seen else {}
        return bool(view.get("trusted") and view.get("settled"))


@pytest.fixture(scope="module")
def consul() -> Any:
    need_consul()
    server = RealConsul(config={"session_ttl_min": "1s"})
    server.open()
    yield server
    server.close()


@pytest.fixture
async def pair(consul: RealConsul, postgres: RealPostgres, tmp_path: Path, unique: str) -> AsyncIterator[Pair]:
    await postgres.ask(f"CREATE DATABASE {unique}")
    made = Pair(consul, postgres.dsn.replace("dbname=postgres", f"dbname={unique}"), tmp_path, unique)
    async with Receiver(made.recording, lambda attempt: attempt in made.record().attempts, careful=True) as target:
        made.target = target
        await made.register()
        yield made
        for bot in made.bots.values():
            await bot.kill()
        await made.call(f"/v1/agent/service/deregister/{unique}")


async def test_the_leader_dies_with_an_effect_prepared(pair: Pair) -> None:
    """kill -9 between intent and effect: the other one does it once, under the same attempt id."""
    first, second = pair.make("a"), pair.make("b")
    first.start("act.before_send:kill")
    await pair.until("a leads", lambda: len(pair.epochs()) == 1 and pair.settled())
    second.start()
    await pair.call(f"/v1/agent/check/fail/{pair.name}")
    await first.died()
    await pair.until("b has done it", pair.effects)
    [effect] = pair.effects()
    old, new = pair.epochs()
    assert old < new == effect["epoch"]
    assert effect["journaled"]
    assert pair.record().attempts == [effect["attempt"]]
    await pair.call(f"/v1/agent/check/pass/{pair.name}")
    await pair.until("it is verified", lambda: not pair.record().open_attempts)
    assert len(pair.effects()) == 1


async def test_the_leader_is_stopped_with_an_effect_prepared(pair: Pair) -> None:
    """SIGSTOP between intent and effect, for longer than the lease lasts. What it then knows it does not do."""
    first, second = pair.make("a"), pair.make("b")
    first.start("act.before_send:stop")
    await pair.until("a leads", lambda: len(pair.epochs()) == 1 and pair.settled())
    second.start()
    await pair.call(f"/v1/agent/check/fail/{pair.name}")
    await pair.until("a is stopped", lambda: first.stopped)
    await pair.until("b has done it", pair.effects)
    first.signal(signal.SIGCONT)
    await pair.until("a stands by again", lambda: "lease_lost" in first.output())
    await asyncio.sleep(1.0)  # for what should not come
    old, new = pair.epochs()[:2]
    assert old < new
    assert {effect["epoch"] for effect in pair.effects()} == {new}
    assert len(pair.effects()) == 1
    late = [line for line in pair.record().lines if line.epoch < new and line.seq > _gained(pair.record(), new)]
    assert late == []


async def test_what_a_newer_version_has_written_is_read_and_not_gone_on_from(pair: Pair) -> None:
    """In a rolling upgrade: the effect is done, a newer one has led since, and the older one gains the lease."""
    first, second = pair.make("a"), pair.make("b")
    first.start("act.after_send:kill")
    await pair.until("a leads", lambda: len(pair.epochs()) == 1 and pair.settled())
    second.start()
    await pair.until("b stands by", second.journal.with_suffix(".sock").exists)
    await pair.call(f"/v1/agent/check/fail/{pair.name}")
    await first.died()
    newer = PostgresStore(pair.folder / "newer", dsn=lambda: pair.dsn).shared(take_over=True)
    async with newer:
        said = b'{"event": "Resharded", "at": "2026-01-01T00:00:00Z", "ring": ["x"]}'
        at, epoch = datetime.now(UTC), pair.epochs()[-1]
        last = await newer.append([Draft(at=at, kind="event", body=said, epoch=epoch, version=BODY_VERSION + 1)])
    assert await second.ended() == 78
    assert "written by a newer consulguard" in second.output()
    assert "upgrade" in second.output()
    record = pair.record()
    assert record.lines[-1].seq == last, "it has written nothing"
    assert len(record.open_attempts) == 1
    assert len(pair.effects()) == 1
    tail = await second.ask("journal", "tail", "-n", "1")
    assert [(line["seq"], line["body"]["event"]) for line in tail] == [(last, "Resharded")]


async def test_a_clean_end_hands_over(pair: Pair) -> None:
    first, second = pair.make("a"), pair.make("b")
    first.start()
    await pair.until("a leads", lambda: len(pair.epochs()) == 1 and pair.settled())
    second.start()
    await pair.until("b stands by", second.journal.with_suffix(".sock").exists)
    await first.stop()
    await pair.until("b leads", lambda: len(pair.epochs()) == 2)
    assert pair.epochs() == sorted(set(pair.epochs()))


def _gained(record: Record, epoch: int) -> int:
    return next(line.seq for line in record.events("LeaseChanged") if line.body["held"] and line.epoch == epoch)


async def test_replicas_with_a_file_each_do_not_start(consul: RealConsul, tmp_path: Path) -> None:
    bot = Bot(tmp_path / "bot", consul.address, coordinate={"backend": "consul"}, playbooks={"allow_empty": True})
    bot.start()
    assert await bot.ended() == 78
    assert "the other one could not read what this one has begun" in bot.output()
    assert "journal.store: postgresql" in bot.output()
