"""Every change of health, on the twin and on a real server."""

import asyncio

import msgspec
from consulguard.events import Observed
from consulguard.model import Status

from tests.shell.watch.support import QUICK, Watching, instance, quick

CONFIRM_S = QUICK.confirm_after_s


async def test_the_first_batch_is_the_whole(consul_server, hand, unique):
    bad, worse, good = f"{unique}a", f"{unique}b", f"{unique}c"
    await hand.service(bad, status="warning")
    await hand.service(worse, status="critical")
    await hand.service(good)
    async with Watching(consul_server.address) as w:
        first = await w.until(lambda w: next((e for e in w.events if isinstance(e, Observed)), None))
        ours = {o.target.service: o.status for o in first.observations if o.target.service.startswith(unique)}
        assert ours == {bad: Status.WARNING, worse: Status.CRITICAL}
        view = await w.settled()
        assert (view.trusted, view.reasons, view.version) == (True, (), "1.8.7")
        assert view.not_passing >= 2
        assert view.services >= 4
        assert view.instances >= 4


async def test_a_check_fails_moves_and_recovers(consul_server, hand, unique):
    await hand.service(unique)
    async with Watching(consul_server.address) as w:
        await w.settled()
        await hand.flip(unique, "critical", "connection refused")
        await w.until(lambda w: w.statuses(f"{unique}1"))
        seen = w.observations[-1]
        assert seen.target == instance(unique, consul_server.node)
        assert (seen.check, seen.output, seen.type) == (f"service:{unique}1", "connection refused", "ttl")
        await hand.flip(unique, "warning")
        await w.until(lambda w: w.statuses(f"{unique}1")[-1] is Status.WARNING)
        await hand.flip(unique, "passing")
        await w.until(lambda w: w.statuses(f"{unique}1")[-1] is Status.PASSING)
        assert w.statuses(f"{unique}1") == [Status.CRITICAL, Status.WARNING, Status.PASSING]


async def test_moving_between_the_sets_is_no_recovery(consul_server, hand, unique):
    await hand.service(unique, status="critical")
    async with Watching(consul_server.address) as w:
        await w.settled()
        for _ in range(5):
            await hand.flip(unique, "warning")
            await hand.flip(unique, "critical")
        await hand.flip(unique, "warning", "last")
        await w.until(lambda w: w.statuses(f"{unique}1")[-1] is Status.WARNING)
        await asyncio.sleep(2 * CONFIRM_S)  # long enough for a departed key to have been read back
        assert Status.PASSING not in w.statuses(f"{unique}1")
        assert Status.ABSENT not in w.statuses(f"{unique}1")


async def test_another_output_is_told_as_no_change(consul_server, hand, unique):
    node = f"{unique}-node"  # past the agent, which would hold back a change of the output alone
    async with Watching(consul_server.address) as w:
        await w.settled()
        await hand.catalog(node, unique, "critical", output="one")
        await w.until(lambda w: w.statuses(f"{unique}1"))
        await hand.catalog(node, unique, "critical", output="two")
        last = await w.until(lambda w: w.observations[-1].output == "two" and w.observations[-1])
        assert not last.changed
        assert last.status is Status.CRITICAL
        assert last.index > w.observations[-2].index


async def test_what_is_gone_has_not_recovered(consul_server, hand, unique):
    await hand.service(unique, status="critical")
    async with Watching(consul_server.address) as w:
        await w.settled()
        await hand.put(f"/agent/service/deregister/{unique}1")
        await w.until(lambda w: len(w.statuses(f"{unique}1")) > 1)
        assert w.statuses(f"{unique}1") == [Status.CRITICAL, Status.ABSENT]


async def test_maintenance_is_a_state_of_its_own_and_ends(consul_server, hand, unique):
    await hand.service(unique)
    async with Watching(consul_server.address) as w:
        await w.settled()
        path = f"/agent/service/maintenance/{unique}1"
        await hand.put(path, enable="true", reason="planned")
        await w.until(lambda w: w.statuses(f"{unique}1"))
        assert w.observations[-1].check == f"_service_maintenance:{unique}1"
        await hand.put(path, enable="false")
        await w.until(lambda w: len(w.statuses(f"{unique}1")) > 1)
        assert w.statuses(f"{unique}1") == [Status.MAINTENANCE, Status.PASSING]


