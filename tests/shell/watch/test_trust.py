"""When the view may not be believed: each fault, its sentence, and that nothing is made of it."""

import asyncio

import pytest
from consulguard.consulapi import TokenSource
from consulguard.events import Observed, ViewChanged
from consulguard.model import Status

from tests.shell.consulapi.stub import GOOD, answering
from tests.shell.watch.support import Hand, Watching, quick

CRITICAL = "/v1/health/state/critical"
# Feeds ask again soon, so that a fault is met soon.
OFTEN = quick(wait_s=1.0)


async def told_nothing(w: Watching, unique: str, seconds: float = 1.0) -> None:
    """The failing instance is still failing, as far as anybody was told."""
    await asyncio.sleep(seconds)
    assert w.statuses(f"{unique}1") == [Status.CRITICAL]
    assert not [f for f in (w.service(unique), w.node("local")) if f is not None and f.gone]


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_errors_are_no_data(twin, twin_hand, unique, status):
    await twin_hand.service(unique, status="critical")
    async with Watching(twin.address, settings=OFTEN) as w:
        await w.settled()
        twin.fail(status=status)
        view = await w.distrusts(f"HTTP {status}")
        assert view.not_passing == 1
        await told_nothing(w, unique)
        twin.heal()
        await w.trusts_again()
        assert not w.views[-1].settled, "what happened in between is not known: it settles anew"
        await w.settled()
        assert w.statuses(f"{unique}1") == [Status.CRITICAL]


async def test_a_short_error_costs_no_trust(twin, twin_hand, unique):
    await twin_hand.service(unique, status="critical")
    async with Watching(twin.address, settings=quick(wait_s=1.0, grace_s=5.0)) as w:
        await w.settled()
        seen = len(w.views)
        twin.fail(count=3)
        await asyncio.sleep(2)
        assert all(view.trusted for view in w.views[seen:])


async def test_no_leader_freezes_at_once(twin, twin_hand, unique):
    await twin_hand.service(unique, status="critical")
    async with Watching(twin.address, settings=quick(grace_s=60)) as w:
        await w.settled()
        twin.leaderless()
        await w.distrusts("no leader")
        await told_nothing(w, unique)
        twin.heal()
        await w.trusts_again()


async def test_a_frozen_server_is_noticed_by_the_probe(twin, twin_hand, unique):
    await twin_hand.service(unique, status="critical")
    async with Watching(twin.address) as w:
        await w.settled()
        twin.freeze()
        await w.distrusts("leader probe")
        await told_nothing(w, unique)
        twin.heal()
        await w.trusts_again()


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("unknown leader", {"X-Consul-KnownLeader": "false"}),
        ("last contact", {"X-Consul-LastContact": "32174"}),
    ],
)
async def test_a_server_without_contact_is_frozen(twin, twin_hand, meddler, unique, name, headers):
    await twin_hand.service(unique, status="critical")
    async with Watching(meddler.address, settings=OFTEN) as w:
        await w.settled()
        meddler.instead[CRITICAL] = answering("[]", headers={**GOOD, "X-Consul-Index": "999", **headers})
        await w.distrusts("frozen")
        await told_nothing(w, unique)
        meddler.instead.clear()
        await w.trusts_again()
        await told_nothing(w, unique, 0.5)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Sign in</html>",
        b'[{"Node": "local", "CheckID"',
        b"{}",
        b"null",
        b"",
        b'[{"Node": "n", "CheckID": "c", "Status": "passing", "Status": "critical"}]',
        b'[{"Node": "n", "CheckID": "c", "Status": NaN}]',
        b'[{"CheckID": "c"}]',
        b"[" * 100_000,
    ],
)
async def test_a_body_that_is_not_data_is_not_empty(twin, twin_hand, meddler, unique, body):
    await twin_hand.service(unique, status="critical")
    async with Watching(meddler.address, settings=OFTEN) as w:
        await w.settled()
        meddler.instead[CRITICAL] = answering(body, headers={**GOOD, "X-Consul-Index": "999"})
        await w.distrusts("health/state/critical")
        await told_nothing(w, unique)
        meddler.instead.clear()
        await w.trusts_again()


