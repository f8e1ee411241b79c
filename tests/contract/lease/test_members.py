"""What every list of members promises, on the real server of each backend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from consulguard.clock import SystemClock
from consulguard.coordinate import Alive, Members
from consulguard.errors import LeaseUnavailable

from tests.contract.lease.conftest import TTL_S, Site
from tests.support.waiting import eventually

pytestmark = pytest.mark.real
PATIENCE_S = 60.0


async def joined(*members: Members) -> None:
    for member in members:
        assert await surely(member.stay)


async def surely(ask: Callable[[], Awaitable[object]]) -> object:
    """A busy server may have no answer at first."""

    async def tried() -> object:
        try:
            return await ask()
        except LeaseUnavailable:
            return None

    return await eventually(tried, lambda answer: answer is not None, within_s=PATIENCE_S)


async def seen(member: Members, *names: str) -> Alive:
    """Its view, once these and no others are in it."""

    async def look() -> Alive:
        await member.stay()
        return await member.alive()

    return await eventually(look, lambda alive: set(alive) == set(names), within_s=PATIENCE_S)


async def test_all_see_the_same_members_and_what_they_run(site: Site) -> None:
    first, second = await site.member("a", "dc1", "dc2"), await site.member("b.1-x_y", "dc2")
    await joined(first, second)
    for member in (first, second):
        assert await seen(member, "a", "b.1-x_y") == {"a": ("dc1", "dc2"), "b.1-x_y": ("dc2",)}


async def test_who_leaves_is_gone_at_once(site: Site) -> None:
    first, second = await site.member("a", "dc1"), await site.member("b", "dc1")
    await joined(first, second)
    await seen(first, "a", "b")
    await second.leave()
    assert set(await first.alive()) == {"a"}
    again = await site.member("b", "dc1")  # and the name is free
    await joined(again)
    assert set(await first.alive()) == {"a", "b"}


async def test_who_dies_is_gone_in_bounded_time_and_not_before(site: Site) -> None:
    first, second, clock = await site.member("a", "dc1"), await site.member("b", "dc1"), SystemClock()
    await joined(first, second)
    await seen(first, "a", "b")
    heard = clock.monotonic()
    await surely(second.stay)
    site.cut_off(second)
    await seen(first, "a")
    lasted = clock.monotonic() - heard
    # Consul ends a session at up to twice its time; the rest is for a busy machine.
    assert second.valid_s * 0.9 <= lasted <= 2 * TTL_S + 15.0
    with pytest.raises((LeaseUnavailable, TimeoutError)):
        async with asyncio.timeout(3.0):
            await second.stay()
    site.reconnect(second)
    await surely(second.stay)
    await seen(first, "a", "b")


async def test_a_name_has_one_owner_at_a_time(site: Site) -> None:
    first, double = await site.member("a", "dc1"), await site.member("a", "dc2")
    await joined(first)
    assert await surely(double.stay) is False
    assert await first.alive() == {"a": ("dc1",)}
    await double.leave()  # what is not ours stays
    assert set(await first.alive()) == {"a"}
    await first.leave()
    await joined(double)
    assert await double.alive() == {"a": ("dc2",)}


async def test_who_only_looks_is_no_member_and_changes_nothing(site: Site) -> None:
    first, onlooker = await site.member("a", "dc1"), await site.member("b")
    assert await onlooker.alive() == {}
    await joined(first)
    assert set(await onlooker.alive()) == {"a"}
    await onlooker.close()
    assert set(await first.alive()) == {"a"}
