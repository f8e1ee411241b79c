"""What is learned of services, nodes and edges, on the twin and on a real server."""

import asyncio

from consulguard.events import Learned
from consulguard.model import EdgesFact, InstanceFact, Status, Target

from tests.shell.watch.support import Watching, instance, quick


def service(name):
    return Target(dc="dc1", service=name)


def pairs(fact: EdgesFact) -> set[tuple[str, str, str]]:
    return {(e.source.service, e.destination.service, e.provenance) for e in fact.edges}


async def test_a_sidecar_names_its_service_and_its_upstreams(consul_server, hand, unique):
    upstreams = [
        {"DestinationName": "db", "LocalBindPort": 9191},
        {"DestinationName": "q", "DestinationType": "prepared_query", "LocalBindPort": 9192, "Datacenter": "dc2"},
    ]
    await hand.service(unique, Connect={"SidecarService": {"Proxy": {"Upstreams": upstreams}}}, Tags=["v1"])
    async with Watching(consul_server.address) as w:
        proxy = f"{unique}-sidecar-proxy"
        fact = await w.until(lambda w: (f := w.service(proxy)) and f.upstreams and f)
        assert (fact.kind, fact.destination, fact.count, fact.nodes) == (
            "connect-proxy",
            unique,
            1,
            (consul_server.node,),
        )
        assert [(u.name, u.type, u.dc) for u in fact.upstreams] == [
            ("db", "service", ""),
            ("q", "prepared_query", "dc2"),
        ]
        # its TCP check fails, for nothing listens there: it is in trouble, and so is read in detail
        fact = await w.until(lambda w: (f := w.service(proxy)) and f.instances and f)
        assert fact.instances[0].destination_instance == f"{unique}1"
        fact = await w.until(lambda w: (f := w.service(unique)) and f.instances and f)
        assert fact.tags == ("v1",)


async def test_details_are_read_for_what_is_in_trouble_only(consul_server, hand, unique):
    bad, good = f"{unique}a", f"{unique}b"
    meta = {"consulguard-depends-on": f'["{good}", "x"]', "team": "t"}
    await hand.service(bad, status="critical", Meta=meta, Port=81, Address="10.9.9.9")
    await hand.service(good)
    async with Watching(consul_server.address) as w:
        fact = await w.until(lambda w: (f := w.service(bad)) and f.instances and f)
        assert fact.depends_on == (good, "x")
        assert fact.meta["team"] == "t"
        assert fact.instances == (
            InstanceFact(
                target=instance(bad, consul_server.node),
                address="10.9.9.9",
                port=81,
                meta=meta,
                status=Status.CRITICAL,
                checks=2,
            ),
        )
        await w.settled()
        assert w.service(good).instances is None
        w.watcher.focus([instance(good, consul_server.node)])
        fact = await w.until(lambda w: (f := w.service(good)) and f.instances and f)
        assert fact.instances[0].status is Status.PASSING
        assert w.node(consul_server.node).instances is None, "who runs where the services tell"
        w.watcher.focus([Target(dc="dc1", node=consul_server.node)])
        node = await w.until(lambda w: (n := w.node(consul_server.node)) and n.instances and n)
        assert {instance(bad, consul_server.node), instance(good, consul_server.node)} <= set(node.instances)


async def test_a_failing_node_is_trouble_for_all_its_services(consul_server, hand, unique):
    node = f"{unique}-node"
    await hand.catalog(node, unique, "passing", NodeMeta={"topology.kubernetes.io/zone": "z1", "other": "x"})
    check = {"CheckID": "disk", "Name": "disk", "Status": "critical"}
    await hand.put(
        "/catalog/register", {"Node": node, "Address": "10.1.2.3", "Check": check, "SkipNodeUpdate": True}
    )
    async with Watching(consul_server.address) as w:
        fact = await w.until(lambda w: (n := w.node(node)) and n.instances and n)
        assert (fact.zone, fact.address) == ("z1", "10.1.2.3")
        assert fact.instances == (instance(unique, node),)
        fact = await w.until(lambda w: (f := w.service(unique)) and f.instances and f)
        assert fact.instances[0].status is Status.CRITICAL


async def test_a_new_service_and_its_end_are_facts(consul_server, hand, unique):
    async with Watching(consul_server.address) as w:
        await w.settled()
        await hand.service(unique)
        fact = await w.until(lambda w: (f := w.service(unique)) and f.count == 1 and f)
        assert (fact.target, fact.gone) == (service(unique), False)
        await hand.put(f"/agent/service/deregister/{unique}1")
        await w.until(lambda w: w.service(unique).gone)


async def test_a_second_instance_is_noticed(consul_server, hand, unique):
    await hand.service(unique)
    async with Watching(consul_server.address) as w:
        await w.settled()
        await hand.put("/agent/service/register", {"Name": unique, "ID": f"{unique}2"})
        await w.until(lambda w: w.service(unique).count == 2)


