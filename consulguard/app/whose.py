"""Which unit is whose: the ring as it stands, who holds each lease, and the epoch it is led in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from consulguard.app import shards, turns
from consulguard.clock import Clock
from consulguard.config import Loaded, settings, units
from consulguard.config import coordinate as given
from consulguard.config.files import exists
from consulguard.coordinate import POINTS, Alive, owner, shares
from consulguard.errors import StoreCorrupt, StoreUnavailable
from consulguard.model import Value


class UnitShown(Value, frozen=True, kw_only=True):
    datacenter: str  # empty: the agent's own
    partition: str
    owner: str | None  # by the ring; None: nobody is there, or there is no ring
    holder: str  # of the lease; empty: nobody
    epoch: int | None  # the newest in the journal; None: it cannot be read, or is empty


class MemberShown(Value, frozen=True, kw_only=True):
    name: str
    units: tuple[str, ...]  # that it runs
    owns: tuple[str, ...]  # by the ring
    points: int  # on the ring
    share: float  # of the ring, 0..1


class Shards(Value, frozen=True, kw_only=True):
    units: tuple[UnitShown, ...]
    members: tuple[MemberShown, ...]


async def look(loaded: Loaded, clock: Clock) -> Shards:
    """As it is now; only reads. Raises ConfigError, LeaseUnavailable."""
    views = units.views(loaded)
    alive = await _alive(loaded, clock)
    ring = {view.unit.name: owner(view.unit.name, alive) for view in views if view.unit is not None}
    shown = await asyncio.gather(*(_shown(view, clock, ring) for view in views))
    return Shards(units=tuple(shown), members=_members(alive, views, ring))


def _members(alive: Alive, views: Sequence[Loaded], ring: dict[str, str | None]) -> tuple[MemberShown, ...]:
    told = {view.unit.name: view.unit.told for view in views if view.unit is not None}
    share = shares(alive)
    return tuple(
        MemberShown(
            name=name,
            units=tuple(told.get(unit, unit) for unit in alive[name]),
            owns=tuple(told[unit] for unit, whose in ring.items() if whose == name),
            points=POINTS,
            share=round(share[name], 4),
        )
        for name in sorted(alive)
    )


async def _alive(loaded: Loaded, clock: Clock) -> Alive:
    if not loaded.config.coordinate.units or loaded.config.coordinate.backend == "single":
        return {}
    members = shards.members_of(loaded, clock, given.lease(loaded, shards.member_name(loaded)))
    try:
        return await members.alive()
    finally:
        await members.close()


async def _shown(view: Loaded, clock: Clock, ring: dict[str, str | None]) -> UnitShown:
    unit, consul = view.unit, view.config.consul
    return UnitShown(
        datacenter=consul.datacenter,
        partition=consul.partition,
        owner=ring.get(unit.name) if unit is not None else None,
        holder=await _holder(view, clock),
        epoch=await _epoch(view),
    )


async def _holder(view: Loaded, clock: Clock) -> str:
    if view.config.coordinate.backend == "single":
        return ""
    lease = turns.lease(view, clock, given.lease(view))
    try:
        return await lease.lock.holder()
    finally:
        await lease.lock.close()


async def _epoch(view: Loaded) -> int | None:
    """Of the journal's last entry: the one thing all backends have in common."""
    if view.config.journal.store == "sqlite" and not exists(settings.journal_path(view)):
        return None
    store = turns.store(view, readonly=True)
    try:
        await store.open()
        last, _ = await store.last()
        epochs = [entry.epoch async for entry in store.entries(after=max(0, last - 1))]
    except (StoreUnavailable, StoreCorrupt):
        return None
    finally:
        await store.close()
    return epochs[-1] if epochs else None
