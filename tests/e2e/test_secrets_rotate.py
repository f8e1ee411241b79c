"""Every secret there is changes under one running daemon, and the old ones are refused from then on."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from consulguard.testing import SlackPeople, SlackTwin
from consulguard.testing.ports import free_ports

from tests.e2e.cluster_bot import watch_token
from tests.e2e.support import shared
from tests.e2e.support.gates import Gates
from tests.e2e.support.journal import Record
from tests.e2e.support.scene import Scene
from tests.e2e.test_cluster_faults import Agent
from tests.support.cluster import Cluster
from tests.support.otlp import Receiver
from tests.support.postgresql import RealPostgres
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]
WITHIN_S = 90.0


class World(Scene):
    """A scene whose journal is in PostgreSQL, with everybody who wants a secret."""

    def __init__(self, cluster: Cluster, postgres: RealPostgres, folder: Path, name: str) -> None:
        super().__init__(Agent(cluster.address("c1"), "c1"), folder, name)
        self.token = cluster.root_token
        self.cluster, self.postgres, self.name = cluster, postgres, name
        self.dsn = postgres.dsn_of(name)
        self.slack = SlackTwin(token="xoxb-old")
        self.people = SlackPeople(self.slack, app_token="xapp-old", secret="signing-old")
        self.ann = self.slack.add_user("ann")
        self.gates = Gates(webhook="webhook-old", alerts="alerts-old", beat="beat-old")
        self.collector = Receiver()
        self.door = f"127.0.0.1:{free_ports(1)[0]}"
        self._secrets = folder / "secrets"
        self._secrets.mkdir(mode=0o700)

    def record(self) -> Record:
        return shared.read(self.dsn)

    messages = record

    def put(self, name: str, value: str) -> str:
        """As a Secret's volume does it: another file under the same name."""
        aside = self._secrets / f".{name}"
        aside.write_text(value + "\n")
        aside.chmod(0o600)
        aside.rename(self._secrets / name)
        return str(self._secrets / name)

    async def put_all(self, which: str) -> dict[str, str]:
        """Files by name; the Consul token in them is the one this returns."""
        await self.postgres.ask(f"ALTER ROLE {self.name} PASSWORD 'pg-{which}'")
        given = {
            "consul": await watch_token(self.cluster),
            "dsn": self.dsn.replace("user=guard", f"user={self.name} password=pg-{which}"),
            "bot": f"xoxb-{which}",
            "app": f"xapp-{which}",
            "signing": f"signing-{which}",
            "webhook": f"Authorization: Bearer webhook-{which}",
            "alerts": f"alerts-{which}",
            "beat": f"{self.gates.address}/beat/beat-{which}",
            "collector": f"Authorization: Bearer collector-{which}",
        }
        for name, value in given.items():
            self.put(name, value)
        return given

    def sections(self) -> dict[str, Any]:
        def file(name: str) -> str:
            return str(self._secrets / name)

        webhook = {"url": self.gates.address, "private": True, "headers_file": file("webhook")}
        viewer = {"slack_users": [self.ann.id]}
        slack = {"enabled": True, "channel": "#incidents", "api_url": self.slack.api, "app_id": "A0TWIN"}
        slack |= {"bot_token_file": file("bot"), "app_token_file": file("app")}
        slack |= {"listen": self.door, "signing_secret_file": file("signing")}
        return {
            "consul": {"http_addr": self._seen, "token_file": file("consul")},
            "journal": {"store": "postgresql", "dsn_file": file("dsn"), "path": str(self._folder / "state" / "j")},
            "actions": {"http": {"hosts": {"gate": webhook}}},
            "slack": slack,
            "access": {"slack_teams": ["T0TWIN"], "viewer": viewer},
            "receivers": {"am": {"kind": "alertmanager", "url": self.gates.address, "token_file": file("alerts")}},
            "route": {
                "receiver": "slack",
                "routes": [{"receiver": "am", "continue": True}, {"receiver": "slack"}],
            },
            "notify": {"heartbeat_url_file": file("beat"), "heartbeat_interval": "1s"},
            "tracing": {"enabled": True, "endpoint": self.collector.endpoint, "headers_file": file("collector")},
        }

    # ---- what is seen with the secrets of a moment

    async def repaired(self, service: str) -> None:
        await self.fail(service)
        await self.until_run(service, "verifying", within_s=WITHIN_S)
        await self.heal(service)
        await self.until_run(service, "done", within_s=WITHIN_S)

    async def sees(self, what: str, look: Any) -> None:
        await self.until(what, look, within_s=WITHIN_S)

    async def everybody_takes(self, which: str, service: str) -> None:
        """A repair from end to end, and each who wants a secret has taken this one."""
        await self.repaired(service)
        assert self.gates.taken["webhook", f"webhook-{which}"]
        for gate in ("alerts", "beat"):
            await self.sees(gate, lambda gate=gate: self.gates.taken[gate, f"{gate}-{which}"])
        await self.sees("Slack", lambda: [m for m in self.slack.parents() if self.named(service) in m.text])
        bearer = f"Bearer collector-{which}"
        await self.sees("traces", lambda: bearer in [h.get("Authorization") for h in self.collector.headers])
        before = len(self.people.whispers(self.ann))
        await self.people.connected(within_s=WITHIN_S)
        await self.people.command(self.ann, "status")
        await self.sees("an answer by the socket", lambda: len(self.people.whispers(self.ann)) > before)
        assert (await self.by_http(f"signing-{which}")) == 200

    async def by_http(self, secret: str) -> int | None:
        self.people.door, self.people.secret = f"http://{self.door}", secret
        try:
            return (await self.people.command(self.ann, "status")).status
        finally:
            self.people.door = ""


