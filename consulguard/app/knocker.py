"""Who knocks at doors: looks up where a service is, asks there what is allowed, and tells what came back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from consulguard.act import knock
from consulguard.clock import Clock
from consulguard.consulapi import ConsulClient
from consulguard.errors import BadAnswer, ConsulRefused, ConsulUnavailable
from consulguard.events import Knock, Knocked
from consulguard.model import DoorAnswer, Reaction, Target
from consulguard.watch import Place, where

INSTANCES = 3  # of a service that are asked
JITTER_S = 0.5  # so that replicas and services do not knock in step
_WORST = (Reaction.WELL, Reaction.SLOW, Reaction.BADLY, Reaction.REFUSED, Reaction.TIMEOUT)
log = structlog.get_logger("consulguard.app")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnockSettings:
    doors: Mapping[str, knock.Door]  # by the service's name: who is not here is not probed
    limits: knock.Limits
    most: int  # connections in a minute


class Bucket:
    """So many in a minute, and no more at once than a quarter of them."""

    def __init__(self, most: int, clock: Clock) -> None:
        self._rate, self._full = most / 60.0, max(most / 4, 1.0)
        self._left, self._clock, self._at = self._full, clock, clock.monotonic()

    def take(self) -> bool:
        now = self._clock.monotonic()
        self._left = min(self._full, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Knocker:
    """The last gate: whatever it is asked, only listed services are probed, at allowed addresses, at its pace."""

    def __init__(
        self,
        client: ConsulClient,
        settings: KnockSettings,
        clock: Clock,
        emit: Callable[[Knocked], Awaitable[None]],
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._emit = emit
        self._bucket = Bucket(settings.most, clock)

    async def ask(self, effect: Knock) -> None:
        """Ask, and tell."""
        await asyncio.sleep(random.uniform(0, JITTER_S))
        answer = await self._answer(effect.service)
        if answer.how is Reaction.UNSURE:
            log.info("door_not_known", service=effect.service.service, reason=answer.reason)
        await self._emit(Knocked(at=self._clock.now(), answers=(answer,)))

    async def _answer(self, service: Target) -> DoorAnswer:
        door = self._settings.doors.get(service.service)
        if door is None:
            return _unsure(service, "not in correlate.probe.services")
        try:
            places = await where(self._client, service)
        except (ConsulUnavailable, ConsulRefused, BadAnswer) as error:
            return _unsure(service, f"Consul does not say where it is: {error}")
        if not places:
            return _unsure(service, "it is not registered")
        found = [await self._ask(service, door, p.address, door.port or p.port) for p in _spread(places)]
        told = sorted((a for a in found if a.how is not Reaction.UNSURE), key=lambda a: _WORST.index(a.how))
        return told[len(told) // 2] if told else found[0]

    async def _ask(self, service: Target, door: knock.Door, address: str, port: int) -> DoorAnswer:
        at = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        if not 0 < port < 65_536:
            return _unsure(service, f"{address or 'it'} has no port in Consul")
        if reason := knock.why_not(address, self._settings.limits.networks):
            return _unsure(service, f"{at[:100]}: {reason}")
        if not self._bucket.take():
            return _unsure(service, "too many probes in a minute")
        met = await knock.knock(door, address, port, self._settings.limits, self._clock)
        return DoorAnswer(
            service=service,
            how=met.how,
            kind=door.kind,
            address=at,
            took_s=round(met.took_s, 3),
            reason=met.reason,
        )


def _spread(places: list[Place]) -> list[Place]:
    """A few of many, evenly."""
    step = max(len(places) / INSTANCES, 1.0)
    return [places[int(n * step)] for n in range(min(INSTANCES, len(places)))]


def _unsure(service: Target, reason: str) -> DoorAnswer:
    return DoorAnswer(service=service, how=Reaction.UNSURE, reason=reason[:300])
