"""What every lease promises, on the real server of each backend."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from consulguard.clock import SystemClock
from consulguard.coordinate import SharedLease
from consulguard.errors import ConfigError, LeaseLost, LeaseUnavailable

from tests.contract.lease.conftest import TTL_S, Site

pytestmark = pytest.mark.real
PATIENCE_S = 60.0


class Skewed(SystemClock):
    """A clock of which a test can take away a while, as a pause of the process does."""

    skipped_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped_s


async def gained(lease: SharedLease) -> int:
    async with asyncio.timeout(PATIENCE_S):
        return await lease.gain()


async def lost(lease: SharedLease) -> str:
    async with asyncio.timeout(PATIENCE_S):
        await lease.lost.wait()
    return lease.reason


async def test_one_holds_it_and_hands_it_over(site: Site) -> None:
    first, second = await site.candidate("a"), await site.candidate("b")
    epochs = []
    for holder, other in ((first, second), (second, first), (first, second)):
        epochs.append(await gained(holder))
        async with holder.kept():
            assert holder.holds()
            assert await other.lock.take() is None
            assert not other.holds()
            waiting = asyncio.create_task(gained(other), name="candidate")
            await asyncio.sleep(0)
        assert not holder.holds()  # released: the other need not wait for any time to run out
        epochs.append(await waiting)
        await other.release()
    assert epochs == sorted(set(epochs))


async def test_it_is_renewed_for_longer_than_it_lasts(site: Site) -> None:
    holder, other, clock = await site.candidate("a"), await site.candidate("b"), SystemClock()
    for _ in range(5):  # a machine that stands still for seconds loses it, and rightly
        await gained(holder)
        end = clock.monotonic() + 1.5 * TTL_S
        async with holder.kept():
            while clock.monotonic() < end and holder.holds():
                taken = await other.lock.take()
                assert taken is None or not holder.holds()
                await asyncio.sleep(0.3)
            if holder.holds():
                return
        await other.release()
    pytest.fail(f"never held for that long: {holder.reason}")


async def test_who_is_cut_off_gives_up_before_another_can_have_it(site: Site) -> None:
    lonely, heir = await site.candidate("a"), await site.candidate("b")
    first = await gained(lonely)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(lonely.kept())
        site.cut_off(lonely)
        second = await gained(heir)
        assert not lonely.holds()
        await lost(lonely)
        assert second > first
        site.reconnect(lonely)
        async with heir.kept():
            await asyncio.sleep(1.0)
            assert not lonely.holds()  # what comes back late brings nothing back


async def test_a_candidate_that_was_cut_off_for_long_still_waits_for_it(site: Site) -> None:
    holder, heir = await site.candidate("a"), await site.candidate("b")
    first = await gained(holder)
    async with holder.kept():
        assert await heir.lock.take() is None
        waiting = asyncio.create_task(gained(heir), name="candidate")
        site.cut_off(heir)
        await asyncio.sleep(3 * TTL_S)  # whatever it had at the server has run out
        site.reconnect(heir)
    assert await waiting > first


async def test_a_pause_ends_it_at_once_and_for_good(site: Site) -> None:
    clock = Skewed()
    lease = await site.candidate("a", clock=clock)
    await gained(lease)
    async with lease.kept():
        assert lease.holds()
        clock.skipped_s = 20.0
        assert not lease.holds()  # before anything else has run
        await lost(lease)
    assert not lease.holds()


async def test_an_operator_takes_it_away(site: Site) -> None:
    holder, heir = await site.candidate("a"), await site.candidate("b")
    first = await gained(holder)
    changes = holder.changes(0)
    told = await anext(changes)
    assert (told.held, told.epoch) == (True, first)
    async with holder.kept():
        await site.take_away()
        assert "ran out" not in await lost(holder)
        assert not holder.holds()
        told = await anext(changes)
        assert (told.held, told.epoch) == (False, first)
        assert told.reason
    assert await gained(heir) > first  # though what was counted in was deleted


async def test_nobody_has_it_before_the_holder_knows_that_it_was_taken_away(site: Site) -> None:
    holder, heir = await site.candidate("a"), await site.candidate("b")
    await gained(holder)
    async with holder.kept():
        assert await heir.lock.take() is None
        waiting = asyncio.create_task(gained(heir), name="candidate")
        await site.take_away()
        await waiting
        assert not holder.sends()


async def test_it_is_released_in_the_middle_of_a_renewal(site: Site) -> None:
    """As when we are asked to end: the next one need not wait."""
    holder, heir = await site.candidate("a"), await site.candidate("b")
    await gained(holder)
    renewal = asyncio.create_task(holder.lock.renew(), name="renewal")
    await asyncio.sleep(0)
    renewal.cancel()
    await asyncio.gather(renewal, return_exceptions=True)
    await holder.release()
    assert await heir.lock.take() is not None


async def test_the_epoch_must_rise_above_the_journals(site: Site) -> None:
    lease = await site.candidate("a")
    epoch = await gained(lease)
    with pytest.raises(ConfigError, match=r"epoch_offset to at least 11\b"):
        await anext(lease.changes(epoch + 10))
    lifted = await site.candidate("b", offset=11)
    await lease.release()
    higher = await gained(lifted)
    told = await anext(lifted.changes(epoch + 10))
    assert (told.held, told.epoch) == (True, higher)


async def test_the_note_outlives_its_writer(site: Site) -> None:
    first, second = await site.candidate("a"), await site.candidate("b")
    await gained(first)
    async with first.kept():
        assert not await first.lock.read_note()
        await first.lock.write_note(b'{"seq":7}')
        with pytest.raises((LeaseLost, LeaseUnavailable)):
            await second.lock.write_note(b'{"seq":8}')
    await gained(second)
    assert await second.lock.read_note() == b'{"seq":7}'
