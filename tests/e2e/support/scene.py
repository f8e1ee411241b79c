"""Some services with TTL checks on one Consul, a target that records, and one bot that may repair them all.

For faults that leave the bot alive: many services in one life are many cases for the price of one start.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.e2e.support import journal
from tests.e2e.support.bot import Bot
from tests.e2e.support.receiver import Receiver, recorded
from tests.support.consul import Server
from tests.support.waiting import eventually

OVER = ("done", "held", "failed")
# One failing service must not hold up another; what the brakes do is proved elsewhere.
FREE: dict[str, Any] = {
    "guards": {
        "storm_min": 1000,
        "max_open": 100,
        "max_open_per_service": 100,
        "max_open_per_node": 100,
        "max_share": "100%",
        "min_start_interval": "0s",
        "budget_total_per_hour": 1000,
        "budget_per_service_per_hour": 1000,
    },
    "correlate": {"group_min": 1000},
}


class Scene:
    """``consul`` is where services are registered; ``seen`` (default: the same) is what the bot is pointed at."""

    token = ""  # for our own calls

    def __init__(self, consul: Server, folder: Path, name: str, *, careful: bool = True, seen: str = "") -> None:
        self._consul = consul
        self._name = name
        self._folder = folder
        self._careful = careful
        self._seen = seen or consul.address
        self._stack = contextlib.AsyncExitStack()
        self._books: list[dict[str, Any]] = []
        self.recording = folder / "recording"
        self.bot: Bot

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            self._session = await stack.enter_async_context(aiohttp.ClientSession())
            self.target = Receiver(self.recording, self._journaled, careful=self._careful)
            await stack.enter_async_context(self.target)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # ---- the stage

    def named(self, service: str) -> str:
        """A name nobody else has on this Consul."""
        return f"{service}-{self._name}"

    async def service(self, service: str, *, instances: int = 1) -> None:
        """Register it with checks that pass; gone again at the end."""
        name = self.named(service)
        for number in range(instances):
            one = name if instances == 1 else f"{name}-{number}"
            check = {"CheckID": one, "Name": "ttl", "TTL": "1h", "Status": "passing"}
            body = {"Name": name, "ID": one, "Port": 1, "Checks": [check]}
            await self.call("PUT", "/v1/agent/service/register", body)
            self._stack.push_async_callback(self.call, "PUT", f"/v1/agent/service/deregister/{one}")

    async def enter(self, thing: contextlib.AbstractAsyncContextManager[Any]) -> Any:
        return await self._stack.enter_async_context(thing)

    def book(
        self,
        service: str,
        *steps: dict[str, Any],
        states: tuple[str, ...] = ("critical",),
        hold_down: str = "1s",
        **more: Any,
    ) -> dict[str, Any]:
        """A playbook for the only instance of a service; without steps it posts to the recording target."""
        name = self.named(service)
        book: dict[str, Any] = {
            "name": service,
            "mode": "auto",
            "match": {
                "scope": "instance",
                "states": list(states),
                "for": hold_down,
                "matchers": [f'service="{name}"'],
            },
            "steps": list(steps) or [self.post()],
            "verify": {"within": "20s", "target": {"passing_for": 1}},
            "on_failure": "hold",
            **more,
        }
        self._books.append(book)
        return book

    def post(self, through: str = "", *, idempotent: bool = True, **more: Any) -> dict[str, Any]:
        """A step that posts to the recording target, by way of ``through``."""
        url = f"{through or self.target.address}/restart"
        return {"name": "post", "uses": "http.request", "with": _request(url, idempotent), **more}

    def hosts(self, *more: str) -> dict[str, Any]:
        """``actions`` that allow the recording target and more."""
        origins = enumerate((self.target.address, *more))
        return {"http": {"hosts": {f"h{n}": {"url": url, "private": True} for n, url in origins}}}

    def make_bot(self, *hosts: str, **sections: Any) -> Bot:
        """``hosts``: what steps may talk to besides the recording target."""
        given = {name: dict(section) for name, section in FREE.items()}
        for name, section in {"actions": self.hosts(*hosts), **sections}.items():
            given[name] = {**given.get(name, {}), **section} if isinstance(section, dict) else section
        self.bot = Bot(self._folder / "bot", self._seen, *self._books, **given)
        self._stack.push_async_callback(self.bot.stop)
        return self.bot

    # ---- what happens

    async def fail(self, *services: str) -> None:
        for service in services:
            await self.call("PUT", f"/v1/agent/check/fail/{self.named(service)}")

    async def heal(self, *services: str) -> None:
        for service in services:
            await self.call("PUT", f"/v1/agent/check/pass/{self.named(service)}")

    async def until_run(self, service: str, *states: str, within_s: float = 60.0) -> str:
        """Until people are told that the service's run is in one of these states; that, and why."""
        return await self.until(f"{service} is {states}", lambda: self._is(service, states), within_s=within_s)

    async def until(self, what: str, look: Any, *, within_s: float = 60.0) -> Any:
        """What ``look`` gives when it is true; the bot's own words when it never is."""

        async def once() -> Any:
            assert self.bot.runs, self.bot.output()
            return look()

        try:
            return await eventually(once, bool, within_s=within_s)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}\n{self.bot.output()}") from None

    # ---- what was seen

    def record(self) -> journal.Record:
        return journal.read(self.bot.journal)

    def messages(self) -> journal.Record:
        """What people are told, without the entries."""
        return journal.told(self.bot.journal)

    def rest(self, service: str) -> str:
        """Where its run is and why, as people are told."""
        record, name = self.messages(), self.named(service)
        return f"{record.fact(name, 'Run')} {record.fact(name, 'Because')}".strip()

    def intents(self, service: str) -> list[dict[str, Any]]:
        return [i for i in self.record().intents if i["target"].get("service") == self.named(service)]

    def outcomes(self, service: str) -> list[str]:
        """How the service's tries ended, in order."""
        runs = {i["id"].split("/")[0] for i in self.intents(service)}
        results = (line.body["result"] for line in self.record().events("Resulted"))
        return [r["outcome"] for r in results if r["intent_id"].split("/")[0] in runs]

    def effects(self, service: str) -> int:
        """Of this service's attempts, as the target has them. Each had its intent in the journal before."""
        mine = {i["id"] for i in self.intents(service)}
        lines = [line for line in recorded(self.recording) if line["attempt"] in mine]
        assert all(line["journaled"] for line in lines), lines
        return sum(line["effect"] for line in lines)

    def incidents(self) -> dict[str, str]:
        """What people were told: an incident's root and its severity now; resolved ones left out."""
        told = (m for m in self.messages().messages.values() if m.get("incident"))
        return {m["incident"]["root"]["name"]: m["severity"] for m in told if m["severity"] != "resolved"}

    def told(self, key: str) -> str:
        """The severity of the message with this key; empty when there is none or it is over."""
        severity = str(self.messages().messages.get(key, {}).get("severity", ""))
        return "" if severity == "resolved" else severity

    def view(self) -> dict[str, Any]:
        """What the bot last said of what it sees."""
        changes = self.record().events("ViewChanged")
        return dict(changes[-1].body["view"]) if changes else {}

    def trusted(self) -> bool:
        """Seen, trusted and settled in this life."""
        record = self.record()
        changes = [c for c in record.events("ViewChanged") if c.at >= record.lives[-1]] if record.lives else []
        view = changes[-1].body["view"] if changes else {}
        return bool(view.get("trusted") and view.get("settled"))

    async def settled(self, within_s: float = 60.0) -> None:
        await self.until("a settled view", self.trusted, within_s=within_s)

    # ---- inside

    def _is(self, service: str, states: tuple[str, ...]) -> str:
        rest = self.rest(service)
        return rest if rest.partition(" ")[0] in states else ""

    def _journaled(self, attempt: str) -> bool:
        return attempt in self.record().attempts

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"X-Consul-Token": self.token} if self.token else {}
        url = self._consul.address + path
        async with self._session.request(method, url, json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == 200, (path, answer.status, text)
            return json.loads(text) if text.strip() else None


def _request(url: str, idempotent: bool) -> dict[str, Any]:
    return {"method": "POST", "url": url, "idempotent": idempotent}