@contextlib.asynccontextmanager
async def opened(cluster: Cluster, postgres: RealPostgres, folder: Path, name: str) -> AsyncIterator[World]:
    hba = postgres.folder / "data" / "pg_hba.conf"
    hba.write_text(f"host all {name} 127.0.0.1/32 scram-sha-256\n{hba.read_text()}")
    for word in (f"CREATE ROLE {name} LOGIN", f"CREATE DATABASE {name} OWNER {name}", "SELECT pg_reload_conf()"):
        await postgres.ask(word)
    world = World(cluster, postgres, folder, name)
    async with world.slack, world.gates, world.collector, world:
        yield world


async def test_all_secrets_of_one_running_daemon(
    cluster: Cluster, postgres: RealPostgres, tmp_path: Path, unique: str
) -> None:
    async with opened(cluster, postgres, tmp_path, unique) as world:
        for service in ("one", "two", "three"):
            world.book(service, world.post(world.gates.address))
            await world.service(service)
        old = await world.put_all("old")
        bot = world.make_bot(**world.sections())
        bot.start()
        await world.settled()
        await world.everybody_takes("old", "one")
        pid = bot.pid

        await world.put_all("new")
        world.gates.secrets = {gate: f"{gate}-new" for gate in world.gates.secrets}
        world.slack.token = "xoxb-new"
        world.people.set_app_token("xapp-new")
        world.people.drop()
        await cluster.delete_token(old["consul"])
        assert await world.by_http("signing-of-nobody") == 401
        await world.everybody_takes("new", "two")
        assert len(world.record().lives) == 1, "nothing was begun anew"

        # The connection to PostgreSQL outlives its password. What opens another one takes the new one: a reader,
        # and the same process when changed settings make it begin a new life.
        assert (await bot.ask("status"))["incidents"] is not None
        given = json.loads(bot.config.read_text())
        bot.config.write_text(json.dumps(given | {"health": {"recovery": "2s"}}))
        bot.signal(signal.SIGHUP)
        await world.sees("a second life", lambda: len(world.record().lives) == 2)
        await world.settled()
        await world.repaired("three")
        assert bot.pid == pid
        assert bot.runs
        journaled = " ".join(json.dumps(line.body) for line in world.record().lines)
        for secret in ("xoxb-", "xapp-", "signing-", "webhook-", "alerts-", "beat-", "collector-", "pg-"):
            assert f"{secret}old" not in journaled


async def test_a_secret_that_is_gone_or_bad_for_a_moment_is_no_loss(tmp_path: Path) -> None:
    """The file of a webhook's headers: what it said before stays until it says something good again."""
    from consulguard.config.files import HeadersFile

    path = tmp_path / "headers"
    path.write_text("Authorization: Bearer one\n")
    path.chmod(0o600)
    headers = HeadersFile(path)
    assert dict(headers) == {"Authorization": "Bearer one"}
    for text in ("no colon here\n", None):
        path.write_text(text) if text is not None else path.unlink()
        assert dict(headers) == {"Authorization": "Bearer one"}
    path.write_text("Authorization: Bearer two\nX-More: 3\n")

    async def look() -> dict[str, str]:
        return dict(headers)

    assert await eventually(look, lambda now: now == {"Authorization": "Bearer two", "X-More": "3"})
    assert "two" not in repr(headers)
