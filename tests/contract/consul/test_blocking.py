"""Blocking queries: what wakes them, what does not, and the index they answer with."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.consul.conftest import Http, Reply


class Blocked:
    """A read that should be sleeping by the time ``begin`` returns."""

    def __init__(self, http: Http, path: str) -> None:
        self._http = http
        self._path = path

    async def __aenter__(self) -> Blocked:
        self.before = await self._http.get(self._path)
        read = self._http.get(self._path, index=self.before.index, wait="8s")
        self.task = asyncio.create_task(read, name=f"blocked on {self._path}")
        done, _ = await asyncio.wait([self.task], timeout=0.25)
        assert not done, "nothing was written, and yet it answered"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def woken(self) -> Reply:
        return await asyncio.wait_for(self.task, 3)

    async def sleeps_on(self) -> bool:
        done, _ = await asyncio.wait([self.task], timeout=0.4)
        return not done


async def test_a_wait_that_is_over_answers_the_same_index(http: Http, unique: str) -> None:
    await http.register(unique, service=unique)
    before = await http.get(f"/health/service/{unique}")
    start = asyncio.get_running_loop().time()
    after = await http.get(f"/health/service/{unique}", index=before.index, wait="1s")
    took = asyncio.get_running_loop().time() - start
    assert (after.index, after.json) == (before.index, before.json)
    assert 0.95 <= took <= 2.0  # the server adds up to a sixteenth


async def test_an_old_index_answers_at_once(http: Http, unique: str) -> None:
    await http.register(unique, service=unique)
    reply = await asyncio.wait_for(http.get(f"/health/service/{unique}", index=1, wait="8s"), 2)
    assert reply.json


async def test_index_zero_does_not_block(http: Http) -> None:
    assert (await asyncio.wait_for(http.get("/catalog/nodes", index=0, wait="8s"), 2)).status == 200


async def test_a_future_index_blocks_and_comes_back_lower(http: Http) -> None:
    before = await http.get("/catalog/nodes")
    reply = await http.get("/catalog/nodes", index=999_999_999, wait="500ms")
    assert reply.index == before.index < 999_999_999


async def test_a_check_that_fails_wakes_the_critical_feed(http: Http, unique: str) -> None:
    await http.register(unique, service=unique)
    async with Blocked(http, "/health/state/critical") as blocked:
        await http.register(unique, service=unique, status="critical")
        reply = await blocked.woken()
    assert reply.index > blocked.before.index
    assert unique in {c["Node"] for c in reply.json}


async def test_a_set_with_members_sleeps_through_changes_of_others(http: Http, unique: str) -> None:
    await http.register(f"{unique}-ill", service=f"{unique}-ill", status="critical")
    async with Blocked(http, "/health/state/critical") as blocked:
        await http.register(f"{unique}-well", service=f"{unique}-well", status="passing")
        assert await blocked.sleeps_on()
        await http.register(f"{unique}-ill", service=f"{unique}-ill", status="passing")
        reply = await blocked.woken()
    assert f"{unique}-ill" not in {c["Node"] for c in reply.json}


async def test_an_empty_set_wakes_on_any_write_of_a_check(http: Http, unique: str) -> None:
    await http.register(unique, service=unique)
    path = f"/health/state/{unique}"  # a state no check is ever in
    async with Blocked(http, path) as blocked:
        await http.register(f"{unique}-b", service=f"{unique}-b")
        reply = await blocked.woken()
    assert reply.json == []
    assert reply.index > blocked.before.index


async def test_an_identical_write_wakes_the_set_but_not_the_service(http: Http, unique: str) -> None:
    await http.register(unique, service=unique, status="critical")
    async with (
        Blocked(http, "/health/state/critical") as feed,
        Blocked(http, f"/health/service/{unique}") as service,
    ):
        before = {c["Node"]: c["ModifyIndex"] for c in feed.before.json}[unique]
        await http.register(unique, service=unique, status="critical")
        reply = await feed.woken()
        assert {c["Node"]: c["ModifyIndex"] for c in reply.json}[unique] == before
        assert await service.sleeps_on()


async def test_a_check_of_the_node_wakes_every_service_on_it(http: Http, unique: str) -> None:
    await http.register(unique, service=unique)
    async with Blocked(http, f"/health/service/{unique}") as blocked:
        await http.register(unique, Check={"CheckID": "disk", "Name": "disk", "Status": "critical"})
        reply = await blocked.woken()
    assert "disk" in {c["CheckID"] for c in reply.json[0]["Checks"]}


async def test_a_service_sleeps_through_changes_of_another(http: Http, unique: str) -> None:
    await http.register(f"{unique}-a", service=f"{unique}-a")
    await http.register(f"{unique}-b", service=f"{unique}-b")
    async with Blocked(http, f"/health/service/{unique}-a") as blocked:
        await http.register(f"{unique}-b", service=f"{unique}-b", status="critical")
        assert await blocked.sleeps_on()


async def test_the_list_of_services_wakes_for_instances_and_not_for_checks(http: Http, unique: str) -> None:
    await http.register(unique, service=unique)
    async with Blocked(http, "/catalog/services") as blocked:
        await http.register(unique, service=unique, status="critical")
        assert await blocked.sleeps_on()
        await http.register(unique, service=f"{unique}-new")
        reply = await blocked.woken()
    assert f"{unique}-new" in reply.json


async def test_the_list_of_nodes_wakes_for_their_meta(http: Http, unique: str) -> None:
    await http.register(unique)
    async with Blocked(http, "/catalog/nodes") as blocked:
        await http.register(unique, NodeMeta={"zone": "z2"})
        reply = await blocked.woken()
    assert {n["Node"]: n["Meta"] for n in reply.json}[unique] == {"zone": "z2"}


async def test_a_node_wakes_for_its_checks(http: Http, unique: str) -> None:
    await http.register(unique, service=unique)
    async with Blocked(http, f"/health/node/{unique}") as blocked:
        await http.register(unique, service=unique, status="warning")
        assert (await blocked.woken()).json[0]["Status"] == "warning"


async def test_a_service_that_appears_wakes_who_waits_for_it(http: Http, unique: str) -> None:
    async with Blocked(http, f"/health/service/{unique}") as blocked:
        await http.register(unique, service=unique)
        reply = await blocked.woken()
        while not reply.json:  # woken by the node before its service
            reply = await http.get(f"/health/service/{unique}", index=reply.index, wait="3s")
    assert reply.json[0]["Service"]["Service"] == unique


@pytest.mark.parametrize("path", ["/config/service-defaults", "/config/service-resolver"])
async def test_every_config_list_wakes_for_every_config_write(http: Http, unique: str, path: str) -> None:
    async with Blocked(http, path) as blocked:
        await http.ok("PUT", "/config", {"Kind": "service-defaults", "Name": unique, "Protocol": "http"})
        assert (await blocked.woken()).index > blocked.before.index
    await http.ok("DELETE", f"/config/service-defaults/{unique}")


async def test_one_config_entry_sleeps_through_writes_of_others(http: Http, unique: str) -> None:
    await http.ok("PUT", "/config", {"Kind": "service-defaults", "Name": unique, "Protocol": "http"})
    async with Blocked(http, f"/config/service-defaults/{unique}") as blocked:
        await http.ok("PUT", "/config", {"Kind": "service-defaults", "Name": f"{unique}-b", "Protocol": "http"})
        assert await blocked.sleeps_on()
        await http.ok("PUT", "/config", {"Kind": "service-defaults", "Name": unique, "Protocol": "grpc"})
        assert (await blocked.woken()).json["Protocol"] == "grpc"
    for name in (unique, f"{unique}-b"):
        await http.ok("DELETE", f"/config/service-defaults/{name}")


async def test_intentions_wake_for_intentions(http: Http, unique: str) -> None:
    async with Blocked(http, "/connect/intentions") as blocked:
        await http.ok("PUT", f"/kv/{unique}", b"x")
        assert await blocked.sleeps_on()
        rule = {"SourceName": "a", "DestinationName": unique, "Action": "deny"}
        made = await http.ok("POST", "/connect/intentions", rule)
        assert unique in {row["DestinationName"] for row in (await blocked.woken()).json}
    await http.ok("DELETE", f"/connect/intentions/{made['ID']}")


async def test_keys_wake_for_themselves_and_folders_for_their_keys(http: Http, unique: str) -> None:
    await http.ok("PUT", f"/kv/{unique}/a", b"1")
    await http.ok("PUT", f"/kv/{unique}-other", b"1")
    async with Blocked(http, f"/kv/{unique}/a") as key, Blocked(http, f"/kv/{unique}/?recurse=") as folder:
        await http.ok("PUT", f"/kv/{unique}-other", b"2")
        assert await key.sleeps_on()
        assert await folder.sleeps_on()
        await http.ok("PUT", f"/kv/{unique}/a", b"2")
        assert (await key.woken()).json[0]["Value"] == "Mg=="
        assert len((await folder.woken()).json) == 1
    await http.ok("DELETE", f"/kv/{unique}?recurse=")
