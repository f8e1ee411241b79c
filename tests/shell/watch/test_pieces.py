"""The parts without I/O: what an answer means, which edges an entry makes, what is read next."""

import base64
import json
from datetime import UTC, datetime

import msgspec
import pytest
from consulguard.consulapi import parse_version
from consulguard.errors import BadAnswer
from consulguard.model import Status, Target
from consulguard.watch import PROVENANCES, WatchSettings, edges
from consulguard.watch import entries as e
from consulguard.watch.book import HealthBook, by_key
from consulguard.watch.census import Census, name_list
from consulguard.watch.decode import (
    Check,
    Entry,
    KvPair,
    Node,
    NodeServices,
    Scope,
    UiService,
    clip,
    instance_status,
    interval_s,
    refuse_duplicate_keys,
    status_of,
)
from consulguard.watch.queue import CrawlQueue
from hypothesis import given
from hypothesis import strategies as st

AT = datetime(2026, 1, 1, tzinfo=UTC)
DC = Scope("dc1")
NAMES = edges.Names(DC)


def service(name, dc="dc1", **more):
    return Target(dc=dc, service=name, **more)


def links(fact):
    return {(x.source.name, x.destination.name, x.provenance, x.destination.dc) for x in fact.edges}


def of_kind(name, *rows):
    kind = next(k for k in edges.KINDS if k.name == name)
    return edges.from_kind(kind, msgspec.convert(list(rows), list[kind.type]), NAMES, AT)


# ---- checks


@pytest.mark.parametrize(
    ("status", "check_id", "meaning"),
    [
        ("passing", "c", Status.PASSING),
        ("warning", "c", Status.WARNING),
        ("critical", "c", Status.CRITICAL),
        ("Critical", "c", Status.UNKNOWN),
        ("unknown", "c", Status.UNKNOWN),
        ("", "c", Status.UNKNOWN),
        (None, "c", Status.UNKNOWN),
        ("critical", "_node_maintenance", Status.MAINTENANCE),
        ("critical", "_service_maintenance:x", Status.MAINTENANCE),
    ],
)
def test_what_a_status_means(status, check_id, meaning):
    assert status_of(Check(Node="n", CheckID=check_id, Status=status)) is meaning


def test_maintenance_hides_the_rest_of_an_instance():
    checks = [
        Check(Node="n", CheckID="a", Status="critical"),
        Check(Node="n", CheckID="_node_maintenance", Status="critical"),
    ]
    assert instance_status(checks) is Status.MAINTENANCE
    assert instance_status(checks[:1]) is Status.CRITICAL
    assert instance_status([]) is Status.PASSING


@given(st.text())
def test_an_output_is_kept_to_four_kib(text):
    kept = clip(text)
    assert kept == text or len(kept.encode("utf-8", "replace")) < 4096 + 40


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("", None), ("x", None), ("0s", None)]
)
def test_intervals(text, seconds):
    assert interval_s(Check(Node="n", CheckID="c", Interval=text)) == seconds


def test_duplicate_keys_are_refused_and_their_like_in_a_string_are_not():
    fine = json.dumps(
        [{"Status": "x", "Output": 'says "Status": twice', "Definition": {"Header": {"Status": ["1"]}}}]
    )
    refuse_duplicate_keys(fine.replace(": ", ":", 1).encode(), "Status", 1)
    with pytest.raises(BadAnswer):
        refuse_duplicate_keys(b'[{"Status":"passing","Status":"critical"}]', "Status", 1)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1.8.7", (1, 8, 7)),
        ("1.15.2+ent", (1, 15, 2)),
        ("1.10.0-beta1", (1, 10, 0)),
        ("v1", ()),
        ("", ()),
        ("1.21", (1, 21)),
    ],
)
def test_versions(text, parts):
    assert parse_version(text) == parts


STATUSES = ["passing", "warning", "critical"]
KEYS = st.sampled_from(["a", "b", "c"])
WRITES = st.lists(st.tuples(KEYS, st.sampled_from([*STATUSES, None]), st.booleans(), st.booleans()), max_size=30)


