"""The confirm-read: one target, as the leader knows it now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from consulguard.clock import Clock
from consulguard.consulapi import Answer, ConsulClient, segment
from consulguard.errors import BadAnswer, ConsulRefused, ConsulUnavailable
from consulguard.events import Look, Looked
from consulguard.model import Status, Target
from consulguard.watch.decode import Check, Entry, instance_status, worst

CAP = 64 * 1024 * 1024


async def look(client: ConsulClient, clock: Clock, what: Look) -> Looked:
    """Read ``what.target`` and the dependents with ``?consistent``. What Consul does wrong is in ``error``.

    An instance's status counts its own checks, its node's and its sidecar's; a service's is its worst instance's.
    """
    try:
        found, *dependents = await asyncio.gather(
            _target(client, what.target), *(_service(client, target) for target in what.dependents)
        )
    except (ConsulUnavailable, ConsulRefused, BadAnswer) as error:
        return Looked(at=clock.now(), key=what.key, target=what.target, error=str(error))
    status, healthy, registered, index = found
    names = [target.name for target in what.dependents]
    return Looked(
        at=clock.now(),
        key=what.key,
        target=what.target,
        status=status,
        healthy=healthy,
        registered=registered,
        index=index,
        dependents=dict(zip(names, (d[0] for d in dependents), strict=True)),
    )


Found = tuple[Status, int, int, int]  # status, healthy, registered, index


async def _target(client: ConsulClient, target: Target) -> Found:
    if target.service:
        return await _service(client, target)
    answer = await _read(client, f"/v1/health/node/{segment(target.node)}", target)
    checks = answer.json(list[Check])
    status = instance_status(c for c in checks if not c.ServiceID) if checks else Status.ABSENT
    return status, 0, 0, answer.index or 0


async def _service(client: ConsulClient, target: Target) -> Found:
    """The service's instances with their sidecars; ``target`` may mean one of them."""
    name = segment(target.service)
    answer, proxies = await asyncio.gather(
        _read(client, f"/v1/health/service/{name}", target), _read(client, f"/v1/health/connect/{name}", target)
    )
    entries = answer.json(list[Entry])
    sidecars = _sidecar_checks(proxies.json(list[Entry]))
    index = max(answer.index or 0, proxies.index or 0)
    statuses = {
        (en.Node.Node, en.Service.ID): instance_status(
            [*(en.Checks or ()), *sidecars.get((en.Node.Node, en.Service.ID), ())]
        )
        for en in entries
    }
    healthy = sum(status is Status.PASSING for status in statuses.values())
    if target.instance:
        status = statuses.get((target.node, target.instance), Status.ABSENT)
    else:
        status = worst(statuses.values()) if statuses else Status.ABSENT
    return status, healthy, len(statuses), index


def _sidecar_checks(entries: Iterable[Entry]) -> dict[tuple[str, str], list[Check]]:
    """Checks of each instance's sidecar, by the instance's node and id."""
    found: dict[tuple[str, str], list[Check]] = {}
    for entry in entries:
        instance = (entry.Service.Proxy.DestinationServiceID if entry.Service.Proxy else "") or ""
        if instance:
            checks = [c for c in entry.Checks or () if c.ServiceID]
            found.setdefault((entry.Node.Node, instance), []).extend(checks)
    return found


async def _read(client: ConsulClient, path: str, target: Target) -> Answer:
    params = {"peer": target.peer} if target.peer else {}
    answer = await client.get(path, params=params, consistency="consistent", max_bytes=CAP)
    if answer.known_leader is False:
        raise ConsulUnavailable("the server knows no leader")
    if answer.filtered_by_acls:
        raise ConsulRefused("Consul left results out for lack of ACL rights", status=403)
    return answer