async def test_maintenance_of_a_node_belongs_to_the_node(consul_server, hand):
    async with Watching(consul_server.address) as w:
        await w.settled()
        await hand.put("/agent/maintenance", enable="true", reason="planned")
        await w.until(lambda w: w.statuses(consul_server.node))
        seen = w.observations[-1]
        assert (seen.target.kind, seen.target.service, seen.check) == ("node", "", "_node_maintenance")
        await hand.put("/agent/maintenance", enable="false")
        await w.until(lambda w: len(w.statuses(consul_server.node)) > 1)
        assert w.statuses(consul_server.node) == [Status.MAINTENANCE, Status.PASSING]


async def test_a_node_that_leaves_takes_its_checks_with_it(consul_server, hand, unique):
    node = f"{unique}-node"
    await hand.catalog(node, unique, "critical")
    async with Watching(consul_server.address) as w:
        await w.settled()
        await hand.put("/catalog/deregister", {"Node": node})
        await w.until(lambda w: w.statuses(f"{unique}1")[-1] is Status.ABSENT)
        await w.until(lambda w: (fact := w.node(node)) and fact.gone)
        await w.until(lambda w: (fact := w.service(unique)) and fact.gone)


async def test_a_state_nobody_defined_is_unknown(consul_server, hand, unique):
    await hand.catalog(f"{unique}-node", unique, "weird")
    async with Watching(consul_server.address) as w:
        await w.until(lambda w: w.statuses(f"{unique}1") == [Status.UNKNOWN])
        await hand.catalog(f"{unique}-node", unique, "passing")
        await w.until(lambda w: w.statuses(f"{unique}1") == [Status.UNKNOWN, Status.PASSING])


async def test_a_long_output_is_cut_and_counted(consul_server, hand, unique):
    await hand.service(unique)
    async with Watching(consul_server.address) as w:
        await w.settled()
        check = {"CheckID": f"{unique}c", "Name": "x", "Status": "critical", "Output": "é" * 10_000}
        await hand.put("/catalog/register", {"Node": f"{unique}-n", "Address": "10.0.0.1", "Check": check})
        await w.until(lambda w: w.statuses(f"{unique}-n"))
        output = w.observations[-1].output
        assert len(output.encode()) < 4200
        assert output.endswith("(+15904 bytes)")


async def test_what_an_earlier_life_knew_is_read_back(consul_server, hand, unique):
    back, gone, still = f"{unique}a", f"{unique}b", f"{unique}c"
    await hand.service(back)
    await hand.service(still, status="critical")
    watching = Watching(consul_server.address)
    node = consul_server.node
    watching.watcher.resume([(instance(name, node), f"service:{name}1") for name in (back, gone, still)])
    async with watching as w:
        await w.until(lambda w: w.statuses(f"{back}1") and w.statuses(f"{gone}1"))
        assert w.statuses(f"{back}1") == [Status.PASSING]
        assert w.statuses(f"{gone}1") == [Status.ABSENT]
        assert w.statuses(f"{still}1") == [Status.CRITICAL]


async def test_a_storm_comes_in_bounded_events_and_loses_nothing(twin):
    keys = twin.bulk(services=100, instances=120, nodes=50)
    async with Watching(twin.address, settings=quick(audit_s=60)) as w:
        await w.settled()
        twin.flip(keys, "critical")
        await w.until(lambda w: len(w.observations) >= len(keys), within_s=30)
        assert len({o.key for o in w.observations}) == len(keys)
        assert max(len(e.observations) for e in w.events if isinstance(e, Observed)) <= 5000
        twin.flip(keys, "passing")
        await w.until(lambda w: len(w.observations) >= 2 * len(keys), within_s=60)
        assert all(o.status is Status.PASSING for o in w.observations[len(keys) :])
        await w.until(lambda w: w.views[-1].not_passing == 0)


async def test_events_survive_the_journal(consul_server, hand, unique):
    await hand.service(unique, status="critical", Meta={"a": "b"})
    async with Watching(consul_server.address) as w:
        await w.settled()
    for event in w.events:
        assert msgspec.json.decode(msgspec.json.encode(event), type=type(event)) == event