@given(WRITES)
def test_however_the_feeds_are_delayed_the_book_ends_up_right(writes):
    """Checks change; each feed may or may not be read in between. In the end both are read, and what left both is
    read back: the book is what Consul says, and the last word on each check agrees with it."""
    truth: dict[str, tuple[str, int]] = {}
    book, said, pending = HealthBook(DC, ("critical", "warning")), {}, set()

    def rows(*statuses):
        return [
            Check(Node="n", CheckID=k, Status=s, ModifyIndex=i) for k, (s, i) in truth.items() if s in statuses
        ]

    def read(feed):
        for seen in book.changes(feed, by_key(rows(feed))[0], AT):
            said[seen.check] = seen.status

    def read_back():
        pending.update(book.left())
        found, _ = by_key(rows(*STATUSES))
        for key in sorted(k for k in pending if not book.present(k)):
            seen = book.see(key, found[key], AT) if key in found else book.absent(key, AT)
            if seen is not None:
                said[seen.check] = seen.status
        pending.intersection_update(k for k in book.known if not book.present(k))

    for index, (key, status, critical, warning) in enumerate(writes, 1):
        truth.pop(key, None)
        if status is not None:
            truth[key] = (status, index)
        for feed, due in (("critical", critical), ("warning", warning)):
            if due:
                read(feed)
        read_back()
    for feed in ("critical", "warning"):
        read(feed)
    read_back()
    bad = {key: Status(status) for key, (status, _) in truth.items() if status != "passing"}
    assert {key[4]: known.status for key, known in book.known.items()} == bad
    assert {check: said[check] for check in bad} == bad
    assert {said[check] for check in said.keys() - bad.keys()} <= {Status.PASSING, Status.ABSENT}
    assert book.nodes.total() == len(bad)


# ---- edges


def test_resolver_with_failover_targets_of_newer_servers():
    fact = of_kind(
        "service-resolver",
        {
            "Name": "a",
            "Redirect": {"Service": "b", "Datacenter": "dc2"},
            "Failover": {"*": {"Targets": [{"Service": "c", "Peer": "east"}, {"Datacenter": "dc3"}]}},
        },
    )
    assert links(fact) == {
        ("a", "b", "resolver-redirect", "dc2"),
        ("a", "c", "resolver-failover", "dc1"),
        ("a", "a", "resolver-failover", "dc3"),
    }
    assert {x.destination.peer for x in fact.edges} == {"", "east"}


def test_a_subset_is_no_other_service():
    assert of_kind("service-resolver", {"Name": "a", "Redirect": {"ServiceSubset": "v2"}}).edges == ()


def test_a_split_of_weight_zero_goes_nowhere():
    splits = [{"Weight": 100, "Service": "b"}, {"Weight": 0, "Service": "c"}]
    assert links(of_kind("service-splitter", {"Name": "a", "Splits": splits})) == {("a", "b", "splitter", "dc1")}


def test_router_defaults_and_gateway_routes():
    routes = [{"Match": {}, "Destination": {"Service": "b"}}, {"Destination": None}]
    assert links(of_kind("service-router", {"Name": "a", "Routes": routes})) == {("a", "b", "router", "dc1")}
    overrides = {"Overrides": [{"Name": "b"}, {"Name": ""}]}
    assert links(of_kind("service-defaults", {"Name": "a", "UpstreamConfig": overrides})) == {
        ("a", "b", "service-defaults", "dc1")
    }
    parents = [{"Kind": "api-gateway", "Name": "gw"}]
    http = {"Name": "r", "Parents": parents, "Rules": [{"Services": [{"Name": "b"}, {"Name": "c"}]}]}
    assert links(of_kind("http-route", http)) == {("gw", "b", "ingress", "dc1"), ("gw", "c", "ingress", "dc1")}


def test_namespaces_and_partitions_are_kept():
    entry = {"Name": "a", "Namespace": "n1", "Partition": "p1", "Redirect": {"Service": "b", "Namespace": "n2"}}
    edge = of_kind("service-resolver", entry).edges[0]
    assert edge.source == service("a", namespace="n1", partition="p1")
    assert edge.destination == service("b", namespace="n2", partition="p1")