async def test_what_is_known_is_not_told_again(consul_server, hand, unique):
    await hand.service(unique)
    async with Watching(consul_server.address) as w:
        await w.settled()
        before = [f for e in w.events if isinstance(e, Learned) for f in e.facts]
        await asyncio.sleep(1)
        after = [f for e in w.events if isinstance(e, Learned) for f in e.facts]
        assert after == before


async def test_intentions_of_the_old_list(consul_server, hand, unique):
    a, b, c = f"{unique}a", f"{unique}b", f"{unique}c"
    rows = [(a, b, "allow"), ("*", c, "allow"), (b, c, "deny")]
    ids = []
    for caller, called, action in rows:
        body = {"SourceName": caller, "DestinationName": called, "SourceType": "consul", "Action": action}
        answer = await hand.client.send("POST", "/v1/connect/intentions", json=body)
        ids.append(answer.json()["ID"])
    async with Watching(consul_server.address) as w:
        fact = await w.until(lambda w: w.edges("intentions"))
        trust = {(e.source.service, e.destination.service): e.trust for e in fact.edges}
        assert trust[a, b] > trust["*", c]
        assert (service(b), service(c)) in fact.denied
        assert (b, c) not in trust
        for one in ids:
            await hand.client.send("DELETE", f"/v1/connect/intentions/{one}")
        await w.until(lambda w: not w.edges("intentions").edges)


async def test_configuration_entries(consul_server, hand, unique):
    a, b, c = f"{unique}a", f"{unique}b", f"{unique}c"
    entries = [
        {"Kind": "service-defaults", "Name": a, "Protocol": "http"},
        {"Kind": "service-defaults", "Name": b, "Protocol": "http"},
        {"Kind": "service-defaults", "Name": c, "Protocol": "http"},
        {"Kind": "service-resolver", "Name": c, "Redirect": {"Service": b}},
        {"Kind": "service-resolver", "Name": b, "Failover": {"*": {"Datacenters": ["dc2"]}}},
        {"Kind": "service-splitter", "Name": a, "Splits": [{"Weight": 90}, {"Weight": 10, "Service": b}]},
        {
            "Kind": "ingress-gateway",
            "Name": f"{unique}gw",
            "Listeners": [{"Port": 1234, "Protocol": "http", "Services": [{"Name": c}]}],
        },
        {"Kind": "terminating-gateway", "Name": f"{unique}tg", "Services": [{"Name": f"{unique}ext"}]},
    ]
    for entry in entries:
        await hand.put("/config", entry)
    async with Watching(consul_server.address) as w:
        resolver = await w.until(lambda w: w.edges("config/service-resolver"))
        assert pairs(resolver) == {(c, b, "resolver-redirect"), (b, b, "resolver-failover")}
        assert {e.destination.dc for e in resolver.edges if e.provenance == "resolver-failover"} == {"dc2"}
        assert pairs(await w.until(lambda w: w.edges("config/service-splitter"))) == {(a, b, "splitter")}
        assert pairs(await w.until(lambda w: w.edges("config/ingress-gateway"))) == {(f"{unique}gw", c, "ingress")}
        terminating = await w.until(lambda w: w.edges("config/terminating-gateway"))
        assert pairs(terminating) == {(f"{unique}tg", f"{unique}ext", "terminating")}
        for entry in reversed(entries):
            await hand.client.send("DELETE", f"/v1/config/{entry['Kind']}/{entry['Name']}")
        await w.until(lambda w: not w.edges("config/service-resolver").edges)


async def test_declared_edges(consul_server, hand, unique):
    settings = quick(declared={f"{unique}a": (f"{unique}b",)}, kv_prefix=f"{unique}/depends-on/")
    async with Watching(consul_server.address, settings=settings) as w:
        fact = await w.until(lambda w: w.edges("declared/file"))
        assert pairs(fact) == {(f"{unique}a", f"{unique}b", "declared")}
        await w.settled()
        await hand.put(f"/kv/{unique}/depends-on/x", b"y, z,")
        await hand.put(f"/kv/{unique}/depends-on/y", b'["z"]')
        await hand.put(f"/kv/{unique}/depends-on/bad", b'{"a": 1}')
        wanted = {("x", "y", "declared"), ("x", "z", "declared"), ("y", "z", "declared")}
        await w.until(lambda w: (f := w.edges("declared/kv")) and pairs(f) == wanted)
        view = await w.until(lambda w: w.views[-1].reasons and w.views[-1])
        assert view.trusted, "a wrong key is told, but is no reason for distrust"
        assert f"{unique}/depends-on/bad" in view.reasons[0]
        await hand.client.send("DELETE", f"/v1/kv/{unique}/", params={"recurse": ""})
        await w.until(lambda w: not w.edges("declared/kv").edges)


async def test_the_steady_load_is_small(consul_server, hand, unique):
    for letter in "abcde":
        await hand.service(unique + letter)
    async with Watching(consul_server.address, settings=quick(audit_s=90, probe_s=10, acl_probe_s=3600)) as w:
        await w.settled()
        await asyncio.sleep(2)  # the short waits of settling end, and the long ones begin
        before = w.client.requests.total()
        await asyncio.sleep(4)
        assert w.client.requests.total() - before <= 4