@pytest.mark.parametrize("index", ["abc", "-1", str(2**70), "1_0", None])
async def test_an_index_that_is_none_starts_the_feed_anew(twin, twin_hand, meddler, unique, index):
    await twin_hand.service(unique, status="critical")
    async with Watching(meddler.address, settings=OFTEN) as w:
        await w.settled()
        headers = {k: v for k, v in GOOD.items() if k != "X-Consul-Index"}
        if index is not None:
            headers["X-Consul-Index"] = index
        meddler.instead[CRITICAL] = answering("[]", headers=headers)
        await w.distrusts("X-Consul-Index")
        await told_nothing(w, unique)
        meddler.instead.clear()
        await w.trusts_again()
        await told_nothing(w, unique, 0.5)


async def test_an_index_that_goes_back_is_another_history(twin, twin_hand, meddler, unique):
    await twin_hand.service(unique, status="critical")
    async with Watching(meddler.address, settings=OFTEN) as w:
        await w.settled()
        meddler.instead[CRITICAL] = answering("[]", headers={**GOOD, "X-Consul-Index": "2"})
        await w.distrusts("went back")
        meddler.instead.clear()
        await w.trusts_again()
        await told_nothing(w, unique, 0.5)


async def test_a_restored_snapshot_resyncs_everything(twin, twin_hand, unique):
    gone = f"{unique}x"
    await twin_hand.service(unique, status="critical")
    await twin_hand.service(gone, status="critical")
    async with Watching(twin.address, settings=quick(wait_s=0.3, audit_s=2.0)) as w:
        await w.settled()  # by then each feed has waited whole, and knows that this server waits
        twin.drop_index()
        view = await w.distrusts("restored")
        assert "audits must agree" in str(view.reasons)
        await twin_hand.put(f"/agent/service/deregister/{gone}1")
        await w.trusts_again()
        await w.settled()
        assert w.statuses(f"{unique}1") == [Status.CRITICAL]
        await w.until(lambda w: w.statuses(f"{gone}1")[-1] is Status.ABSENT)
        await twin_hand.flip(unique, "passing")
        await w.until(lambda w: w.statuses(f"{unique}1")[-1] is Status.PASSING)


async def test_distrust_is_told_before_what_was_read_anew(twin, twin_hand, unique):
    await twin_hand.service(unique)
    async with Watching(twin.address, settings=OFTEN) as w:
        await w.settled()
        start = len(w.events)
        twin.drop_index()
        await twin_hand.flip(unique, "critical")
        await w.until(lambda w: w.statuses(f"{unique}1"))
        said = w.events[start:]
        first_doubt = next(i for i, e in enumerate(said) if isinstance(e, ViewChanged) and not e.view.trusted)
        first_news = next(i for i, e in enumerate(said) if isinstance(e, Observed) and e.observations)
        assert first_doubt < first_news


async def test_a_refusal_is_unknown_and_never_empty(twin, twin_hand, unique):
    await twin_hand.service(unique, status="critical")
    async with Watching(twin.address, settings=OFTEN) as w:
        await w.settled()
        twin.deny()
        await w.distrusts("ACL not found")
        await told_nothing(w, unique)
        twin.heal()
        await w.trusts_again()
        await told_nothing(w, unique, 0.5)


async def test_a_new_token_in_the_file_is_used(twin, twin_hand, meddler, tmp_path, unique):
    file = tmp_path / "token"
    file.write_text("old")
    await twin_hand.service(unique, status="critical")
    allowed = ["old"]
    forward = meddler.handler

    async def guard(request):
        if request.headers.get("X-Consul-Token") not in allowed:
            return await answering("ACL not found", status=403)(request)
        return await forward(request)

    meddler.handler = guard
    async with Watching(meddler.address, settings=OFTEN, token=TokenSource(file=file)) as w:
        await w.settled()
        allowed[:] = ["new"]
        await w.distrusts("ACL not found")
        file.write_text("the new")
        file.write_text("new")
        await w.trusts_again()
        await told_nothing(w, unique, 0.5)


async def test_emptiness_by_lack_of_rights_is_not_believed(twin, twin_hand, unique):
    await twin_hand.service(unique, status="critical")
    async with Watching(twin.address, settings=OFTEN) as w:
        await w.settled()
        twin.empty_by_acl()
        await twin_hand.flip(unique, "critical", "again")
        await w.until(lambda w: not w.views[-1].trusted)
        await told_nothing(w, unique, 2)
        twin.heal()
        await w.trusts_again()
        await told_nothing(w, unique, 0.5)