def test_both_forms_of_intentions_say_the_same():
    old = msgspec.convert(
        [
            {"SourceName": "a", "DestinationName": "b", "Action": "allow"},
            {"SourceName": "x", "DestinationName": "b", "Action": "deny"},
            {"SourceName": "*", "DestinationName": "c", "Action": "allow"},
            {"SourceName": "l7", "DestinationName": "c", "Permissions": [{"Action": "deny"}, {"Action": "allow"}]},
        ],
        list[e.Intention],
    )
    new = msgspec.convert(
        [
            {"Name": "b", "Sources": [{"Name": "a", "Action": "allow"}, {"Name": "x", "Action": "deny"}]},
            {
                "Name": "c",
                "Sources": [
                    {"Name": "*", "Action": "allow"},
                    {"Name": "l7", "Permissions": [{"Action": "deny"}, {"Action": "allow"}]},
                ],
            },
        ],
        list[e.ServiceIntentions],
    )
    fact = edges.from_intentions(old, NAMES, AT)
    assert fact == edges.from_service_intentions(new, NAMES, AT)
    assert fact.denied == ((service("x"), service("b")),)
    assert links(fact) == {(s, d, "intention", "dc1") for s, d in [("a", "b"), ("*", "c"), ("l7", "c")]}


def test_the_topology_of_newer_servers_keeps_its_sources():
    answer = {
        "Upstreams": [
            {"Name": "b", "Source": "proxy-registration", "Intention": {"Allowed": True}},
            {"Name": "c", "Source": "default-allow", "Intention": {"Allowed": True}},
            {"Name": "d", "Source": "something-new", "Intention": {"Allowed": True}},
            {"Name": "e", "Source": "specific-intention", "Intention": {"Allowed": False}},
        ],
        "FilteredByACLs": False,
    }
    fact = edges.from_topology(service("a"), msgspec.convert(answer, e.Topology), AT)
    trust = {x.destination.name: x.trust for x in fact.edges}
    assert trust["b"] == 0.9
    assert trust["c"] == trust["d"] < 0.1
    assert fact.denied == ((service("a"), service("e")),)
    assert {x.min_version for x in fact.edges} == {"1.9.0"}


def test_declared_edges_in_kv():
    def pair(key, text):
        return KvPair(Key=f"p/{key}", Value=base64.b64encode(text).decode())

    pairs = [
        pair("a", b"b, c,b"),
        pair("d", b'["e"]'),
        pair("bad", b'{"x": 1}'),
        pair("worse", b"\xff"),
        KvPair(Key="p/"),
    ]
    pairs.append(KvPair(Key="p/none", Value=None))
    declared, wrong = edges.declared_in_kv(pairs, "p/")
    assert declared == {"a": ("b", "c"), "d": ("e",), "none": ()}
    assert wrong == ["p/bad", "p/worse"]


@given(st.text())
def test_a_list_of_names_is_one_or_is_refused(text):
    try:
        names = name_list(text)
    except ValueError:
        return
    assert all(name == name.strip() and name for name in names)


def test_deep_nesting_in_a_list_of_names_is_refused():
    with pytest.raises(ValueError):
        name_list("[" * 100_000)


def test_every_provenance_is_documented():
    for entry in PROVENANCES:
        assert 0 < entry.trust <= 1
        assert entry.reason
        assert entry.min_version == "" or parse_version(entry.min_version)


# ---- census


def census():
    made = Census(DC, "", "", WatchSettings())
    made.listed({"web": ()}, AT)
    return made


def entry(node, instance, **more):
    return msgspec.convert(
        {"Node": {"Node": node}, "Service": {"ID": instance, "Service": "web", **more}, "Checks": []}, Entry
    )


def test_what_all_instances_agree_on():
    rows = [
        entry("n1", "w1", Tags=["a", "b"], Meta={"team": "x", "v": "1"}),
        entry("n2", "w2", Tags=["b", "c"], Meta={"team": "x", "v": "2"}),
    ]
    (fact,) = census().read("web", rows, AT, detailed=True)
    assert (fact.tags, fact.meta, fact.nodes, fact.count) == (("a", "b", "c"), {"team": "x"}, ("n1", "n2"), 2)


def test_the_same_id_on_two_nodes_is_two_instances():
    (fact,) = census().read("web", [entry("n1", "w"), entry("n2", "w")], AT, detailed=True)
    assert len({i.target.key for i in fact.instances}) == 2


