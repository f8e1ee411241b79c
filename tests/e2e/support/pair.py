"""Two real daemons with one lease and one journal in a real PostgreSQL, a recording target, and what may fail."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from consulguard.testing import RealConsul

from tests.e2e.support import shared
from tests.e2e.support.bot import Bot
from tests.e2e.support.journal import Record
from tests.e2e.support.scene import FREE
from tests.support.postgresql import RealPostgres
from tests.support.waiting import eventually

PATIENCE_S = 90.0
FINE = (None, 0, -signal.SIGKILL)  # who runs, or has ended as it was told to
MATCH = {"scope": "instance", "states": ["critical"], "for": "1s"}


@asynccontextmanager
async def own_servers(postgres: RealPostgres, name: str) -> AsyncIterator[tuple[RealConsul, shared.Journal, Path]]:
    """A Consul of its own, a database and a folder for one pair: nobody sees what others let fail."""
    journal = shared.Journal(await postgres.database(name))
    with tempfile.TemporaryDirectory(prefix="cg-") as folder:
        async with RealConsul(config={"session_ttl_min": "1s"}) as consul:
            yield consul, journal, Path(folder)


class Target(Protocol):
    @property
    def address(self) -> str: ...


class Pair:
    """Replicas a and b. ``coordinate``: where their lease lies, and for how long; ``sections`` of both."""

    def __init__(
        self, consul: RealConsul, journal: shared.Journal, folder: Path, target: Target, **sections: Any
    ) -> None:
        self.consul = consul
        self.journal = journal
        self.folder = folder
        self.target = target
        self.sections = sections
        self.bots: dict[str, Bot] = {}

    def make(self, which: str, *services: str) -> Bot:
        """``services``: what it may repair, by a request to the target."""
        (self.folder / "dsn").write_text(f"{self.journal.dsn}\n")
        (self.folder / "dsn").chmod(0o600)
        sections: dict[str, Any] = {
            **FREE,
            "actions": {"http": {"hosts": {"target": {"url": self.target.address, "private": True}}}},
            "journal": {"store": "postgresql", "dsn_file": str(self.folder / "dsn")},
            **self.sections,
        }
        books = [self._book(number, service) for number, service in enumerate(services)]
        if not books:
            sections["playbooks"] = {"allow_empty": True}
        bot = self.bots[which] = Bot(self.folder / which, self.consul.address, *books, **sections)
        return bot

    def _book(self, number: int, service: str) -> dict[str, Any]:
        url = f"{self.target.address}/restart"
        step = {"method": "POST", "url": url, "body": "${target.instance}", "idempotent": True}
        return {
            "name": f"restart-{number}",
            "mode": "auto",
            "match": {**MATCH, "matchers": [f'service=~"{service}"']},
            "steps": [{"name": "post", "uses": "http.request", "with": step}],
            "verify": {"within": "60s", "target": {"passing_for": 1}},
            "on_failure": "hold",
        }

    async def call(self, path: str, body: Any = None) -> None:
        url = self.consul.address + path
        async with aiohttp.ClientSession() as session, session.put(url, data=json.dumps(body)) as answer:
            assert answer.status == 200, await answer.text()

    async def register(self, name: str) -> None:
        """A service of one instance whose only check passes."""
        check = {"CheckID": name, "Name": "ttl", "TTL": "1h", "Status": "passing"}
        service = {"Name": name, "ID": name, "Port": 1, "Checks": [check]}
        await self.call("/v1/agent/service/register", service)

    async def fail(self, name: str) -> None:
        await self.call(f"/v1/agent/check/fail/{name}")

    async def heal(self, name: str) -> None:
        await self.call(f"/v1/agent/check/pass/{name}")

    async def until(self, what: str, look: Any, within_s: float = PATIENCE_S) -> None:
        async def once() -> Any:
            gone = [name for name, bot in self.bots.items() if bot.ended_with() not in FINE]
            return "ended" if gone else look()

        try:
            seen = await eventually(once, bool, within_s=within_s)
            assert seen != "ended"
        except AssertionError as error:
            said = "\n".join(f"--- {name}: {bot.output()}" for name, bot in self.bots.items())
            raise AssertionError(f"{what}: {error}\n{said}") from None

    def start(self, which: str, failpoint: str = "") -> None:
        """Start it (again): what a killed life has left of its door is not taken for the new one's."""
        bot = self.bots[which]
        bot.journal.with_suffix(".sock").unlink(missing_ok=True)
        bot.start(failpoint)

    async def end(self) -> None:
        for bot in self.bots.values():
            await bot.kill()
        self.journal.close()

    # ---- what was seen

    def record(self) -> Record:
        return self.journal.record()

    def epochs(self) -> list[int]:
        """Of those who gained the lease, in order."""
        return [line.epoch for line in self.record().events("LeaseChanged") if line.body["held"]]

    def led(self) -> float:
        """When the newest holder gained it; 0: nobody has."""
        gained = [line.at for line in self.record().events("LeaseChanged") if line.body["held"]]
        return gained[-1] if gained else 0.0

    def settled_at(self) -> float:
        """When the newest life first saw a settled view; 0: it has not."""
        record = self.record()
        for change in record.events("ViewChanged"):
            view = change.body["view"]
            if record.lives and change.at >= record.lives[-1] and view.get("trusted") and view.get("settled"):
                return change.at
        return 0.0

    def stands_by(self, which: str) -> bool:
        """It runs, and its door is open: also true of the one that leads."""
        bot = self.bots[which]
        return bot.runs and bot.journal.with_suffix(".sock").exists()
