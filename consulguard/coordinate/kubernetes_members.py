"""Who is there, in Kubernetes: a Lease object for each member, found by a label.

Nothing expires by itself: a member whose object has not changed for its time, by our own clock, is not there. What
a dead member leaves behind is deleted by whoever notices, some times later.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Any

from consulguard.clock import Clock
from consulguard.coordinate.kube import CONFLICT, MISSING, REQUEST_S, LeaseApi
from consulguard.coordinate.kubernetes import TTL_S, place_of
from consulguard.coordinate.lease import LeaseSettings
from consulguard.coordinate.members import Alive, Members, leave_soon, read, written
from consulguard.errors import LeaseUnavailable

LABEL = "consulguard.io/members-of"
NAME, UNITS = "consulguard.io/member", "consulguard.io/units"
CLEAR_AFTER = 20.0  # times its own: an object this old is swept away


class KubernetesMembers(Members):
    """Needs list, create, update and delete on leases.coordination.k8s.io in its namespace."""

    def __init__(self, settings: LeaseSettings, clock: Clock) -> None:
        self.valid_s = settings.ttl_s or TTL_S
        self.renew_s = self.valid_s / 5
        self._kube = LeaseApi(settings.kubeconfig)
        self._namespace, self._of = place_of(settings)
        self._of = self._of[-63:].lstrip("-")  # a label's value
        self._name = settings.name
        digest = sha256(settings.name.encode()).hexdigest()
        self._object = f"{self._of[:40].rstrip('-')}.{digest[:12]}"
        self._joins = bool(settings.units)
        self._units = written(settings.units).decode()
        self._identity = secrets.token_hex(8)
        self._clock = clock
        self._mine: Any = None  # as last read or written; None: to be read
        self._seen: dict[str, tuple[str, float]] = {}  # object -> its version, and when we first saw it

    async def stay(self) -> bool:
        api = await self._kube.connected()
        if self._mine is None:
            self._mine = await self._kube.ask(
                api.read_namespaced_lease(self._object, self._namespace, _request_timeout=REQUEST_S)
            )
        mine, self._mine = self._mine, None  # until the answer is there, nobody knows its version
        if mine is None:
            call = api.create_namespaced_lease(self._namespace, self._fresh(), _request_timeout=REQUEST_S)
        else:
            if mine.spec.holder_identity != self._identity and not self._over(mine, 1.0):
                return False
            mine.spec = self._spec()
            mine.metadata.annotations = self._annotations()
            call = api.replace_namespaced_lease(self._object, self._namespace, mine, _request_timeout=REQUEST_S)
        self._mine = await self._kube.ask(call, quiet=CONFLICT)
        if self._mine is None:
            raise LeaseUnavailable("somebody else has written our member's Lease: it is read again")
        return True

    async def alive(self) -> Alive:
        api = await self._kube.connected()
        selector = f"{LABEL}={self._of}"
        found = await self._kube.ask(
            api.list_namespaced_lease(self._namespace, label_selector=selector, _request_timeout=REQUEST_S)
        )
        leases = found.items if found is not None else []
        there = {}
        for lease in leases:
            if not self._over(lease, 1.0):
                notes = lease.metadata.annotations or {}
                there[str(notes.get(NAME, lease.metadata.name))] = read(notes.get(UNITS, ""))
            elif self._joins and self._over(lease, CLEAR_AFTER):
                await self._delete(lease)
        names = {str(lease.metadata.name) for lease in leases}
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}
        return there

    async def leave(self) -> None:
        mine, self._mine = self._mine, None
        if mine is not None and mine.spec.holder_identity == self._identity:
            await self._delete(mine)

    async def close(self) -> None:
        await leave_soon(self)
        await self._kube.close()

    # ---- the objects

    def _over(self, lease: Any, times: float) -> bool:
        """Whether it has not changed for so many of its times, since we first saw it like this."""
        name, version = str(lease.metadata.name), str(lease.metadata.resource_version)
        now = self._clock.monotonic()
        if self._seen.get(name, ("", 0.0))[0] != version:
            self._seen[name] = (version, now - self._age_s(lease))
        lasts = max(self.valid_s, float(lease.spec.lease_duration_seconds or 0))
        return now - self._seen[name][1] >= lasts * times

    def _age_s(self, lease: Any) -> float:
        """Who only looks once has seen nothing change: it believes the time in the object."""
        if self._joins or lease.spec.renew_time is None:
            return 0.0
        age_s: float = (self._clock.now() - lease.spec.renew_time).total_seconds()
        return max(0.0, age_s)

    async def _delete(self, lease: Any) -> None:
        """Only as we have seen it: it may be somebody's again."""
        lib, api = self._kube.lib, await self._kube.connected()
        only = lib.V1Preconditions(resource_version=lease.metadata.resource_version, uid=lease.metadata.uid)
        call = api.delete_namespaced_lease(
            lease.metadata.name,
            self._namespace,
            body=lib.V1DeleteOptions(preconditions=only),
            _request_timeout=REQUEST_S,
        )
        await self._kube.ask(call, quiet=(CONFLICT, MISSING))

    def _fresh(self) -> Any:
        lib = self._kube.lib
        labels = {LABEL: self._of}
        meta = lib.V1ObjectMeta(
            name=self._object, namespace=self._namespace, labels=labels, annotations=self._annotations()
        )
        return lib.V1Lease(metadata=meta, spec=self._spec())

    def _annotations(self) -> dict[str, str]:
        return {NAME: self._name, UNITS: self._units}

    def _spec(self) -> Any:
        return self._kube.lib.V1LeaseSpec(
            holder_identity=self._identity,
            lease_duration_seconds=round(self.valid_s),
            renew_time=self._clock.now(),
        )


def members(clock: Clock, settings: LeaseSettings, *_: object) -> KubernetesMembers:
    """What ``coordinate.backend: kubernetes`` means for members. Raises ConfigError."""
    return KubernetesMembers(settings, clock)