async def test_results_left_out_for_lack_of_rights_are_not_gone(twin, twin_hand, meddler, unique):
    await twin_hand.service(unique, status="critical")
    async with Watching(meddler.address, settings=OFTEN) as w:
        await w.settled()
        filtered = {**GOOD, "X-Consul-Index": "999", "X-Consul-Results-Filtered-By-ACLs": "true"}
        meddler.instead[CRITICAL] = answering("[]", headers=filtered)
        await w.distrusts("ACL rights")
        await told_nothing(w, unique)
        meddler.instead.clear()
        await w.trusts_again()


async def test_many_services_gone_at_once_are_looked_at_twice(twin, twin_hand, unique):
    names = [unique + letter for letter in "abcdefgh"]
    for name in names:
        await twin_hand.service(name)
    async with Watching(twin.address, settings=quick(services_gap_s=1.0)) as w:
        await w.settled()
        for name in names[:4]:
            await twin_hand.put(f"/agent/service/deregister/{name}1")
        await w.distrusts("services fell from")
        await w.until(lambda w: (f := w.service(names[0])) and f.gone)
        await w.trusts_again()
        assert w.views[-1].services == 5


async def test_one_id_with_two_states_is_critical_and_an_anomaly(twin, meddler, unique):
    def row(status):
        return (
            f'{{"Node": "n", "CheckID": "c", "Status": "{status}", "ServiceID": "{unique}1",'
            f' "ServiceName": "{unique}", "ModifyIndex": 5}}'
        )

    body = f"[{row('passing')}, {row('critical')}, {row('warning')}]"
    meddler.instead[CRITICAL] = answering(body, headers={**GOOD, "X-Consul-Index": "99"})
    async with Watching(meddler.address, settings=quick(audit_s=60)) as w:
        await w.distrusts("'c' of node 'n'")
        await w.until(lambda w: w.statuses(f"{unique}1") == [Status.CRITICAL])


async def test_a_hole_in_what_the_feeds_told_is_found_by_the_audit(twin, twin_hand, meddler, unique):
    await twin_hand.service(unique, status="critical")

    async def deaf(request):
        await asyncio.sleep(0.2)
        return await answering("[]", headers={**GOOD, "X-Consul-Index": "3"})(request)

    meddler.instead[CRITICAL] = deaf
    async with Watching(meddler.address, settings=quick(wait_s=1.0, audit_s=0.3)) as w:
        await w.distrusts("audit: 1 checks differ")
        assert w.statuses(f"{unique}1") == []
        meddler.instead.clear()
        await w.until(lambda w: w.statuses(f"{unique}1") == [Status.CRITICAL])
        await w.trusts_again()


async def test_a_fall_back_agent_takes_over_and_the_view_settles_anew(twin, twin_hand, unique):
    await twin_hand.service(unique, status="critical")
    second = await twin.add_agent("second")
    async with Watching(twin.address, second) as w:
        await w.settled()
        await twin.unplug()
        await w.until(lambda w: not w.views[-1].settled)
        await w.settled()
        assert w.client.address == second
        assert w.statuses(f"{unique}1") == [Status.CRITICAL]
        await twin.plug()


async def test_the_watcher_waits_for_consul(twin):
    await twin.unplug()
    async with Watching(twin.address) as w:
        view = await w.distrusts("cannot connect")
        assert not view.settled
        await twin.plug()
        await w.settled()


async def test_the_view_has_a_heartbeat(twin):
    async with Watching(twin.address) as w:
        view = await w.settled()
        await w.until(lambda w: w.views[-1].as_of and w.views[-1].as_of > view.as_of)


@pytest.mark.real
async def test_a_restarted_agent_loses_nothing(real_consul, unique):
    hand = Hand(real_consul.address)
    await hand.catalog(f"{unique}-node", unique, "critical")
    async with Watching(real_consul.address) as w:
        await w.settled()
        await real_consul.kill()
        await w.until(lambda w: not w.views[-1].trusted)
        await real_consul.restart()
        await w.trusts_again()
        await w.settled()
        assert w.statuses(f"{unique}1") == [Status.CRITICAL]
        assert w.service(unique).gone is False
    await hand.client.close()
