"""The two one-shot reads: of everything, for ``plan``; of one target, right before an effect."""

import pytest
from consulguard.clock import SystemClock
from consulguard.consulapi import ConsulClient
from consulguard.errors import ConsulRefused, ConsulUnavailable
from consulguard.events import Learned, Look, Observed, ViewChanged
from consulguard.model import EdgesFact, NodeFact, ServiceFact, Status, Target
from consulguard.watch import Watcher, WatchSettings, read_once

from tests.shell.consulapi.stub import GOOD, answering
from tests.shell.watch.support import Watching, instance

SETTINGS = WatchSettings()


async def once(address, settings=SETTINGS):
    async with ConsulClient(addresses=[address]) as client:
        events = await read_once(client, SystemClock(), settings)
        return events, client.requests


async def test_one_look_at_everything(consul_server, hand, unique):
    bad = f"{unique}a"
    await hand.service(bad, status="critical", Connect={"SidecarService": {}})
    await hand.catalog(f"{unique}-node", f"{unique}b", "weird", NodeMeta={"zone": "z"})
    (learned, observed, viewed), requests = await once(consul_server.address)
    assert isinstance(learned, Learned)
    assert isinstance(observed, Observed)
    assert isinstance(viewed, ViewChanged)
    services = {f.target.service: f for f in learned.facts if isinstance(f, ServiceFact)}
    assert services[bad].instances
    assert services[f"{bad}-sidecar-proxy"].destination == bad
    assert services["consul"].instances is None
    nodes = {f.target.node: f for f in learned.facts if isinstance(f, NodeFact)}
    assert nodes[f"{unique}-node"].zone == "z"
    statuses = {o.target.instance: o.status for o in observed.observations}
    assert statuses[f"{bad}1"] is Status.CRITICAL
    assert statuses[f"{unique}b1"] is Status.UNKNOWN
    view = viewed.view
    assert (view.trusted, view.settled, view.version) == (True, False, "1.8.7")
    assert view.as_of is not None
    assert view.instances == sum(f.count for f in services.values())
    assert set(requests) == {"GET"}, "a plan writes nothing"


async def test_the_watcher_and_the_one_look_agree(consul_server, hand, unique):
    await hand.service(unique, status="warning", Meta={"k": "v"}, Tags=["b", "a"])
    await hand.put("/config", {"Kind": "service-resolver", "Name": unique, "Redirect": {"Service": "other"}})
    (learned, *_), _ = await once(consul_server.address)
    async with Watching(consul_server.address) as w:
        await w.settled()
    facts = [f for f in learned.facts if isinstance(f, ServiceFact) and f.target.service == unique]
    assert [w.service(unique).upstreams, w.service(unique).instances] == [facts[0].upstreams, facts[0].instances]
    resolver = next(f for f in learned.facts if isinstance(f, EdgesFact))
    assert w.edges("config/service-resolver").edges == resolver.edges
    await hand.client.send("DELETE", f"/v1/config/service-resolver/{unique}")


async def test_the_acl_probe_is_sent_only_when_allowed(twin):
    _, requests = await once(twin.address, WatchSettings(acl_probe_once=True))
    assert requests["POST"] == 1


async def test_without_consul_there_is_nothing_to_plan_on(twin):
    with pytest.raises(ConsulUnavailable):
        await once("http://127.0.0.1:1")
    twin.deny()
    with pytest.raises(ConsulRefused):
        await once(twin.address)
    twin.heal()
    twin.leaderless()
    with pytest.raises(ConsulUnavailable):
        await once(twin.address)


async def test_a_source_that_cannot_be_read_costs_the_trust(twin):
    twin.fail("/v1/connect/intentions")
    (*_, viewed), _ = await once(twin.address)
    assert not viewed.view.trusted
    assert "intentions" in str(viewed.view.reasons)
    twin.heal()
    twin.fail("/v1/kv/", status=403)
    (*_, viewed), _ = await once(twin.address)
    assert viewed.view.trusted
    assert "kv" in str(viewed.view.reasons)


