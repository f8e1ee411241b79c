"""The lease in Kubernetes: a Lease object, changed only against the version that was read.

The epoch is the object's resourceVersion as the taking write got it. ``leaseTransitions`` begins at nought again
when somebody deletes the object; resourceVersion is the revision of the cluster's store, which goes on. Renewals
raise the version, but a holder keeps the one it came in with, and whoever comes next gets a higher one.

Nothing expires by itself: a candidate has to see the object unchanged for ``valid_s`` on its own clock before it
takes it over. The holder counts from the send of its write, which is earlier than anybody can have seen it.
Releasing leaves the object, so where there is none it may have been deleted a moment ago, under a holder who goes
on until the next renewal: everybody waits as long before making it, the first time as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from datetime import datetime
from pathlib import Path
from typing import Any

from consulguard.clock import Clock
from consulguard.coordinate.kube import CONFLICT, REQUEST_S, LeaseApi
from consulguard.coordinate.lease import LeaseSettings, Lock, SharedLease
from consulguard.errors import ConfigError, LeaseLost, LeaseUnavailable

TTL_S = 15.0
AGAIN_S = 0.5
NOTE = "consulguard.io/mark"
GONE = "gone"  # in place of the version of an object that is not there
NOTHING = ("", 0.0)
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubernetesLock(Lock):
    """``key`` is ``namespace/name``. Needs get, create and update on leases.coordination.k8s.io."""

    def __init__(self, kubeconfig: str, *, key: str, name: str, clock: Clock, ttl_s: float = 0.0) -> None:
        self.valid_s = ttl_s or TTL_S
        self.renew_s = self.valid_s / 5
        self._kube = LeaseApi(kubeconfig)
        self._namespace, _, self._object = key.partition("/")
        self._identity = f"{name}_{secrets.token_hex(4)}"
        self._clock = clock
        self._lease: Any = None  # as it was last read or written; ours while we hold it
        self._taking = False  # whether the object may say that it is ours
        self._seen = NOTHING  # another's version, or that there is none, and when we first saw it
        self._missed_at = 0.0  # when we last saw that there is none

    async def take(self) -> int | None:
        lease = await self._read()
        if lease is None:
            return await self._take(self._fresh(), create=True) if self._missing() else None
        holder = lease.spec.holder_identity if lease.spec else None
        if holder and holder != self._identity and not self._over(lease):
            return None
        return await self._take(self._taken(lease))

    async def _take(self, lease: Any, *, create: bool = False) -> int | None:
        self._taking = True
        epoch = _epoch(await self._write(lease, create=create))
        if epoch is not None:
            self._seen = NOTHING  # before our own time: it says nothing of what comes after
        return epoch

    async def renew(self) -> None:
        lease = self._lease
        if lease is None or lease.spec.holder_identity != self._identity:
            lease = await self._read()  # the answer to a write was lost: what stands there now?
        if lease is None:
            raise LeaseLost("the Lease object is gone")
        if lease.spec.holder_identity != self._identity:
            raise LeaseLost(f"the Lease is held by {lease.spec.holder_identity or 'nobody'}")
        self._lease = None  # until the answer is there, nobody knows its version
        lease.spec.renew_time = self._clock.now()
        if await self._write(lease) is None:
            raise LeaseUnavailable("somebody else has written the Lease: it is read again")

    async def release(self) -> None:
        """A renewal that was broken off may have been written, or be so yet: then it is read again."""
        if not self._taking:
            return
        lease, self._lease = self._lease, None  # until the answer is there, nobody knows its version
        lease = lease or await self._read()
        while lease is not None and lease.spec.holder_identity == self._identity:
            lease.spec.holder_identity = ""
            lease = None if await self._write(lease) is not None else await self._read()
        self._lease, self._taking = None, False

    async def wait(self) -> None:
        await asyncio.sleep(AGAIN_S)

    async def holder(self) -> str:
        """What stands there; a holder that died without a word stands there until another takes it over."""
        lease = await self._read()
        identity = (lease.spec.holder_identity or "") if lease is not None and lease.spec else ""
        return identity.rpartition("_")[0] or identity

    async def read_note(self) -> bytes | None:
        lease = await self._read()
        found = (lease.metadata.annotations or {}).get(NOTE) if lease is not None else None
        return found.encode() if found is not None else None

    async def write_note(self, note: bytes) -> None:
        """Goes out with the next renewal: the object has one writer, and one version to be held against."""
        lease = self._lease
        if lease is None:
            raise LeaseUnavailable("a renewal is under way")
        lease.metadata.annotations = {**(lease.metadata.annotations or {}), NOTE: note.decode()}

    async def close(self) -> None:
        with contextlib.suppress(LeaseUnavailable, TimeoutError):
            async with asyncio.timeout(2.0):
                await self.release()
        await self._kube.close()

    # ---- the object

    def _over(self, lease: Any) -> bool:
        """Whether its holder has not been heard of for as long as it may be away. By our own clock alone."""
        allowed = max(self.valid_s, float(lease.spec.lease_duration_seconds or 0))
        return self._unchanged(str(lease.metadata.resource_version), allowed)

    def _missing(self) -> bool:
        """Whether nobody can believe in it any more. Between two looks too far apart it may have come and gone."""
        now = self._clock.monotonic()
        if now - self._missed_at >= self.valid_s:
            self._seen = NOTHING
        self._missed_at = now
        return self._unchanged(GONE, self.valid_s)

    def _unchanged(self, version: str, for_s: float) -> bool:
        now = self._clock.monotonic()
        if version != self._seen[0]:
            self._seen = (version, now)
        return now - self._seen[1] >= for_s

    def _fresh(self) -> Any:
        meta = self._kube.lib.V1ObjectMeta(name=self._object, namespace=self._namespace)
        return self._kube.lib.V1Lease(metadata=meta, spec=self._spec(self._clock.now(), 0))

    def _taken(self, lease: Any) -> Any:
        before = lease.spec.lease_transitions or 0 if lease.spec else 0
        lease.spec = self._spec(self._clock.now(), before + 1)
        return lease

    def _spec(self, now: datetime, transitions: int) -> Any:
        return self._kube.lib.V1LeaseSpec(
            holder_identity=self._identity,
            lease_duration_seconds=round(self.valid_s),
            acquire_time=now,
            renew_time=now,
            lease_transitions=transitions,
        )

    async def _read(self) -> Any:
        """The object, or None where there is none."""
        api = await self._kube.connected()
        return await self._kube.ask(
            api.read_namespaced_lease(self._object, self._namespace, _request_timeout=REQUEST_S)
        )

    async def _write(self, lease: Any, *, create: bool = False) -> Any:
        """The object as it stands then, or None: somebody else was quicker."""
        api = await self._kube.connected()
        if create:
            call = api.create_namespaced_lease(self._namespace, lease, _request_timeout=REQUEST_S)
        else:
            call = api.replace_namespaced_lease(self._object, self._namespace, lease, _request_timeout=REQUEST_S)
        self._lease = await self._kube.ask(call, quiet=CONFLICT)
        return self._lease


def _epoch(lease: Any) -> int | None:
    if lease is None:
        return None
    version = str(lease.metadata.resource_version)
    if not (version.isascii() and version.isdigit()):
        raise ConfigError(f"this cluster's resourceVersion is no number ({version!r}): use another backend")
    return int(version)


def lease(clock: Clock, settings: LeaseSettings, *_: object) -> SharedLease:
    """What ``coordinate.backend: kubernetes`` means. Raises ConfigError."""
    key = "/".join(place_of(settings))
    lock = KubernetesLock(settings.kubeconfig, key=key, name=settings.name, clock=clock, ttl_s=settings.ttl_s)
    return SharedLease(lock, clock, offset=settings.epoch_offset)


def place_of(settings: LeaseSettings) -> tuple[str, str]:
    """Namespace and name of the Lease object. Raises ConfigError."""
    namespace = settings.namespace or own_namespace()
    if not namespace:
        raise ConfigError("outside of a pod, set coordinate.kubernetes.namespace", where="coordinate")
    return namespace, settings.key.strip("/").replace("/", "-").replace("_", "-")


def own_namespace() -> str:
    """Of the pod we run in; empty outside of Kubernetes."""
    try:
        return (ACCOUNT / "namespace").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