def test_equal_facts_are_told_once_and_counts_keep_the_details():
    made = census()
    rows = [
        entry(
            "n1",
            "w",
            Kind="connect-proxy",
            Proxy={"DestinationServiceName": "a", "Upstreams": [{"DestinationName": "b"}]},
        )
    ]
    assert len(made.read("web", rows, AT, detailed=False)) == 1
    assert made.read("web", rows, AT, detailed=False) == []
    same = [UiService(Name="web", Kind="connect-proxy", InstanceCount=1, Nodes=["n1"], ProxyFor=["z", "a"])]
    assert made.counted(same, AT) == ([], [])
    more = [UiService(Name="web", Kind="connect-proxy", InstanceCount=2, Nodes=["n1", "n2"], ProxyFor=["a"])]
    (fact,), names = made.counted(more, AT)
    assert (fact.count, fact.upstreams[0].name, names) == (2, "b", ["web"])


def test_the_zone_of_a_node():
    made = Census(DC, "", "", WatchSettings(zone_keys=("rack", "zone")))
    rows = [Node(Node="a", Meta={"zone": "z1"}), Node(Node="b", Meta={"zone": "z1", "rack": "r"}), Node(Node="c")]
    assert {f.target.node: f.zone for f in made.placed(rows, AT)} == {"a": "z1", "b": "r", "c": ""}
    assert made.placed(rows, AT) == []
    made.listed({"web": ()}, AT)
    facts = made.read("web", [entry("c", "w", Locality={"Region": "eu", "Zone": "eu-1"})], AT, detailed=False)
    assert {f.zone for f in facts if hasattr(f, "zone")} == {"eu-1"}
    assert made.placed(rows, AT) == [], "the list of nodes does not take the zone away again"


def test_a_node_in_trouble_may_be_read_before_the_list_of_nodes_comes():
    made = census()
    row = {"Node": "n", "Address": "10.1.2.3", "Meta": {"team": "x"}}
    answer = msgspec.convert({"Node": row, "Services": {"w": {"ID": "w", "Service": "web"}}}, NodeServices)
    (fact,) = made.node_read(answer, AT)
    assert (fact.address, fact.instances) == (
        "10.1.2.3",
        (Target(dc="dc1", service="web", node="n", instance="w"),),
    )
    assert made.placed([msgspec.convert(row, Node)], AT) == [], "the list says the same, and takes nothing away"


# ---- what is read next


def test_trouble_first_then_new_then_routine():
    queue = CrawlQueue(WatchSettings())
    queue.names(["a", "b", "c"])
    queue.changed(["b", "b-sidecar-proxy"])
    queue.activate([("node", "n")], 0.0)
    queue.started(("service", "a"), 0.0)  # the routine has had its turn just now
    order = []
    now = 0.0
    for _ in range(3):
        assert not queue.first_round_over
        item, delay = queue.next(now)
        now += delay
        queue.started(item, now)
        order.append(item[1])
    assert order == ["n", "b-sidecar-proxy", "b"]
    assert queue.first_round_over


def test_the_steady_crawl_is_slow():
    queue = CrawlQueue(WatchSettings())
    queue.names([f"s{i}" for i in range(100)])
    now, reads = 0.0, 0
    while now < 3600:
        item, delay = queue.next(now)
        now += delay
        queue.started(item, now)
        reads += 1
    assert 390 <= reads <= 410, "each of 100 services four times an hour"


def test_a_flapping_service_is_not_read_at_every_flip():
    queue = CrawlQueue(WatchSettings())
    reads, now = 0, 0.0
    while now < 60:
        queue.outdated([("service", "x")], now)
        item, delay = queue.next(now)
        if delay == 0:
            queue.started(item, now)
            reads += 1
        now += 0.1
    assert reads <= 13


def test_what_is_known_of_a_service_in_trouble_is_refreshed_once_a_minute():
    queue = CrawlQueue(WatchSettings())
    assert reads_within(queue, 300.0, ["x"]) == 5


def test_in_a_crowd_one_a_second_is_refreshed_and_none_is_left_out():
    queue = CrawlQueue(WatchSettings())
    crowd = [f"s{i}" for i in range(200)]
    assert 200 + 230 <= reads_within(queue, 300.0, crowd) <= 200 + 300
    now = 300.0
    assert all(now - queue._read_at["service", name] <= 200 + 60 for name in crowd)


def reads_within(queue, seconds, names):
    """How often the crawler would read, with these in trouble all the time."""
    reads, now = 0, 0.0
    while now < seconds:
        queue.activate([("service", name) for name in names], now)
        queue.tick(now)
        for _ in range(20):
            item, delay = queue.next(now)
            if delay == 0 and item is not None:
                queue.started(item, now)
                reads += 1
            now += 0.05
    return reads
