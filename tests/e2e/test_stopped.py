"""A leader that stands still with a step prepared: some runs of ``python -m bench stopped``, short lease."""

from __future__ import annotations

import pytest

from tests.e2e.support.stopping import stopping
from tests.support.consul import need_consul
from tests.support.postgresql import RealPostgres

pytestmark = [pytest.mark.real, pytest.mark.slow]

TTL = "4s"
# By our own clock it is over 3 s after a renewal was sent; 9 s later, at the latest, another may have it.
RAN_OUT_S, TAKEN_S = 5.0, 16.0


async def test_a_stopped_leader_does_nothing_late_and_nothing_is_left_undone(
    postgres: RealPostgres, unique: str
) -> None:
    need_consul()
    async with stopping(postgres, unique, dead_man=False, ttl=TTL) as stage:
        for seconds in (RAN_OUT_S, TAKEN_S):
            seen = await stage.run(seconds)
            assert (seen.effects, seen.stale, seen.again) == (1, 0, 0), seen
            assert seen.new_leader
        seen = await stage.run(TAKEN_S, wire=True)
        assert (seen.effects, seen.stale_effects, seen.repeated) == (1, 0, 0), seen
        assert seen.stale == 1, "what was on the wire came late, and only the fence could refuse it"


async def test_the_dead_man_switch_ends_a_stopped_leader(postgres: RealPostgres, unique: str) -> None:
    need_consul()
    async with stopping(postgres, unique, dead_man=True, ttl=TTL) as stage:
        seen = await stage.run(TAKEN_S)
        assert (seen.effects, seen.stale, seen.again, seen.died) == (1, 0, 0, True), seen
