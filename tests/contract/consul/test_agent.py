"""Agents: registration with checks and sidecars, maintenance, TTL, HTTP, TCP and alias checks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from consulguard.testing.ports import free_ports

from tests.contract.consul.conftest import Http


def statuses(checks: list[dict[str, Any]]) -> dict[str, str]:
    return {c["CheckID"]: c["Status"] for c in checks if c["CheckID"] != "serfHealth"}


async def test_a_service_comes_with_its_checks_critical_until_shown_otherwise(http: Http, unique: str) -> None:
    checks = [
        {"CheckID": f"{unique}-ttl", "Name": "ttl", "TTL": "60s"},
        {"Name": "second", "TTL": "60s", "Status": "passing"},
    ]
    await http.agent_register(unique, Port=8080, Meta={"team": "a"}, Tags=["v1"], Checks=checks)
    (entry,) = await http.eventually(f"/health/service/{unique}", lambda rows: rows)
    assert statuses(entry["Checks"]) == {f"{unique}-ttl": "critical", f"service:{unique}:2": "passing"}
    assert (entry["Node"]["Node"], entry["Service"]["Meta"]) == (http.node, {"team": "a"})
    assert {c["Type"] for c in entry["Checks"]} == {"", "ttl"}


@pytest.mark.parametrize(
    ("payload", "status", "text"),
    [
        (b"{", 400, "Request decode failed"),
        ({"ID": "x"}, 400, "Missing service name"),
        ({"Name": "x", "Check": {"HTTP": "http://127.0.0.1:1"}}, 400, "Interval must be > 0"),
        ({"Name": "x", "Check": {"TTL": "soon"}}, 400, "Request decode failed"),
        ({"Name": "x", "Meta": {"a.b/c": "1"}}, 400, "Key contains invalid characters"),
        ({"Name": "x", "Meta": {"consul-x": "1"}}, 400, "reserved for internal use"),
        ({"Name": "x", "Meta": {"": "1"}}, 400, "Key cannot be blank"),
        ({"Name": "x", "Meta": {"k" * 129: "1"}}, 400, "Key is too long"),
        ({"Name": "x", "Meta": {"k": "v" * 513}}, 400, "Value is too long"),
        ({"Name": "x", "Meta": {f"k{n}": "v" for n in range(65)}}, 400, "more than 64"),
    ],
)
async def test_registrations_that_make_no_sense(http: Http, payload: Any, status: int, text: str) -> None:
    reply = await http.put("/agent/service/register", payload)
    assert reply.status == status
    assert text in reply.text


async def test_keys_may_be_written_in_lower_case(http: Http, unique: str) -> None:
    check = {"name": "c", "ttl": "60s", "status": "passing"}
    payload = {"name": unique, "id": unique, "port": 1, "check": check}
    await http.agent_register(unique)
    await http.ok("PUT", "/agent/service/register", payload)
    (entry,) = await http.eventually(f"/health/service/{unique}", lambda rows: rows and rows[0]["Service"]["Port"])
    assert statuses(entry["Checks"]) == {f"service:{unique}": "passing"}


async def test_ttl_checks_are_told_their_state(http: Http, unique: str) -> None:
    check_id = f"{unique}-ttl"
    await http.agent_register(unique, Check={"CheckID": check_id, "TTL": "60s"})
    for word, status in (("pass", "passing"), ("warn", "warning"), ("fail", "critical")):
        await http.ok("PUT", f"/agent/check/{word}/{check_id}", note=word)
        (row,) = await http.eventually(f"/health/checks/{unique}", lambda r, s=status: r and r[0]["Status"] == s)
        assert row["Output"] == word
    await http.ok("PUT", f"/agent/check/update/{check_id}", {"Status": "passing", "Output": "updated"})
    await http.eventually(f"/health/checks/{unique}", lambda r: r[0]["Output"] == "updated")
    assert (await http.put(f"/agent/check/update/{check_id}", {"Status": "fine"})).status == 400
    assert (await http.put("/agent/check/pass/none")).status == 500


async def test_a_ttl_check_that_hears_nothing_becomes_critical(http: Http, unique: str) -> None:
    await http.agent_register(unique, Check={"TTL": "500ms", "Status": "passing"})
    (row,) = await http.eventually(f"/health/checks/{unique}", lambda r: r and r[0]["Status"] == "critical")
    assert "TTL expired" in row["Output"]


class Backend:
    """A little HTTP server whose answer can be chosen."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.status = 200
        app = web.Application()
        app.router.add_get("/health", self._health)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=self.status, text="said" if self.status != 204 else None)

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    server = Backend()
    await server.start()
    yield server
    await server.stop()


async def test_http_checks_follow_the_answer(http: Http, unique: str, backend: Backend) -> None:
    url = f"http://127.0.0.1:{backend.port}/health"
    await http.agent_register(unique, Check={"HTTP": url, "Interval": "100ms", "Timeout": "1s"})
    for code, status in ((200, "passing"), (429, "warning"), (500, "critical"), (204, "passing")):
        backend.status = code
        (row,) = await http.eventually(f"/health/checks/{unique}", lambda r, s=status: r and r[0]["Status"] == s)
    assert row["Type"] == "http"
    await backend.stop()
    await http.eventually(f"/health/checks/{unique}", lambda r: r[0]["Status"] == "critical")


async def test_tcp_checks_follow_the_listener(http: Http, unique: str, backend: Backend) -> None:
    await http.agent_register(unique, Check={"TCP": f"127.0.0.1:{backend.port}", "Interval": "100ms"})
    await http.eventually(f"/health/checks/{unique}", lambda r: r and r[0]["Status"] == "passing")
    await backend.stop()
    (row,) = await http.eventually(f"/health/checks/{unique}", lambda r: r[0]["Status"] == "critical")
    assert row["Type"] == "tcp"


