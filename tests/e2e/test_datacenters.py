"""Two real Consul datacenters, two replicas, a real PostgreSQL: each datacenter is led by one of them, alone."""

from __future__ import annotations

import itertools
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from consulguard.coordinate import owner
from consulguard.testing.ports import free_ports

from tests.e2e.support import shared
from tests.e2e.support.bot import Bot
from tests.e2e.support.journal import Record
from tests.e2e.support.receiver import Receiver, recorded
from tests.e2e.support.scene import FREE
from tests.support.datacenters import Datacenters
from tests.support.postgresql import RealPostgres
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]

PATIENCE_S = 120.0
TTL = "8s"
UNITS = ("dc1", "dc2")
MATCH = {"role": "root_cause", "scope": "instance", "states": ["critical"], "for": "1s"}


class Fleet:
    """Two replicas, so named that each has one datacenter by the ring, and a recording target."""

    def __init__(self, datacenters: Datacenters, dsn: str, folder: Path, name: str) -> None:
        self.datacenters, self.dsn, self.folder, self.name = datacenters, dsn, folder, name
        self.recording = folder / "recording"
        self.bots: dict[str, Bot] = {}
        self.ports: dict[str, int] = {}
        self.target: Receiver
        self.home = dict(zip(UNITS, _names(), strict=True))  # datacenter -> the replica that owns it

    def record(self, datacenter: str) -> Record:
        return shared.read(self.dsn, f"consulguard_{datacenter}")

    def attempts(self) -> list[str]:
        return [attempt for unit in UNITS for attempt in self.record(unit).attempts]

    def epochs(self, datacenter: str) -> list[int]:
        """Of those who gained its lease, in order."""
        return [line.epoch for line in self.record(datacenter).events("LeaseChanged") if line.body["held"]]

    def make(self, which: str) -> Bot:
        step = {"method": "POST", "url": f"{self.target.address}/restart", "idempotent": True}
        book = {
            "name": "restart",
            "mode": "auto",
            "match": {**MATCH, "matchers": [f'service=~"{self.name}.*"']},
            "steps": [{"name": "post", "uses": "http.request", "with": step}],
            "verify": {"within": "60s", "target": {"passing_for": 1}},
            "on_failure": "hold",
        }
        (self.folder / "dsn").write_text(f"{self.dsn}\n")
        (self.folder / "dsn").chmod(0o600)
        self.ports[which] = free_ports(1)[0]
        coordinate = {
            "backend": "consul",
            "key": f"consulguard/{self.name}",
            "ttl": TTL,
            "member": which,
            "units": [{"datacenter": unit} for unit in UNITS],
        }
        sections: dict[str, Any] = {
            **FREE,
            "actions": {"http": {"hosts": {"target": {"url": self.target.address, "private": True}}}},
            "journal": {"store": "postgresql", "dsn_file": str(self.folder / "dsn")},
            "coordinate": coordinate,
            "server": {"listen": f"127.0.0.1:{self.ports[which]}", "dead_man": {"loop_lag": "60s"}},
        }
        bot = self.bots[which] = Bot(self.folder / which, self.datacenters.dc1.address, book, **sections)
        return bot

    async def start(self) -> None:
        for which in self.home.values():
            self.make(which).start()
        await self.led_as_the_ring_says()
        for unit in UNITS:
            await self.until(f"{unit} is settled", lambda unit=unit: self.settled(unit))

    async def led_as_the_ring_says(self) -> None:
        """Once it is so by the metrics, so says ``consulguard shards``."""

        async def look() -> list[dict[str, float]]:
            return [await self.metrics(self.home[unit]) for unit in UNITS]

        wanted = [{unit: float(unit == mine) for unit in UNITS} for mine in UNITS]
        try:
            await eventually(look, lambda leads: leads == wanted, within_s=PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None
        told = await self.bots[self.home["dc1"]].ask("shards")
        led = {u["datacenter"]: (u["owner"], u["holder"], u["epoch"]) for u in told["units"]}
        assert led == {unit: (who, who, self.epochs(unit)[-1]) for unit, who in self.home.items()}
        assert {m["name"]: m["owns"] for m in told["members"]} == {who: [unit] for unit, who in self.home.items()}

    async def until(self, what: str, look: Any) -> None:
        async def once() -> Any:
            gone = [name for name, bot in self.bots.items() if bot.ended_with() not in (None, -signal.SIGKILL)]
            return "ended" if gone else look()

        try:
            assert await eventually(once, bool, within_s=PATIENCE_S) != "ended"
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}\n{self.said()}") from None

    def said(self) -> str:
        return "\n".join(f"--- {name}: {bot.output()}" for name, bot in self.bots.items())

    def effects(self) -> list[dict[str, Any]]:
        return [line for line in recorded(self.recording) if line["effect"]]

    def settled(self, datacenter: str) -> bool:
        """In its newest life."""
        record = self.record(datacenter)
        seen = [c for c in record.events("ViewChanged") if record.lives and c.at >= record.lives[-1]]
        view = seen[-1].body["view"] if seen else {}
        return bool(view.get("trusted") and view.get("settled"))

    async def metrics(self, which: str) -> dict[str, float]:
        """Unit -> whether this replica leads it."""
        url = f"http://127.0.0.1:{self.ports[which]}/metrics"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                lines = (await answer.text()).splitlines()
        except aiohttp.ClientError:  # it is about to listen
            return {}
        leads = [line for line in lines if line.startswith("consulguard_is_leader{")]
        return {line.split('unit="')[1].split('"')[0]: float(line.split()[-1]) for line in leads}


