"""How reads answer: headers, bad queries, unknown names, state sets."""

from __future__ import annotations

import re

import pytest

from tests.contract.consul.conftest import Http


async def test_a_read_names_index_leader_and_freshness(http: Http) -> None:
    reply = await http.get("/health/state/critical")
    assert reply.status == 200
    assert reply.index >= 1
    assert reply.headers["X-Consul-KnownLeader".title()] == "true"
    assert reply.headers["X-Consul-LastContact".title()] == "0"
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("consistency", ["stale", "consistent"])
async def test_the_consistency_asked_for_is_named_in_the_answer(http: Http, consistency: str) -> None:
    reply = await http.get("/catalog/nodes", **{consistency: ""})
    assert reply.headers["X-Consul-Effective-Consistency"] == consistency


async def test_stale_and_consistent_contradict_each_other(http: Http) -> None:
    assert (await http.get("/catalog/nodes", stale="", consistent="")).status == 400


@pytest.mark.parametrize("wait", ["1500", "xs", "-", "1 s"])
async def test_a_wait_without_unit_or_sense_is_refused(http: Http, wait: str) -> None:
    reply = await http.get("/health/state/critical", index=1, wait=wait)
    assert (reply.status, reply.text) == (400, "Invalid wait time")


@pytest.mark.parametrize("index", ["-1", "abc", "1.5"])
async def test_an_index_that_is_no_number_is_refused(http: Http, index: str) -> None:
    reply = await http.get("/health/state/critical", index=index)
    assert (reply.status, reply.text) == (400, "Invalid index")


async def test_an_error_carries_an_index_that_is_none(http: Http) -> None:
    reply = await http.get("/health/state/any", filter='Nonsense == "1"')
    assert reply.status == 500
    assert reply.headers["X-Consul-Index"] == "1"
    assert reply.headers["X-Consul-Knownleader"] == "false"


async def test_another_datacenter_is_an_error(http: Http) -> None:
    reply = await http.get("/catalog/nodes", dc="elsewhere")
    assert reply.status == 500
    assert "No path to datacenter" in reply.text


@pytest.mark.parametrize(
    "path", ["/health/node/none", "/health/service/none", "/health/checks/none", "/catalog/service/none"]
)
async def test_unknown_names_are_empty_not_missing(http: Http, path: str) -> None:
    reply = await http.get(path)
    assert (reply.status, reply.json) == (200, [])
    assert reply.index >= 1


async def test_an_unknown_node_is_null(http: Http) -> None:
    reply = await http.get("/catalog/node/none")
    assert (reply.status, reply.json) == (200, None)


async def test_the_leader_is_an_address(http: Http) -> None:
    reply = await http.get("/status/leader")
    assert re.fullmatch(r"127\.0\.0\.1:\d+", reply.json)


async def test_the_agent_says_who_and_what_it_is(http: Http) -> None:
    config = (await http.get("/agent/self")).json["Config"]
    assert config["Version"].startswith("1.")
    assert (config["Datacenter"], config["NodeName"], config["Server"]) == ("dc1", http.node, True)


async def test_a_wrong_method_and_an_unknown_path(http: Http) -> None:
    assert (await http("DELETE", "/health/state/any")).status == 405
    assert (await http.get("/internal/ui/service-topology/x")).status == 404
    assert (await http.get("/no/such/thing")).status == 404


async def test_checks_are_in_the_set_of_their_state(http: Http, unique: str) -> None:
    for status in ("passing", "warning", "critical"):
        await http.register(f"{unique}-{status}", service=f"{unique}-{status}", status=status)
    for status in ("passing", "warning", "critical"):
        found = [c for c in (await http.get(f"/health/state/{status}")).json if c["Node"].startswith(unique)]
        assert [(c["Node"], c["Status"], c["ServiceName"]) for c in found] == [
            (f"{unique}-{status}", status, f"{unique}-{status}")
        ]
    everything = [c for c in (await http.get("/health/state/any")).json if c["Node"].startswith(unique)]
    assert len(everything) == 3


async def test_the_audit_filter_leaves_passing_checks_out(http: Http, unique: str) -> None:
    await http.register(f"{unique}-a", service=f"{unique}-a", status="critical")
    await http.register(f"{unique}-b", service=f"{unique}-b", status="passing")
    found = (await http.get("/health/state/any", stale="", filter='Status != "passing"')).json
    assert {c["Node"] for c in found if c["Node"].startswith(unique)} == {f"{unique}-a"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Status == "critical"', True),
        ('Status matches "crit|warn"', True),
        ('ServiceName contains "zz" or Status == "critical"', True),
        ('Status contains "crit"', True),
        ('not Status == "critical"', False),
        ('(Status == "warning" or Status == "critical") and Name == "check"', True),
        ("ServiceTags is empty", True),
        ("ServiceTags is not empty", False),
        ('"tag" in ServiceTags', False),
        ('"tag" not in ServiceTags', True),
    ],
)
async def test_filters(http: Http, unique: str, text: str, expected: bool) -> None:
    await http.register(unique, service=unique, status="critical")
    reply = await http.get(f"/health/node/{unique}", filter=text)
    assert bool(reply.json) is expected


async def test_health_of_a_service_has_node_instance_and_both_kinds_of_checks(http: Http, unique: str) -> None:
    await http.register(unique, service=unique, status="critical", NodeMeta={"zone": "z1"})
    node_check = {"CheckID": "disk", "Name": "disk", "Status": "warning"}
    await http.register(unique, NodeMeta={"zone": "z1"}, Check=node_check)
    (entry,) = (await http.get(f"/health/service/{unique}")).json
    assert entry["Node"]["Meta"] == {"zone": "z1"}
    assert (entry["Service"]["ID"], entry["Service"]["Port"]) == (f"{unique}-1", 80)
    assert {c["CheckID"]: c["Status"] for c in entry["Checks"]} == {
        "disk": "warning",
        f"service:{unique}-1": "critical",
    }
    assert (await http.get(f"/health/service/{unique}", passing="")).json == []


async def test_service_summaries_count_checks_and_name_proxies(http: Http, unique: str) -> None:
    await http.register(unique, service=unique, status="critical")
    proxy = {
        "Kind": "connect-proxy",
        "Service": f"{unique}-sidecar-proxy",
        "Port": 81,
        "Proxy": {
            "DestinationServiceName": unique,
            "Upstreams": [{"DestinationName": "other", "LocalBindPort": 9000}],
        },
    }
    await http.register(unique, Service=proxy)
    rows = {row["Name"]: row for row in (await http.get("/internal/ui/services")).json}
    row, sidecar = rows[unique], rows[f"{unique}-sidecar-proxy"]
    assert (row["InstanceCount"], row["ChecksCritical"], row["ChecksPassing"]) == (1, 1, 0)
    assert "Kind" not in row
    assert (sidecar["Kind"], sidecar["ProxyFor"]) == ("connect-proxy", [unique])
    (entry,) = (await http.get(f"/health/connect/{unique}")).json
    (upstream,) = entry["Service"]["Proxy"]["Upstreams"]
    assert (upstream["DestinationName"], upstream["LocalBindPort"]) == ("other", 9000)
    (flat,) = (await http.get(f"/catalog/service/{unique}-sidecar-proxy")).json
    assert flat["ServiceProxy"]["DestinationServiceName"] == unique
