"""What must not be acted upon: an instance that leaves, and half the fleet failing at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from consulguard.testing import RealConsul

from tests.e2e.support import journal
from tests.e2e.support.bot import Bot
from tests.e2e.support.proxy import RecordingProxy
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]

DRAIN = {
    "name": "drain",
    "mode": "auto",
    "match": {"scope": "instance", "for": "1s", "matchers": ['service=~"svc-.*"']},
    "steps": [{"name": "drain", "uses": "consul.maintenance", "with": {"enable": True}}],
    "verify": {"within": "10s", "target": {"passing_for": 1}},
}


class Fleet:
    """Instances with TTL checks that a test passes and fails by hand; ``svc-0-1`` is the second of ``svc-0``."""

    def __init__(self, consul: RealConsul, session: aiohttp.ClientSession) -> None:
        self._consul, self._session = consul, session

    async def register(self, services: int, instances: int) -> list[str]:
        names = [(f"svc-{s}", f"svc-{s}-{i}") for s in range(services) for i in range(instances)]
        for service, instance in names:
            check = {"CheckID": instance, "Name": "ttl", "TTL": "1h", "Status": "passing"}
            body = {"Name": service, "ID": instance, "Port": 1, "Checks": [check]}
            await self.put("/v1/agent/service/register", body)
        return [instance for _, instance in names]

    async def put(self, path: str, body: Any = None) -> None:
        async with self._session.put(self._consul.address + path, json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def fail(self, *checks: str) -> None:
        await asyncio.gather(*(self.put(f"/v1/agent/check/fail/{check}") for check in checks))


@pytest.fixture
async def fleet(real_consul: RealConsul) -> AsyncIterator[Fleet]:
    async with aiohttp.ClientSession() as session:
        yield Fleet(real_consul, session)


@pytest.fixture
async def proxy(real_consul: RealConsul) -> AsyncIterator[RecordingProxy]:
    async with RecordingProxy(real_consul.address) as proxy:
        yield proxy


@pytest.fixture
async def bot(proxy: RecordingProxy, real_consul: RealConsul, tmp_path: Path) -> AsyncIterator[Bot]:
    agents = {"agents": {"addresses": {real_consul.node: proxy.address}}}
    bot = Bot(tmp_path / "bot", proxy.address, DRAIN, actions=agents)
    yield bot
    await bot.stop()


async def until(bot: Bot, holds: Any, within_s: float = 40.0) -> journal.Record:
    async def look() -> journal.Record:
        return journal.read(bot.journal)

    try:
        return await eventually(look, holds, within_s=within_s)
    except AssertionError:
        raise AssertionError(f"not within {within_s:g} s: {bot.output()}") from None


def settled(record: journal.Record) -> bool:
    views = record.events("ViewChanged")
    return bool(views) and views[-1].body["view"].get("settled", False)


def not_passing(record: journal.Record) -> int:
    views = record.events("ViewChanged")
    return int(views[-1].body["view"].get("not_passing", 0)) if views else 0


async def test_one_failing_instance_of_this_very_fleet_is_acted_upon(
    fleet: Fleet, proxy: RecordingProxy, bot: Bot
) -> None:
    """Without this the restraint of the other tests would prove nothing."""
    instances = await fleet.register(5, 4)
    bot.start()
    await until(bot, settled)
    await fleet.fail(instances[0])
    record = await until(bot, lambda r: r.events("Resulted"))
    assert [i["target"]["instance"] for i in record.intents] == [instances[0]]
    assert [w.path for w in proxy.writes] == [f"/v1/agent/service/maintenance/{instances[0]}"]


async def test_half_the_fleet_at_once_is_no_action_and_one_message(
    fleet: Fleet, proxy: RecordingProxy, bot: Bot
) -> None:
    instances = await fleet.register(5, 4)
    bot.start()
    await until(bot, settled)
    await fleet.fail(*instances[1::2], *instances[:2])  # 11 of 20, some of each service
    await until(bot, lambda r: not_passing(r) == 11)
    begin = journal.read(bot.journal).lines[-1].at
    record = await until(bot, lambda r: r.lines[-1].at > begin + 10)
    assert record.intents == []
    assert proxy.writes == []
    assert list(record.messages) == ["storm"]
    assert record.messages["storm"]["version"] == 1
    steps = [s for i in (await bot.ask("plan"))["incidents"] for s in i["steps"]]
    assert steps, "the playbook would act, were it not for the brake"
    for step in steps:
        assert {g["guard"]: g["verdict"] for g in step["guards"]}["storm_brake"] == "WAIT"


async def test_a_failing_instance_that_leaves_is_not_recovered(
    fleet: Fleet, proxy: RecordingProxy, bot: Bot
) -> None:
    instances = await fleet.register(1, 3)
    (bot.folder / "playbooks" / "drain.yaml").write_text(
        '{"name": "tell", "match": {"scope": "any", "for": "1s", "match_all": true}, "steps": []}'
    )
    bot.start()
    await until(bot, settled)
    await fleet.fail(instances[0])
    await until(bot, lambda r: r.messages)
    await fleet.put(f"/v1/agent/service/deregister/{instances[0]}")
    await until(bot, lambda r: any(o["status"] == "absent" for o in observations(r)))
    begin = journal.read(bot.journal).lines[-1].at
    record = await until(bot, lambda r: r.lines[-1].at > begin + 5)
    assert [m["severity"] for m in record.messages.values()] == ["critical"]
    [incident] = (await bot.ask("incident", "list"))["incidents"]
    assert incident["state"] == "open"
    assert (instances[0], "vanished") in {(m["name"], m["state"]) for m in incident["members"]}
    assert proxy.writes == []


def observations(record: journal.Record) -> list[dict[str, Any]]:
    return [o for e in record.events("Observed") for o in e.body["observations"]]
