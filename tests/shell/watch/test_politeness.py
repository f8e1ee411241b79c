"""What we may cost Consul: few connections, few questions, and no busy loop whatever it answers."""

from __future__ import annotations

import asyncio

import psutil
import pytest
from consulguard.watch.pace import Backoff, Bucket
from consulguard.watch.settings import WatchSettings
from hypothesis import given
from hypothesis import strategies as st

from tests.shell.consulapi.stub import GOOD, answering
from tests.shell.watch.support import Meddler, Watching, quick

CRITICAL = "/v1/health/state/critical"
LOOK_S = 2.0
CONNECTIONS = 20
SETTINGS = WatchSettings()


def asked(meddler: Meddler, path: str) -> int:
    return sum(r.path == path for r in meddler.seen)


async def counted(meddler: Meddler) -> int:
    """Questions to the critical feed in ``LOOK_S`` seconds."""
    before = asked(meddler, CRITICAL)
    await asyncio.sleep(LOOK_S)
    return asked(meddler, CRITICAL) - before


async def test_an_index_of_zero_makes_no_busy_loop(meddler: Meddler) -> None:
    """Index 0 would not block: it is asked with 1, and at its pace even so."""
    async with Watching(meddler.address) as w:
        await w.settled()
        meddler.instead[CRITICAL] = answering("[]", headers={**GOOD, "X-Consul-Index": "0"})
        assert await counted(meddler) <= 2 * (SETTINGS.health_burst + LOOK_S * SETTINGS.health_rate)
        asked_with = [r.query.get("index") for r in meddler.seen if r.path == CRITICAL][-3:]
        assert "0" not in asked_with


async def test_an_index_that_keeps_falling_makes_no_busy_loop(meddler: Meddler) -> None:
    async with Watching(meddler.address) as w:
        await w.settled()
        falling = iter(range(10_000, 0, -1))

        async def handler(request):
            return await answering("[]", headers={**GOOD, "X-Consul-Index": str(next(falling))})(request)

        meddler.instead[CRITICAL] = handler
        # A fall is followed by a good answer, and that by the next fall: some at each, its own pace in between.
        assert await counted(meddler) <= SETTINGS.health_burst + LOOK_S * SETTINGS.health_rate + 12


@pytest.mark.parametrize("index", ["rising", "same"])
async def test_a_server_that_never_blocks_makes_no_busy_loop(meddler: Meddler, index: str) -> None:
    async with Watching(meddler.address) as w:
        await w.settled()
        rising = iter(range(1_000_000, 2_000_000))

        async def handler(request):
            now = str(next(rising)) if index == "rising" else "999999"
            return await answering("[]", headers={**GOOD, "X-Consul-Index": now})(request)

        meddler.instead[CRITICAL] = handler
        assert await counted(meddler) <= 2 * (SETTINGS.health_burst + LOOK_S * SETTINGS.health_rate)


async def test_errors_are_asked_after_with_growing_patience(meddler: Meddler) -> None:
    """Half a second at most here, 15 s in life: doubled, with up to a half taken off at random."""
    async with Watching(meddler.address, settings=quick(backoff_min_s=0.25, backoff_max_s=2.0)) as w:
        await w.settled()
        meddler.instead[CRITICAL] = answering("rpc error", status=500)
        assert 1 <= await counted(meddler) <= 10


async def test_a_thousand_changes_a_second_are_read_at_our_pace(meddler: Meddler) -> None:
    """News comes all the time: every answer has another body and another index."""
    async with Watching(meddler.address) as w:
        await w.settled()
        news = iter(range(1_000_000, 2_000_000))

        async def handler(request):
            n = next(news)
            status = ("critical", "warning")[n % 2]
            body = f'[{{"Node":"n","CheckID":"c{n % 7}","Name":"c","Status":"{status}","ServiceID":""}}]'
            return await answering(body, headers={**GOOD, "X-Consul-Index": str(n)})(request)

        meddler.instead[CRITICAL] = handler
        assert await counted(meddler) <= 2 * (SETTINGS.health_burst + LOOK_S * SETTINGS.health_rate_quick)


async def test_few_connections_are_held(consul_server, hand, unique) -> None:
    for letter in "abcdefgh":
        await hand.service(unique + letter, status="critical")
    port = int(consul_server.address.rpartition(":")[2])

    def links() -> int:
        found = psutil.Process().net_connections("tcp")
        return sum(c.status == "ESTABLISHED" and bool(c.raddr) and c.raddr.port == port for c in found)

    idle = links()
    async with Watching(consul_server.address) as w:
        await w.settled()
        assert links() - idle <= CONNECTIONS


@given(st.floats(0.05, 5), st.floats(5, 60), st.integers(1, 12))
def test_patience_grows_to_its_most_and_never_falls_in_step(least: float, most: float, tries: int) -> None:
    backoff, wanted = Backoff(least, most), least
    for _ in range(tries):
        delay = backoff.next()
        assert wanted / 2 <= delay <= wanted
        wanted = min(most, wanted * 2)
    backoff.reset()
    assert backoff.next() <= least
    assert len({Backoff(least, most).next() for _ in range(9)}) > 1


async def test_the_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(2.0, 3)
    delays = [bucket.delay() for _ in range(7)]
    assert delays[:3] == [0.0, 0.0, 0.0]
    assert delays[3:] == pytest.approx([0.5, 1.0, 1.5, 2.0], abs=0.3)
