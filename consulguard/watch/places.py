"""Where a service's instances are, as Consul says now."""

from __future__ import annotations

from typing import NamedTuple

from consulguard.consulapi import ConsulClient, segment
from consulguard.model import Target
from consulguard.watch.decode import Entry

CAP = 16 * 1024 * 1024


class Place(NamedTuple):
    node: str
    instance: str
    address: str  # the instance's own, else its node's
    port: int


async def where(client: ConsulClient, service: Target) -> list[Place]:
    """Its instances in Consul's order. Raises ConsulUnavailable, ConsulRefused, BadAnswer."""
    params = {"peer": service.peer} if service.peer else {}
    path = f"/v1/health/service/{segment(service.service)}"
    answer = await client.get(path, params=params, consistency="stale", max_bytes=CAP)
    return [
        Place(e.Node.Node, e.Service.ID, e.Service.Address or e.Node.Address or "", e.Service.Port)
        for e in answer.json(list[Entry])
    ]
