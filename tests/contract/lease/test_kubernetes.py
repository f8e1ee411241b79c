"""A Lease that is not there may have been deleted just now, under a holder who does not know yet."""

from __future__ import annotations

import pytest
from consulguard.clock import SystemClock

from tests.contract.lease.conftest import TTL_S, Site
from tests.contract.lease.test_lease import Skewed, gained

pytestmark = [pytest.mark.real, pytest.mark.parametrize("site", ["kubernetes"], indirect=True)]


async def test_who_has_never_seen_it_waits_as_long_as_it_lasts(site: Site) -> None:
    holder = await site.candidate("a")
    first = await gained(holder)
    async with holder.kept():
        site.cut_off(holder)
        await site.take_away()
        newcomer = await site.candidate("b")
        assert await gained(newcomer) > first
        assert not holder.holds()


async def test_that_it_was_missing_before_ones_own_time_does_not_count(site: Site) -> None:
    """Who once made it finds it gone again, this time under another."""
    first, second = await site.candidate("a"), await site.candidate("b")
    await gained(first)
    await first.release()
    await gained(second)
    async with second.kept():
        site.cut_off(second)
        await site.take_away()
        assert await first.lock.take() is None


async def test_that_it_was_missing_long_ago_does_not_count(site: Site) -> None:
    """Who does not look for a while cannot know who has come and gone."""
    clock = Skewed()
    candidate = await site.candidate("a", clock=clock)
    assert await candidate.lock.take() is None
    clock.skipped_s += TTL_S
    assert await candidate.lock.take() is None


async def test_where_nobody_has_ever_led_it_is_had_after_one_duration(site: Site) -> None:
    """As on a fresh installation: all wait together, and one has it."""
    first, second, clock = await site.candidate("a"), await site.candidate("b"), SystemClock()
    began = clock.monotonic()
    assert await first.lock.take() is None
    assert await second.lock.take() is None
    await gained(first)
    assert clock.monotonic() - began >= TTL_S
    async with first.kept():
        assert await second.lock.take() is None