def _names() -> tuple[str, str]:
    """Of two replicas of which the first owns dc1 and the second dc2."""
    for number in itertools.count():
        pair = (f"a{number}", f"b{number}")
        alive = dict.fromkeys(pair, UNITS)
        if tuple(owner(unit, alive) for unit in UNITS) == pair:
            return pair
    raise AssertionError


@pytest.fixture
async def fleet(
    datacenters: Datacenters, postgres: RealPostgres, tmp_path: Path, unique: str
) -> AsyncIterator[Fleet]:
    made = Fleet(datacenters, await postgres.database(unique), tmp_path, unique)
    async with Receiver(made.recording, lambda attempt: attempt in made.attempts(), careful=True) as target:
        made.target = target
        for unit in UNITS:
            await datacenters.register(unit, f"{unique}-{unit}")
        yield made
        for bot in made.bots.values():
            await bot.kill()
        for unit in UNITS:
            await datacenters.remove(unit, f"{unique}-{unit}")


async def test_each_datacenter_is_led_and_repaired_by_its_owner_alone(fleet: Fleet) -> None:
    await fleet.start()
    assert await fleet.metrics(fleet.home["dc1"]) == {"dc1": 1.0, "dc2": 0.0}
    assert await fleet.metrics(fleet.home["dc2"]) == {"dc1": 0.0, "dc2": 1.0}
    await fleet.datacenters.fail("dc2", f"{fleet.name}-dc2")
    await fleet.until("it is repaired", fleet.effects)
    [effect] = fleet.effects()
    assert effect["journaled"]
    assert effect["epoch"] == fleet.epochs("dc2")[-1]
    assert fleet.record("dc1").attempts == []
    status = await fleet.bots[fleet.home["dc1"]].ask("incident", "list", "--datacenter", "dc2")
    assert [i["root"]["datacenter"] for i in status["incidents"]] == ["dc2"]


async def test_a_unit_moves_when_its_owner_dies_and_back_when_it_returns(fleet: Fleet) -> None:
    """The other unit does not notice: its leader and its epoch stay."""
    await fleet.start()
    before = {unit: fleet.epochs(unit) for unit in UNITS}
    lost, heir = fleet.home["dc2"], fleet.home["dc1"]
    await fleet.bots[lost].kill()
    await fleet.until("dc2 has moved", lambda: len(fleet.epochs("dc2")) > len(before["dc2"]))
    await fleet.until("dc2 is settled", lambda: fleet.settled("dc2"))
    assert fleet.epochs("dc2")[-1] > before["dc2"][-1]
    assert await fleet.metrics(heir) == {"dc1": 1.0, "dc2": 1.0}
    await fleet.datacenters.fail("dc2", f"{fleet.name}-dc2")
    await fleet.until("it is repaired", fleet.effects)
    assert [effect["epoch"] for effect in fleet.effects()] == [fleet.epochs("dc2")[-1]]

    fleet.bots[lost].start()
    await fleet.led_as_the_ring_says()
    assert await fleet.metrics(heir) == {"dc1": 1.0, "dc2": 0.0}
    assert fleet.epochs("dc2") == sorted(set(fleet.epochs("dc2")))
    assert fleet.epochs("dc1") == before["dc1"]
    assert len(fleet.effects()) == 1


async def test_a_root_cause_in_the_other_datacenter_is_found_and_left_to_its_own(fleet: Fleet) -> None:
    """dc1's web calls dc2's service. Its unit names that one, and does nothing; dc2's repairs it."""
    name, web = f"{fleet.name}-dc2", f"{fleet.name}-dc1"
    calls = [{"DestinationName": name, "Datacenter": "dc2", "LocalBindPort": 1}]
    alias = {"Name": "alias", "AliasService": web}  # without a check of its own it would be asked by TCP
    sidecar = {"Port": 2, "Proxy": {"Upstreams": calls}, "Checks": [alias]}
    await fleet.datacenters.register("dc1", web, Connect={"SidecarService": sidecar})
    await fleet.start()
    await fleet.datacenters.fail("dc2", name)
    await fleet.until("dc2 has repaired its own", fleet.effects)

    def heard() -> bool:
        return any(event.body.get("failing") for event in fleet.record("dc1").events("HeardOf"))

    def blamed() -> bool:
        told = [m for m in fleet.record("dc1").messages.values() if "incident" in m]
        return any(m["incident"]["root"]["name"] == name for m in told)

    await fleet.until("dc1 has heard of it", heard)
    await fleet.datacenters.fail("dc1", web)
    await fleet.until("dc1 blames dc2's service", blamed)
    told = await fleet.bots[fleet.home["dc1"]].ask("incident", "list", "--datacenter", "dc1")
    [incident] = [i for i in told["incidents"] if i["root"]["name"] == name]
    assert incident["root"]["datacenter"] == "dc2"
    assert (web, "affected") in {(m["name"], m["role"]) for m in incident["members"]}
    assert f"dc2 says that {name} fails there" in incident["why"][0]
    assert fleet.record("dc1").attempts == []
    assert len(fleet.effects()) == 1