async def test_a_sidecar_is_registered_with_its_service_and_goes_with_it(http: Http, unique: str) -> None:
    proxy = {"Upstreams": [{"DestinationName": "payments", "LocalBindPort": 9191}]}
    await http.agent_register(
        unique,
        Port=8080,
        Check={"CheckID": f"{unique}-ttl", "TTL": "60s", "Status": "passing"},
        Connect={"SidecarService": {"Proxy": proxy}},
    )
    name = f"{unique}-sidecar-proxy"
    (entry,) = await http.eventually(f"/health/service/{name}", lambda rows: rows)
    service = entry["Service"]
    assert (service["Kind"], service["ID"]) == ("connect-proxy", f"{unique}-sidecar-proxy")
    assert service["Proxy"]["DestinationServiceName"] == unique
    assert service["Proxy"]["DestinationServiceID"] == unique
    (upstream,) = service["Proxy"]["Upstreams"]
    assert (upstream["DestinationType"], upstream["DestinationName"]) == ("service", "payments")
    assert {c["Type"] for c in entry["Checks"]} == {"", "tcp", "alias"}
    (same,) = (await http.get(f"/health/connect/{unique}")).json
    assert same["Service"]["ID"] == service["ID"]

    await http.ok("PUT", f"/agent/service/deregister/{unique}")
    await http.eventually(f"/health/service/{name}", lambda rows: rows == [])
    await http.eventually(f"/health/service/{unique}", lambda rows: rows == [])


async def test_the_sidecars_alias_check_is_as_bad_as_its_service(http: Http, unique: str) -> None:
    sidecar = {"Port": 21999, "Checks": [{"Name": "alias", "AliasService": unique}]}
    check = {"CheckID": f"{unique}-ttl", "TTL": "60s", "Status": "passing"}
    await http.agent_register(unique, Check=check, Connect={"SidecarService": sidecar})
    path = f"/health/checks/{unique}-sidecar-proxy"
    await http.eventually(path, lambda r: r and r[0]["Status"] == "passing")
    await http.ok("PUT", f"/agent/check/fail/{unique}-ttl")
    (row,) = await http.eventually(path, lambda r: r[0]["Status"] == "critical")
    assert row["Type"] == "alias"
    await http.ok("PUT", f"/agent/check/pass/{unique}-ttl")
    await http.eventually(path, lambda r: r[0]["Status"] == "passing")


async def test_maintenance_of_a_service_is_a_critical_check_of_its_own(http: Http, unique: str) -> None:
    await http.agent_register(unique, Check={"TTL": "60s", "Status": "passing"})
    path, check_id = f"/agent/service/maintenance/{unique}", f"_service_maintenance:{unique}"
    await http.ok("PUT", path, enable="true", reason="first")
    await http.ok("PUT", path, enable="true", reason="second")
    rows = await http.eventually(f"/health/checks/{unique}", lambda r: len(r) == 2)
    (row,) = [r for r in rows if r["CheckID"] == check_id]
    assert (row["Status"], row["Notes"], row["ServiceID"], row["Type"]) == (
        "critical",
        "first",
        unique,
        "maintenance",
    )
    for _ in range(2):  # lifting it twice is no error
        await http.ok("PUT", path, enable="false")
    await http.eventually(f"/health/checks/{unique}", lambda r: len(r) == 1)


async def test_maintenance_of_the_node(http: Http) -> None:
    await http.ok("PUT", "/agent/maintenance", enable="true", reason="disk")
    try:
        rows = await http.eventually(f"/health/node/{http.node}", lambda r: "_node_maintenance" in statuses(r))
        (row,) = [r for r in rows if r["CheckID"] == "_node_maintenance"]
        assert (row["Status"], row["ServiceID"], row["Notes"]) == ("critical", "", "disk")
    finally:
        await http.ok("PUT", "/agent/maintenance", enable="false")
    await http.eventually(f"/health/node/{http.node}", lambda r: "_node_maintenance" not in statuses(r))


async def test_only_the_owning_agent_can_put_an_instance_into_maintenance(http: Http, unique: str) -> None:
    await http.register(unique, service=unique)  # in the catalog, on a node that is not this agent's
    reply = await http.put(f"/agent/service/maintenance/{unique}-1", enable="true")
    assert reply.status == 404


@pytest.mark.parametrize("params", [{}, {"enable": "perhaps"}])
async def test_maintenance_needs_a_clear_word(http: Http, unique: str, params: dict[str, str]) -> None:
    await http.agent_register(unique)
    assert (await http.put(f"/agent/service/maintenance/{unique}", **params)).status == 400


async def test_deregistering_what_is_not_there_is_no_error(http: Http, unique: str) -> None:
    assert (await http.put(f"/agent/service/deregister/{unique}")).status == 200


async def test_registering_again_keeps_the_checks_state(http: Http, unique: str) -> None:
    check = {"CheckID": f"{unique}-ttl", "TTL": "60s"}
    await http.agent_register(unique, Check=check)
    await http.ok("PUT", f"/agent/check/pass/{unique}-ttl")
    await http.eventually(f"/health/checks/{unique}", lambda r: r and r[0]["Status"] == "passing")
    await http.agent_register(unique, Check=check, Meta={"new": "1"})
    await http.eventually(f"/health/service/{unique}", lambda r: r[0]["Service"]["Meta"] == {"new": "1"})
    await asyncio.sleep(0.1)
    assert (await http.get(f"/health/checks/{unique}")).json[0]["Status"] == "passing"
