"""The Consul twin fails as it is told to, and only until it is healed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from consulguard.testing import ConsulTwin


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


class Asked:
    def __init__(self, status: int, headers: Any, text: str) -> None:
        self.status, self.headers, self.text = status, headers, text


async def ask(session: aiohttp.ClientSession, twin: ConsulTwin, path: str, **params: Any) -> Asked:
    async with session.get(f"{twin.address}/v1{path}", params=params) as answer:
        return Asked(answer.status, answer.headers, await answer.text())


async def test_failures_count_down(twin: ConsulTwin, session: aiohttp.ClientSession) -> None:
    twin.fail("/v1/health", status=503, count=2)
    statuses = [(await ask(session, twin, "/health/state/critical")).status for _ in range(3)]
    assert statuses == [503, 503, 200]


async def test_a_failure_is_for_its_path_and_looks_like_consuls(
    twin: ConsulTwin, session: aiohttp.ClientSession
) -> None:
    twin.fail("/v1/health")
    reply = await ask(session, twin, "/health/state/critical")
    assert (reply.status, reply.headers["X-Consul-Index"]) == (500, "1")
    assert (await ask(session, twin, "/catalog/nodes")).status == 200
    twin.heal()
    assert (await ask(session, twin, "/health/state/critical")).status == 200


async def test_frozen_requests_go_on_when_healed(twin: ConsulTwin, session: aiohttp.ClientSession) -> None:
    twin.freeze()
    task = asyncio.create_task(ask(session, twin, "/catalog/nodes"))
    done, _ = await asyncio.wait([task], timeout=0.2)
    assert not done
    twin.heal()
    assert (await task).status == 200


async def test_without_a_leader_blocked_reads_break_and_stale_ones_say_so(
    twin: ConsulTwin, session: aiohttp.ClientSession
) -> None:
    blocked = asyncio.create_task(ask(session, twin, "/catalog/nodes", index=999, wait="30s"))
    while not twin.world.hub.waiting:
        await asyncio.sleep(0.01)
    twin.leaderless()
    assert (await blocked).status == 500
    assert (await ask(session, twin, "/catalog/nodes")).text == "No cluster leader"
    stale = await ask(session, twin, "/catalog/nodes", stale="")
    assert (stale.status, stale.headers["X-Consul-Knownleader"]) == (200, "false")
    assert (await ask(session, twin, "/status/leader")).text == '""'


async def test_a_restored_snapshot_ends_waits_with_the_old_answer_and_then_goes_back(
    twin: ConsulTwin, session: aiohttp.ClientSession
) -> None:
    before = await ask(session, twin, "/catalog/nodes")
    index = before.headers["X-Consul-Index"]
    blocked = asyncio.create_task(ask(session, twin, "/catalog/nodes", index=index, wait="30s"))
    while not twin.world.hub.waiting:
        await asyncio.sleep(0.01)
    twin.drop_index(to=3)
    ended = await blocked
    assert (ended.headers["X-Consul-Index"], ended.text) == (index, before.text)
    assert int((await ask(session, twin, "/catalog/nodes")).headers["X-Consul-Index"]) <= 3


async def test_acls_that_filter_everything_answer_200_and_nothing(
    twin: ConsulTwin, session: aiohttp.ClientSession
) -> None:
    twin.empty_by_acl()
    assert (await ask(session, twin, "/catalog/nodes")).text == "[]"
    assert (await ask(session, twin, "/catalog/services")).text == "{}"
    asked = [{"Resource": "node", "Access": "read", "Segment": "x"}]
    async with session.post(f"{twin.address}/v1/internal/acl/authorize", json=asked) as answer:
        assert (await answer.json())[0]["Allow"] is False


async def test_denied_and_pages_that_are_not_consuls(twin: ConsulTwin, session: aiohttp.ClientSession) -> None:
    twin.deny()
    assert (await ask(session, twin, "/catalog/nodes")).status == 403
    twin.heal()
    twin.html()
    reply = await ask(session, twin, "/catalog/nodes")
    assert (reply.status, reply.headers["Content-Type"].split(";")[0]) == (200, "text/html")


async def test_a_restart_keeps_address_and_state(twin: ConsulTwin, session: aiohttp.ClientSession) -> None:
    async with session.put(f"{twin.address}/v1/kv/x", data=b"1") as answer:
        assert answer.status == 200
    address = twin.address
    await twin.restart()
    assert twin.address == address
    assert (await ask(session, twin, "/kv/x", raw="")).text == "1"


async def test_an_unplugged_agent_refuses_while_another_serves(
    twin: ConsulTwin, session: aiohttp.ClientSession
) -> None:
    other = await twin.add_agent("second")
    await twin.unplug()
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(session, twin, "/catalog/nodes")
    async with session.get(f"{other}/v1/catalog/nodes") as answer:
        assert {n["Node"] for n in await answer.json()} == {"local", "second"}
    await twin.plug()
    assert (await ask(session, twin, "/catalog/nodes")).status == 200


async def test_an_instance_belongs_to_the_agent_that_registered_it(
    twin: ConsulTwin, session: aiohttp.ClientSession
) -> None:
    other = await twin.add_agent("second")
    async with session.put(f"{other}/v1/agent/service/register", json={"Name": "api"}) as answer:
        assert answer.status == 200
    path = "/v1/agent/service/maintenance/api?enable=true"
    async with session.put(twin.address + path) as wrong, session.put(other + path) as right:
        assert (wrong.status, right.status) == (404, 200)


async def test_a_bulk_of_checks_flips_at_once(twin: ConsulTwin, session: aiohttp.ClientSession) -> None:
    keys = twin.bulk(services=50, instances=4, checks=2, nodes=10)
    assert len(keys) == 400
    index = (await ask(session, twin, "/health/state/critical")).headers["X-Consul-Index"]
    blocked = asyncio.create_task(ask(session, twin, "/health/state/critical", index=index, wait="30s"))
    while not twin.world.hub.waiting:
        await asyncio.sleep(0.01)
    assert twin.flip(keys, "critical", "down") == 400
    reply = await blocked
    assert reply.text.count('"Status":"critical"') == 400
    assert twin.flip(keys, "passing") == 400
    assert (await ask(session, twin, "/health/state/critical")).text == "[]"


async def test_requests_are_counted(twin: ConsulTwin, session: aiohttp.ClientSession) -> None:
    await ask(session, twin, "/catalog/nodes")
    await ask(session, twin, "/catalog/nodes")
    assert dict(twin.requests) == {("GET", "/v1/catalog/nodes"): 2}


async def test_a_later_version_knows_later_kinds() -> None:
    async with ConsulTwin(version="1.12.0") as twin, aiohttp.ClientSession() as session:
        assert (await ask(session, twin, "/config/service-intentions")).status == 200
