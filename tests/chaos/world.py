"""A world for faults: replicas as processes, one lease, one journal, targets that record, services that fail."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import psycopg
from consulguard.testing import SlackTwin

from tests.chaos import onlooker
from tests.chaos.check import held
from tests.chaos.notes import Notes, now
from tests.chaos.replica import Replica
from tests.chaos.targets import KINDS, Targets
from tests.e2e.support import shared
from tests.e2e.support.bot import Bot
from tests.e2e.support.journal import Record
from tests.support.chaos import Chaos
from tests.support.waiting import eventually
from tests.support.wall import Wall

TTL_S = 5.0
LOOK_S = 0.05
LATE_S = 0.2  # a look that comes so late is written down: the machine is busy, and the replicas share it
PATIENCE_S = 120.0
LIMITS = {"fleet": 3, "service": 1, "node": 3}
CAPS = {"lying": 2}  # runs of the playbook on one target within the hour
CONFIRM_S = 30.0  # how old a confirm-read may be at its intent
MANY = 100_000
GUARDS: dict[str, Any] = {
    "storm_min": MANY,
    "max_open": LIMITS["fleet"],
    "max_open_per_service": LIMITS["service"],
    "max_open_per_node": LIMITS["node"],
    "max_share": "100%",
    "min_start_interval": "0s",
    "budget_total_per_hour": MANY,
    "budget_per_service_per_hour": MANY,
    "attempts_max": 1000,
    "cooldown": "1s",
    "cooldown_max": "2s",
    "service_cooldown": "1s",
    "error_budget_runs": 1000,
    "error_budget_bad": 1000,
    "match_cap": 1000,
}


@dataclass(frozen=True, kw_only=True)
class Servers:
    """What a world stands on. ``call`` asks Consul directly, ``backend`` keeps the lease."""

    consul: str
    call: Callable[..., Awaitable[Any]]
    dsn: str
    token: str = ""
    backend: str = "consul"
    zookeeper: tuple[str, ...] = ()
    kubernetes: dict[str, str] = field(default_factory=dict)
    ttl_s: float = TTL_S


class World:
    """``async with`` it; then ``start`` replicas, put load on, do harm, and ``close_books``."""

    def __init__(self, servers: Servers, folder: Path, name: str, *, look: onlooker.Look, each: int = 3) -> None:
        self.servers, self.name, self.folder = servers, name, folder
        self.notes = Notes(folder / "books")
        self.dsn = servers.dsn  # where the journal is now; a fail-over moves it
        self.services = {
            f"{kind}-{n}-{name}": kind for kind in KINDS for n in range(each if kind != "lying" else 1)
        }
        self.failing: dict[str, float] = {}
        self.replicas: dict[str, Replica] = {}
        self.secrets = {what: f"{what}-{secrets.token_hex(12)}" for what in ("bearer", "password", "slack")}
        self.slack = SlackTwin(token=self.secrets["slack"])
        self.lost_commits = False  # whether the database lost what it had acknowledged
        self._look, self._stack = look, AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.targets = Targets(self.notes, self._journaled, self.heal)
            await stack.enter_async_context(self.targets)
            self.gate = await stack.enter_async_context(Chaos(self.targets.address))
            self.gate.heard = self._sent
            await self.slack.start()
            stack.push_async_callback(self.slack.stop)
            for service in self.services:
                await self._register(service)
                stack.push_async_callback(self.servers.call, "PUT", f"/v1/agent/service/deregister/{service}")
            self._tasks = asyncio.gather(onlooker.watch(self.notes, self._look), self._supervise())
            stack.push_async_callback(_end, self._tasks)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        for replica in self.replicas.values():
            await replica.finish()
        await self._stack.aclose()

    # ---- replicas

    async def replica(self, name: str, *, clock: bool = False) -> Replica:
        """Made, not started. ``clock``: with a wall clock of its own."""
        made = Replica(name, self.folder / name, self.notes)
        made.ways["consul"] = [await self._way(self.servers.consul)]
        made.ways["postgres"] = [await self._way(_place(self.dsn))]
        made.ways["zookeeper"] = [await self._way(f"tcp://{host}") for host in self.servers.zookeeper]
        made.folder.mkdir(parents=True)
        if clock:
            made.wall = Wall(made.folder)
            made.env = made.wall.env
        made.bot = Bot(made.folder, made.ways["consul"][0].address, *self._books(), **self._sections(made))
        self.replicas[name] = made  # supervised from now on
        return made

    async def start(self, name: str, failpoint: str = "", *, clock: bool = False) -> Replica:
        made = await self.replica(name, clock=clock)
        made.start(failpoint)
        return made

    async def pair(self, failpoint: str = "") -> tuple[Replica, Replica]:
        """a, which leads and has settled, and b, which stands by. The fail-point is a's."""
        a = await self.start("a", failpoint)
        await self.led("a")
        b = await self.start("b")
        await self.until("b stands by", b.bot.journal.with_suffix(".sock").exists)
        return a, b

    async def repaired(self, *services: str) -> None:
        """They fail, and their targets are asked to repair them."""
        for service in services:
            before = len(self.effects(service))
            await self.fail(service)
            await self.until(f"{service} is repaired", lambda: len(self.effects(service)) > before)

    def gained(self, name: str) -> int:
        """How often it has come to lead."""
        said = self.notes.lines("said")
        return sum(line["what"] == "lease_gained" and line["replica"] == name for line in said)

    @property
    def leader(self) -> Replica | None:
        """The one that was the last to say so, while it has not said otherwise."""
        for line in reversed(self.notes.lines("said")):
            if line["what"] == "lease_gained":
                return self.replicas[line["replica"]]
            return None
        return None

    async def led(self, by: str = "") -> Replica:
        """Once somebody leads and has settled."""
        await self.until("somebody leads", lambda: self.leader is not None and by in (self.leader.name, ""))
        await self.until("the view has settled", self._settled)
        assert self.leader is not None
        return self.leader

    async def move_journal(self, dsn: str) -> None:
        """The database has another address now: new connections go there."""
        self.dsn = dsn
        for replica in self.replicas.values():
            replica.ways["postgres"][0].point_at(_place(dsn))

    async def destroy_session(self) -> None:
        """As an operator may do with whatever holds the lease in Consul; nothing where nobody does."""
        found = await self.servers.call("GET", f"/v1/kv/consulguard/{self.name}")
        if found and "Session" in found[0]:
            self.notes.add("faults", replica="consul", what="session destroyed")
            await self.servers.call("PUT", f"/v1/session/destroy/{found[0]['Session']}")

    # ---- services

    async def fail(self, service: str) -> None:
        self.failing[service] = now()
        await self.servers.call("PUT", f"/v1/agent/check/fail/{service}")

    async def heal(self, service: str) -> None:
        self.failing.pop(service, None)
        await self.servers.call("PUT", f"/v1/agent/check/pass/{service}")

    def service(self, kind: str, number: int = 0) -> str:
        return f"{kind}-{number}-{self.name}"

    async def load(self, rng: random.Random, *, pause_s: tuple[float, float] = (0.3, 1.5)) -> None:
        """Until cancelled: one service after another fails; what nobody repairs comes back by itself."""
        while True:
            well = sorted(set(self.services) - set(self.failing))
            if well:
                await self._quietly(self.fail, rng.choice(well))
            for service, since in tuple(self.failing.items()):
                if now() - since > rng.uniform(15, 40):
                    await self._quietly(self.heal, service)
            await asyncio.sleep(rng.uniform(*pause_s))

    # ---- looking

    def record(self) -> Record:
        return shared.read(self.dsn)

    def effects(self, service: str = "") -> list[dict[str, Any]]:
        return [x for x in self.notes.lines("targets") if x["effect"] and service in (x["service"], "")]

    def epochs(self) -> list[int]:
        return [line["epoch"] for line in self.notes.lines("lease") if line["holder"]]

    async def until(self, what: str, look: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
        async def once() -> Any:
            if self._tasks.done():
                self._tasks.result()  # what ended them
            return await asyncio.to_thread(look)

        try:
            return await eventually(once, bool, within_s=within_s)
        except AssertionError as error:
            said = "\n".join(f"--- {n}: {r.bot.output()}" for n, r in self.replicas.items())
            raise AssertionError(f"{what}: {error}\n{said}") from None

    async def close_books(self, within_s: float = PATIENCE_S) -> Path:
        """After the last fault: everything is well, whoever leads comes to an end with it; the folder to judge."""
        self.notes.add("faults", replica="", what="over")
        for service in tuple(self.failing):
            await self.heal(service)
        with contextlib.suppress(AssertionError):  # the checker says what is left
            await self.until("all is quiet", self._quiet, within_s)
        for replica in self.replicas.values():
            await replica.finish()
        self._write()
        return self.notes.folder

    # ---- inside

    async def _way(self, target: str) -> Chaos:
        return await self._stack.enter_async_context(Chaos(target))

    def _books(self) -> list[dict[str, Any]]:
        return [self._book(kind) for kind in KINDS]

    def _book(self, kind: str) -> dict[str, Any]:
        request = {
            "method": "POST",
            "url": f"{self.gate.address}/{kind}",
            "body": {"service": "${target.service}"},
            "idempotent": kind != "once",
        }
        return {
            "name": kind,
            "mode": "auto",
            "match": {
                "scope": "instance",
                "states": ["critical"],
                "for": "1s",
                "unless": ["maintenance", "untrusted_view"],
                "matchers": [f'service=~"{kind}-.*-{self.name}"'],
            },
            **({"guards": {"attempts": {"max": CAPS[kind], "window": "1h"}}} if kind in CAPS else {}),
            "steps": [{"name": "post", "uses": "http.request", "with": request, "timeout": "5s"}],
            "verify": {"within": "6s" if kind == "lying" else "30s", "target": {"passing_for": 1}},
            "on_failure": "hold",
        }

    def _sections(self, replica: Replica) -> dict[str, Any]:
        host, port = replica.ways["postgres"][0].address.removeprefix("http://").split(":")
        named = dict(part.split("=", 1) for part in self.dsn.split())
        dsn = {**named, "host": host, "port": port, "password": self.secrets["password"]}
        bearer = f"Authorization: Bearer {self.secrets['bearer']}"
        files = {"dsn": " ".join(f"{k}={v}" for k, v in dsn.items()), "headers": bearer}
        files |= {"slack": self.secrets["slack"], "token": self.servers.token}
        for name, text in files.items():
            path = replica.folder / name
            path.write_text(f"{text}\n")
            path.chmod(0o600)
        token = {"token_file": "token"} if self.servers.token else {}
        host_given = {"url": self.gate.address, "private": True, "headers_file": "headers"}
        return {
            "consul": {"http_addr": replica.ways["consul"][0].address, **token},
            "guards": {**GUARDS, "hold_down": "1s", "root_settle": "1s", "min_looks": 1},
            "health": {"recovery": "1s", "flap_changes": MANY},
            "correlate": {"group_min": MANY, "infer": False, "resolve": "1s"},  # all stand on one node
            "actions": {"http": {"hosts": {"target": host_given}}},
            "journal": {"store": "postgresql", "dsn_file": "dsn"},
            "coordinate": self._coordinate(replica),
            "notify": {"group_wait": "1s", "board_interval": "0s", "remind": "0s"},
            "slack": {
                "enabled": True,
                "channel": "#incidents",
                "bot_token_file": "slack",
                "api_url": self.slack.api,
            },
            "server": {"dead_man": {"loop_lag": "30s", "append": "5s", "silence": "60s"}},
        }

    def _coordinate(self, replica: Replica) -> dict[str, Any]:
        given: dict[str, Any] = {"backend": self.servers.backend, "ttl": f"{self.servers.ttl_s:g}s"}
        given["key"] = f"consulguard/{self.name}"
        hosts = [proxy.address.removeprefix("http://") for proxy in replica.ways["zookeeper"]]
        more = {"zookeeper": {"hosts": hosts}, "kubernetes": self.servers.kubernetes}
        return given | ({self.servers.backend: more[self.servers.backend]} if self.servers.backend in more else {})

    async def _register(self, service: str) -> None:
        check = {"CheckID": service, "Name": "ttl", "TTL": "6h", "Status": "passing"}
        body = {"Name": service, "ID": service, "Port": 1, "Checks": [check]}
        await self.servers.call("PUT", "/v1/agent/service/register", body)

    async def _supervise(self) -> None:
        while True:
            for replica in tuple(self.replicas.values()):
                await replica.supervise(now())
            due = now() + LOOK_S
            await asyncio.sleep(LOOK_S)
            if (late_s := now() - due) > LATE_S:
                self.notes.add("late", late_s=round(late_s, 3))

    async def _quietly(self, what: Callable[[str], Awaitable[None]], service: str) -> None:
        try:
            await what(service)
        except (OSError, TimeoutError, aiohttp.ClientError, RuntimeError, AssertionError):
            self.failing.setdefault(service, now())  # nobody knows; tried again later

    def _sent(self, chunk: bytes) -> None:
        """A request of some replica has come to the gate in front of the targets."""
        head = dict(line.split(b": ", 1) for line in chunk.split(b"\r\n\r\n")[0].split(b"\r\n") if b": " in line)
        head = {name.lower(): value for name, value in head.items()}
        if b"idempotency-key" in head:
            attempt, epoch = head[b"idempotency-key"].decode(), int(head[b"x-consulguard-epoch"])
            self.notes.add("sends", attempt=attempt, epoch=epoch)

    def _journaled(self, attempt: str) -> bool | None:
        text = (
            "SELECT 1 FROM consulguard.entries WHERE kind = 'intent' AND position(%s::bytea IN body) > 0 LIMIT 1"
        )
        try:
            with psycopg.connect(self.dsn, connect_timeout=2) as con:
                con.execute("SET statement_timeout = 3000")
                return con.execute(text, (f'"{attempt}"'.encode(),)).fetchone() is not None
        except psycopg.Error:
            return None

    def _settled(self) -> bool:
        """Whoever leads now has journaled that it sees, trusts and has settled."""
        gained = [line["epoch"] for line in self.notes.lines("said") if line["what"] == "lease_gained"]
        views = [line for line in self.record().events("ViewChanged") if gained and line.epoch == gained[-1]]
        view = views[-1].body["view"] if views and self.leader is not None else {}
        return bool(view.get("trusted") and view.get("settled"))

    def _quiet(self) -> bool:
        record = self.record()
        if not record.lines or any(not held(record.messages.get(i, {})) for i in self._open(record)):
            return False
        with psycopg.connect(self.dsn) as con:
            waiting = con.execute("SELECT count(*) FROM consulguard.outbox WHERE state = 'pending'").fetchone()
        return waiting == (0,) and self._settled() and not self._open_incidents(record)

    def _open(self, record: Record) -> list[str]:
        """Incidents with an attempt that has no outcome."""
        intents = [line.body["intent"] for line in record.lines if line.kind == "intent"]
        return [intent["incident_id"] for intent in intents if intent["id"] in record.open_attempts]

    def _open_incidents(self, record: Record) -> bool:
        return any(m.get("incident") and m["severity"] != "resolved" for m in record.messages.values())

    def _write(self) -> None:
        """The journal's tables, what Slack shows, the logs, and what the judge has to know."""
        self.notes.put("journal", dump(self.dsn))
        self.notes.put("slack", [vars(m) for m in self.slack.messages])
        for name, replica in self.replicas.items():
            (self.notes.folder / f"{name}.log").write_bytes((replica.folder / "bot.log").read_bytes())
        self.notes.put(
            "world",
            {
                "backend": self.servers.backend,
                "ttl_s": self.servers.ttl_s,
                "services": self.services,
                "limits": LIMITS,
                "caps": CAPS,
                "confirm_s": CONFIRM_S,
                "lost_commits": self.lost_commits,
                "secrets": [*self.secrets.values(), *([self.servers.token] if self.servers.token else [])],
            },
        )


def dump(dsn: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of the journal's tables, in their order."""
    found: dict[str, list[dict[str, Any]]] = {}
    with psycopg.connect(dsn) as con:
        for table in ("entries", "outbox", "snapshots", "base"):
            cursor = con.execute(f"SELECT * FROM consulguard.{table} ORDER BY 1".encode())
            names = [column.name for column in cursor.description or ()]
            found[table] = [
                {n: v.decode() if isinstance(v, bytes) else v for n, v in zip(names, row, strict=True)}
                for row in cursor
            ]
    return found


def _place(dsn: str) -> str:
    named = dict(part.split("=", 1) for part in dsn.split())
    return f"tcp://{named['host']}:{named['port']}"


async def _end(tasks: asyncio.Future[Any]) -> None:
    tasks.cancel()
    await asyncio.gather(tasks, return_exceptions=True)