async def look(client, target, *dependents):
    async def nobody(event):
        raise AssertionError(event)

    watcher = Watcher(client, SystemClock(), SETTINGS, nobody)
    return await watcher.look(Look(key="k", target=target, dependents=dependents))


async def test_a_look_at_an_instance_and_its_dependents(consul_server, hand, unique):
    await hand.service(unique)
    await hand.put("/agent/service/register", {"Name": unique, "ID": f"{unique}2"})
    await hand.catalog(f"{unique}-node", f"{unique}dep", "warning")
    client, me = hand.client, instance(unique, consul_server.node)
    dependent = Target(dc="dc1", service=f"{unique}dep")
    seen = await look(client, me, dependent, Target(dc="dc1", service="nobody"))
    assert (seen.error, seen.status, seen.healthy, seen.registered) == ("", Status.PASSING, 2, 2)
    assert seen.index > 0
    assert seen.dependents == {f"{unique}dep": Status.WARNING, "nobody": Status.ABSENT}
    await hand.flip(unique, "critical")
    later = await look(client, me)
    assert (later.status, later.healthy, later.registered) == (Status.CRITICAL, 1, 2)
    assert later.index > seen.index
    assert (await look(client, me.of_service())).status is Status.CRITICAL
    await hand.put(f"/agent/service/maintenance/{unique}1", enable="true")
    assert (await look(client, me)).status is Status.MAINTENANCE
    await hand.put(f"/agent/service/deregister/{unique}1")
    assert (await look(client, me)).status is Status.ABSENT


async def test_a_look_counts_the_sidecar(consul_server, hand, unique):
    await hand.service(unique, Connect={"SidecarService": {}})
    seen = await look(hand.client, instance(unique, consul_server.node))
    assert (seen.healthy, seen.registered) == (0, 1)
    # nobody listens at its port: unknown until its check has run, critical from then on
    assert seen.status in (Status.UNKNOWN, Status.CRITICAL)


async def test_a_look_at_a_node(consul_server, hand, unique):
    node = Target(dc="dc1", node=consul_server.node)
    await hand.service(unique, status="critical")
    assert (await look(hand.client, node)).status is Status.PASSING
    await hand.put("/agent/maintenance", enable="true")
    assert (await look(hand.client, node)).status is Status.MAINTENANCE
    await hand.put("/agent/maintenance", enable="false")
    assert (await look(hand.client, Target(dc="dc1", node=f"{unique}x"))).status is Status.ABSENT


@pytest.mark.parametrize(
    "name", ["..", "a/../../agent/leave", "web\r\nX-Evil: 1", "-rf", "аpi", "x" * 300, "a\x00b"]
)
async def test_a_look_at_an_odd_name_asks_for_that_name_only(twin, meddler, name):
    async with ConsulClient(addresses=[meddler.address]) as client:
        seen = await look(client, Target(dc="dc1", service=name))
    assert seen.error or seen.status is Status.ABSENT
    assert all(r.raw_path.split("/")[2] == "health" for r in meddler.seen)
    assert all(r.raw_path.count("/") == 4 for r in meddler.seen)


@pytest.mark.parametrize(
    ("status", "headers", "word"),
    [
        (500, GOOD, "500"),
        (403, GOOD, "403"),
        (200, {**GOOD, "X-Consul-KnownLeader": "false"}, "no leader"),
        (200, {**GOOD, "X-Consul-Results-Filtered-By-ACLs": "true"}, "ACL"),
    ],
)
async def test_a_look_that_cannot_be_made_says_why(twin, meddler, status, headers, word):
    meddler.instead["/v1/health/service/web"] = answering("[]", status=status, headers=headers)
    async with ConsulClient(addresses=[meddler.address]) as client:
        seen = await look(client, instance("web"))
    assert word in seen.error
    assert seen.status is Status.UNKNOWN
