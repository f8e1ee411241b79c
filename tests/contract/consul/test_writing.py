"""Catalog writes, config entries, intentions, keys, sessions, transactions."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.consul.conftest import Http

# ---- catalog


async def test_catalog_registration_and_deregistration(http: Http, unique: str) -> None:
    await http.register(unique, service=unique)
    for _ in range(2):  # the second finds nothing and says true as well
        assert await http.ok("PUT", "/catalog/deregister", {"Node": unique, "ServiceID": f"{unique}-1"}) is True
    assert (await http.get(f"/health/service/{unique}")).json == []
    assert (await http.get(f"/health/node/{unique}")).json == []
    assert (await http.get(f"/catalog/node/{unique}")).json["Services"] == {}
    await http.ok("PUT", "/catalog/deregister", {"Node": unique})
    assert (await http.get(f"/catalog/node/{unique}")).json is None


async def test_a_single_check_can_be_deregistered(http: Http, unique: str) -> None:
    await http.register(unique, service=unique, status="critical")
    await http.ok("PUT", "/catalog/deregister", {"Node": unique, "CheckID": f"service:{unique}-1"})
    (entry,) = (await http.get(f"/health/service/{unique}")).json
    assert entry["Checks"] == []
    assert unique not in {c["Node"] for c in (await http.get("/health/state/critical")).json}


@pytest.mark.parametrize(
    "payload",
    [
        {"Node": "n"},
        {"Node": "n", "Address": "10.0.0.1", "Check": {"CheckID": "c", "ServiceID": "none"}},
        {"Node": "n", "Address": "10.0.0.1", "Service": {"Kind": "connect-proxy", "Service": "p", "Port": 1}},
        {"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "p", "Meta": {"a/b": "c"}}},
    ],
)
async def test_catalog_registrations_that_make_no_sense(http: Http, unique: str, payload: dict[str, Any]) -> None:
    http._nodes.add(unique)
    assert (await http.put("/catalog/register", payload | {"Node": unique})).status == 500


async def test_a_state_nobody_knows_is_accepted(http: Http, unique: str) -> None:
    await http.register(unique, service=unique, status="weird")
    assert [c["Node"] for c in (await http.get("/health/state/weird")).json] == [unique]


async def test_a_node_keeps_its_place_in_history(http: Http, unique: str) -> None:
    await http.register(unique, NodeMeta={"zone": "a"})
    first = (await http.get(f"/catalog/node/{unique}")).json["Node"]
    await http.register(unique, NodeMeta={"zone": "b"})
    second = (await http.get(f"/catalog/node/{unique}")).json["Node"]
    assert first["CreateIndex"] == second["CreateIndex"]
    assert first["ModifyIndex"] < second["ModifyIndex"]


# ---- config entries


@pytest.fixture
async def entry(http: Http, unique: str) -> AsyncIterator[dict[str, Any]]:
    yield {"Kind": "service-resolver", "Name": unique, "ConnectTimeout": "3s", "Meta": {"by": "me"}}
    for kind in ("service-router", "service-splitter", "service-resolver", "service-defaults"):
        for name in (unique, f"{unique}-b"):
            await http("DELETE", f"/config/{kind}/{name}")


async def test_a_config_entry_is_kept_as_written(http: Http, unique: str, entry: dict[str, Any]) -> None:
    assert await http.ok("PUT", "/config", entry) is True
    kept = await http.ok("GET", f"/config/service-resolver/{unique}")
    assert kept.items() >= entry.items()
    assert unique in {e["Name"] for e in await http.ok("GET", "/config/service-resolver")}


async def test_config_check_and_set(http: Http, unique: str, entry: dict[str, Any]) -> None:
    assert await http.ok("PUT", "/config", entry, cas=0) is True  # 0: only if it is not there
    assert await http.ok("PUT", "/config", entry, cas=0) is False
    kept = await http.ok("GET", f"/config/service-resolver/{unique}")
    assert await http.ok("PUT", "/config", entry | {"ConnectTimeout": "4s"}, cas=kept["ModifyIndex"]) is True
    assert await http.ok("PUT", "/config", entry | {"ConnectTimeout": "9s"}, cas=kept["ModifyIndex"]) is False
    now = await http.ok("GET", f"/config/service-resolver/{unique}")
    assert now["ConnectTimeout"] == "4s"
    assert (await http("PUT", "/config", entry, cas="abc")).status == 500


async def test_an_identical_config_write_still_raises_the_index(
    http: Http, unique: str, entry: dict[str, Any]
) -> None:
    await http.ok("PUT", "/config", entry)
    first = await http.ok("GET", f"/config/service-resolver/{unique}")
    await http.ok("PUT", "/config", entry)
    second = await http.ok("GET", f"/config/service-resolver/{unique}")
    assert second["ModifyIndex"] > first["ModifyIndex"]


async def test_a_missing_config_entry_is_404_and_deleting_it_is_fine(http: Http, unique: str) -> None:
    reply = await http.get(f"/config/service-resolver/{unique}")
    assert reply.status == 404
    assert reply.index >= 1
    assert (await http("DELETE", f"/config/service-resolver/{unique}")).status == 200


@pytest.mark.parametrize(
    ("written", "status"),
    [
        (b"{", 400),
        ({"Kind": "nonsense", "Name": "x"}, 400),
        ({"Kind": "service-resolver", "Name": "x", "Nonsense": 1}, 400),
        ({"Kind": "service-resolver"}, 500),
        ({"Kind": "service-splitter", "Name": "x-tcp", "Splits": [{"Weight": 100}]}, 500),
    ],
)
async def test_config_entries_that_are_refused(http: Http, written: Any, status: int) -> None:
    assert (await http.put("/config", written)).status == status


async def test_kinds_of_later_versions_are_unknown(http: Http) -> None:
    assert (await http.get("/config/service-intentions")).status == 500


async def test_a_redirect_in_a_circle_is_refused(http: Http, unique: str, entry: dict[str, Any]) -> None:
    other = f"{unique}-b"
    kind = "service-resolver"
    await http.ok("PUT", "/config", {"Kind": kind, "Name": unique, "Redirect": {"Service": other}})
    reply = await http.put("/config", {"Kind": kind, "Name": other, "Redirect": {"Service": unique}})
    assert reply.status == 500
    assert "circular" in reply.text


async def test_splits_need_http_a_sum_of_100_and_known_subsets(
    http: Http, unique: str, entry: dict[str, Any]
) -> None:
    split = {"Kind": "service-splitter", "Name": unique}
    half = [{"Weight": 50, "Service": unique}, {"Weight": 50, "Service": f"{unique}-b"}]
    assert (await http.put("/config", split | {"Splits": half})).status == 500  # tcp
    for name in (unique, f"{unique}-b"):
        await http.ok("PUT", "/config", {"Kind": "service-defaults", "Name": name, "Protocol": "http"})
    assert (await http.put("/config", split | {"Splits": half[:1]})).status == 500
    with_subset = [half[0], {"Weight": 50, "ServiceSubset": "v2"}]
    assert (await http.put("/config", split | {"Splits": with_subset})).status == 500
    assert await http.ok("PUT", "/config", split | {"Splits": half}) is True
    chain = (await http.ok("GET", f"/discovery-chain/{unique}"))["Chain"]
    assert chain["Protocol"] == "http"
    assert chain["StartNode"].startswith("splitter:")
    weights = {s["NextNode"]: s["Weight"] for s in chain["Nodes"][chain["StartNode"]]["Splits"]}
    assert weights == {f"resolver:{unique}.default.dc1": 50, f"resolver:{unique}-b.default.dc1": 50}


async def test_the_chain_of_a_plain_a_redirected_and_a_failing_over_service(
    http: Http, unique: str, entry: dict[str, Any]
) -> None:
    path, other = f"/discovery-chain/{unique}", f"{unique}-b"
    chain = (await http.ok("GET", path))["Chain"]
    assert chain["Nodes"][chain["StartNode"]]["Resolver"]["Default"] is True

    resolver = {"Kind": "service-resolver", "Name": unique}
    await http.ok("PUT", "/config", resolver | {"Redirect": {"Service": other}})
    chain = (await http.ok("GET", path))["Chain"]
    assert {t["Service"] for t in chain["Targets"].values()} == {other}

    await http.ok("PUT", "/config", resolver | {"Failover": {"*": {"Service": other}}})
    chain = (await http.ok("GET", path))["Chain"]
    node = chain["Nodes"][chain["StartNode"]]["Resolver"]
    assert node["Failover"]["Targets"] == [f"{other}.default.dc1"]
    assert {t["Service"] for t in chain["Targets"].values()} == {unique, other}


async def test_an_ingress_gateway_names_its_services(http: Http, unique: str) -> None:
    listener = {"Port": 8080, "Protocol": "tcp", "Services": [{"Name": f"{unique}-web"}]}
    await http.ok("PUT", "/config", {"Kind": "ingress-gateway", "Name": unique, "Listeners": [listener]})
    (row,) = await http.ok("GET", f"/catalog/gateway-services/{unique}")
    assert (row["GatewayKind"], row["Service"]["Name"], row["Port"]) == ("ingress-gateway", f"{unique}-web", 8080)
    await http.ok("DELETE", f"/config/ingress-gateway/{unique}")
    assert (await http.get(f"/catalog/gateway-services/{unique}")).json is None


# ---- intentions


async def test_intentions_are_made_found_refused_twice_and_deleted(http: Http, unique: str) -> None:
    rule = {"SourceName": "web", "DestinationName": unique, "Action": "deny", "Meta": {"by": "me"}}
    made = (await http.ok("POST", "/connect/intentions", rule))["ID"]
    again = await http("POST", "/connect/intentions", rule | {"Action": "allow"})
    assert (again.status, "duplicate" in again.text) == (500, True)
    kept = await http.ok("GET", f"/connect/intentions/{made}")
    assert kept.items() >= (rule | {"Precedence": 9, "SourceType": "consul"}).items()
    await http.ok("PUT", f"/connect/intentions/{made}", rule | {"Action": "allow"})
    (row,) = [r for r in await http.ok("GET", "/connect/intentions") if r["DestinationName"] == unique]
    assert row["Action"] == "allow"
    await http.ok("DELETE", f"/connect/intentions/{made}")
    assert (await http("DELETE", f"/connect/intentions/{made}")).status == 500
    assert (await http.get(f"/connect/intentions/{made}")).status == 404


async def test_an_intention_needs_an_action(http: Http, unique: str) -> None:
    rule = {"SourceName": "web", "DestinationName": unique, "Action": "perhaps"}
    assert (await http("POST", "/connect/intentions", rule)).status == 500


# ---- keys, sessions, transactions


@pytest.fixture
async def session(http: Http) -> AsyncIterator[str]:
    made = {"Name": "test", "TTL": "10s", "LockDelay": "0s", "Behavior": "release", "NodeChecks": []}
    session_id = (await http.ok("PUT", "/session/create", made))["ID"]
    yield session_id
    await http.ok("PUT", f"/session/destroy/{session_id}")


async def test_keys(http: Http, unique: str) -> None:
    path = f"/kv/{unique}/a"
    assert (await http.get(path)).status == 404
    assert await http.ok("PUT", path, b"one") is True
    (row,) = await http.ok("GET", path)
    assert (row["Key"], base64.b64decode(row["Value"]), row["LockIndex"]) == (f"{unique}/a", b"one", 0)
    assert (await http.get(path, raw="")).text == "one"
    assert await http.ok("GET", f"/kv/{unique}/", keys="") == [f"{unique}/a"]
    assert await http.ok("DELETE", path) is True
    assert await http.ok("DELETE", path) is True
    assert (await http.get(f"/kv/{unique}/", recurse="")).status == 404


async def test_keys_check_and_set(http: Http, unique: str) -> None:
    path = f"/kv/{unique}"
    assert await http.ok("PUT", path, b"1", cas=0) is True
    assert await http.ok("PUT", path, b"2", cas=0) is False
    index = (await http.ok("GET", path))[0]["ModifyIndex"]
    assert await http.ok("PUT", path, b"3", cas=index) is True
    assert await http.ok("PUT", path, b"4", cas=index) is False
    assert await http.ok("DELETE", path, cas=index) is False
    assert (await http("PUT", path, b"5", cas="abc")).status == 500
    assert await http.ok("DELETE", path, cas=(await http.ok("GET", path))[0]["ModifyIndex"]) is True


async def test_a_lock_has_one_holder_and_goes_with_its_session(http: Http, unique: str, session: str) -> None:
    path = f"/kv/{unique}"
    assert await http.ok("PUT", path, b"me", acquire=session) is True
    (row,) = await http.ok("GET", path)
    assert (row["Session"], row["LockIndex"]) == (session, 1)
    second = (await http.ok("PUT", "/session/create", {"LockDelay": "0s", "NodeChecks": []}))["ID"]
    assert await http.ok("PUT", path, b"you", acquire=second) is False
    await http.ok("PUT", f"/session/destroy/{session}")
    (row,) = await http.ok("GET", path)
    assert "Session" not in row
    assert await http.ok("PUT", path, b"you", acquire=second) is True
    assert await http.ok("PUT", path, b"", release=second) is True
    await http.ok("PUT", f"/session/destroy/{second}")


async def test_a_plain_write_over_a_lock_loses_its_lock_index(http: Http, unique: str, session: str) -> None:
    await http.ok("PUT", f"/kv/{unique}", b"me", acquire=session)
    assert await http.ok("PUT", f"/kv/{unique}", b"anyone") is True
    (row,) = await http.ok("GET", f"/kv/{unique}")
    assert (row["LockIndex"], row["Session"]) == (0, session)


async def test_sessions_are_checked_renewed_and_listed(http: Http, session: str) -> None:
    (row,) = await http.ok("PUT", f"/session/renew/{session}")
    assert (row["ID"], row["TTL"], row["Behavior"]) == (session, "10s", "release")
    assert session in {s["ID"] for s in await http.ok("GET", "/session/list")}
    nobody = "00000000-0000-0000-0000-000000000000"
    assert (await http.put(f"/session/renew/{nobody}")).status == 404
    assert (await http.get(f"/session/info/{nobody}")).json == []
    assert (await http.put("/kv/x-lock", b"", acquire=nobody)).status == 500


@pytest.mark.parametrize("wrong", [{"TTL": "1s"}, {"Behavior": "explode"}, {"Checks": ["none"]}])
async def test_sessions_that_make_no_sense(http: Http, wrong: dict[str, Any]) -> None:
    assert (await http.put("/session/create", wrong)).status == 500


async def test_a_lock_delay_keeps_the_key_closed(http: Http, unique: str) -> None:
    made = {"LockDelay": "20s", "NodeChecks": []}
    first, second = [(await http.ok("PUT", "/session/create", made))["ID"] for _ in range(2)]
    await http.ok("PUT", f"/kv/{unique}", b"", acquire=first)
    await http.ok("PUT", f"/session/destroy/{first}")
    assert await http.ok("PUT", f"/kv/{unique}", b"", acquire=second) is False
    await http.ok("PUT", f"/session/destroy/{second}")


async def test_a_transaction_writes_only_for_the_holder(http: Http, unique: str, session: str) -> None:
    await http.ok("PUT", f"/kv/{unique}", b"", acquire=session)

    def fenced(holder: str) -> list[dict[str, Any]]:
        return [
            {"KV": {"Verb": "check-session", "Key": unique, "Session": holder}},
            {"KV": {"Verb": "set", "Key": f"{unique}-data", "Value": base64.b64encode(b"x").decode()}},
        ]

    refused = await http.put("/txn", fenced("00000000-0000-0000-0000-000000000000"))
    assert refused.status == 409
    assert refused.json["Errors"][0]["OpIndex"] == 0
    assert (await http.get(f"/kv/{unique}-data")).status == 404
    done = await http.ok("PUT", "/txn", fenced(session))
    assert done["Errors"] is None
    assert done["Results"][1]["KV"]["ModifyIndex"] > 0


async def test_all_of_a_transaction_or_none(http: Http, unique: str) -> None:
    steps = [
        {"KV": {"Verb": "set", "Key": unique, "Value": ""}},
        {"KV": {"Verb": "cas", "Key": unique, "Value": "", "Index": 1}},
    ]
    assert (await http.put("/txn", steps)).status == 409
    assert (await http.get(f"/kv/{unique}")).status == 404
    assert (await http.put("/txn", b"{")).status == 400


async def test_a_lock_in_a_transaction_answers_its_modify_index(http: Http, unique: str, session: str) -> None:
    step = {"KV": {"Verb": "lock", "Key": unique, "Value": "", "Session": session}}
    done = await http.ok("PUT", "/txn", [step])
    (row,) = await http.ok("GET", f"/kv/{unique}")
    assert done["Results"][0]["KV"]["ModifyIndex"] == row["ModifyIndex"]
    assert row["Session"] == session


async def test_checks_can_be_set_in_a_transaction(http: Http, unique: str) -> None:
    await http.register(unique, service=unique)
    check = {"Node": unique, "CheckID": f"service:{unique}-1", "ServiceID": f"{unique}-1", "Status": "critical"}
    assert (await http.put("/txn", [{"Check": {"Verb": "set", "Check": check | {"Name": "c"}}}])).status == 200
    (row,) = (await http.get(f"/health/checks/{unique}")).json
    assert row["Status"] == "critical"
    stale = check | {"ModifyIndex": 1}
    assert (await http.put("/txn", [{"Check": {"Verb": "cas", "Check": stale}}])).status == 409
