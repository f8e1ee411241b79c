"""The lease in Consul: a session with a TTL and a lock on one key.

The epoch is the key's ModifyIndex, Consul's own raft index, which only rises; its LockIndex falls when somebody
writes or deletes the key. The session has no node checks: a blip of gossip must not cost the lease, our own clock
gives it up first. Consul ends a session up to twice its TTL after the last renewal, and keeps the lock from others
for another LockDelay, which is as long as the TTL: together 42 s by default, and at most 45 s until another leads.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from consulguard.clock import Clock
from consulguard.consulapi import ConsulClient, segment
from consulguard.coordinate.lease import LeaseSettings, Lock, SharedLease
from consulguard.errors import BadAnswer, ConsulRefused, ConsulUnavailable, LeaseLost, LeaseUnavailable

TTL_S = 14.0
WATCH_S = 10.0  # one blocking read of the key while another holds it
AGAIN_S = 1.0  # the end of a lock delay wakes nobody
UNSURE = (ConsulUnavailable, ConsulRefused, BadAnswer)


class _Key(msgspec.Struct, rename="pascal"):
    modify_index: int
    session: str = ""
    value: str | None = None


class ConsulLock(Lock):
    """``client`` is this lock's own and is closed with it."""

    def __init__(self, client: ConsulClient, *, key: str, name: str, ttl_s: float = 0.0) -> None:
        self.valid_s = ttl_s or TTL_S
        self.renew_s = self.valid_s / 3
        self._client = client
        self._key = key.strip("/")
        self._path = kv_path(key)
        self._note = kv_path(f"{key}.mark")
        self._name = name
        self._session = ""
        self._index: int | None = None  # of the last look at a key another holds

    async def take(self) -> int | None:
        try:
            held = await self._look()
            if held is not None and held.session and held.session != self._session:
                return None
            self._index = None
            self._session = await session_alive(
                self._client,
                self._session,
                name=f"consulguard {self._name}",
                ttl_s=self.valid_s,
                lock_delay_s=self.valid_s,
                behavior="release",
            )
            answer = await self._client.send(
                "PUT", self._path, params={"acquire": self._session}, data=self._name.encode()
            )
            if answer.body.strip() != b"true":
                return None  # a lock delay, or somebody was quicker
            mine = await self._look()
        except UNSURE as error:
            self._session = "" if "invalid session" in str(error) else self._session
            raise LeaseUnavailable(f"Consul cannot give the lease now: {error}") from error
        return mine.modify_index if mine is not None and mine.session == self._session else None

    async def renew(self) -> None:
        try:
            await self._client.send("PUT", f"/v1/session/renew/{segment(self._session)}")
            mine = await self._look()
        except ConsulRefused as error:
            if error.status == 404:
                raise LeaseLost("our session in Consul is gone") from error
            raise LeaseUnavailable(f"Consul does not renew the lease: {error}") from error
        except (ConsulUnavailable, BadAnswer) as error:
            raise LeaseUnavailable(f"Consul does not renew the lease: {error}") from error
        if mine is None or mine.session != self._session:
            raise LeaseLost("the lock's key in Consul is not held by our session any more")

    async def release(self) -> None:
        """The lock first: what is released has no lock delay."""
        session, self._session = self._session, ""
        if not session:
            return
        try:
            await self._client.send("PUT", self._path, params={"release": session}, data=b"")
            await self._client.send("PUT", f"/v1/session/destroy/{segment(session)}")
        except UNSURE as error:
            raise LeaseUnavailable(f"Consul does not take the lease back: {error}") from error

    async def wait(self) -> None:
        if self._index is not None:
            with contextlib.suppress(*UNSURE):
                await self._client.get(self._path, index=self._index, wait_s=WATCH_S, missing_ok=True)
                return
        await asyncio.sleep(AGAIN_S)

    async def holder(self) -> str:
        found = await self._read(self._path)
        return base64.b64decode(found.value or "").decode() if found is not None and found.session else ""

    async def read_note(self) -> bytes | None:
        found = await self._read(self._note)
        return base64.b64decode(found.value or "") if found is not None else None

    async def write_note(self, note: bytes) -> None:
        """Written together with a look at the lock: who has lost it writes nothing."""
        if not self._session:
            raise LeaseLost("only the holder writes the note")
        key, mark = self._key, f"{self._key}.mark"
        operations: list[dict[str, Any]] = [
            {"KV": {"Verb": "check-session", "Key": key, "Session": self._session}},
            {"KV": {"Verb": "set", "Key": mark, "Value": base64.b64encode(note).decode()}},
        ]
        try:
            await self._client.send("PUT", "/v1/txn", json=operations)
        except UNSURE as error:
            raise LeaseUnavailable(f"the note beside the lease was not written: {error}") from error

    async def close(self) -> None:
        with contextlib.suppress(LeaseUnavailable, TimeoutError):
            async with asyncio.timeout(2.0):
                await self.release()
        await self._client.close()

    async def _read(self, path: str) -> _Key | None:
        try:
            answer = await self._client.get(path, consistency="consistent", missing_ok=True)
            return answer.json(list[_Key])[0] if answer.status == 200 else None
        except UNSURE as error:
            raise LeaseUnavailable(f"what stands beside the lease cannot be read: {error}") from error

    async def _look(self) -> _Key | None:
        answer = await self._client.get(self._path, consistency="consistent", missing_ok=True)
        if answer.status != 200:
            self._index = None
            return None
        found: _Key = answer.json(list[_Key])[0]
        self._index = answer.index if found.session and found.session != self._session else None
        return found


async def session_alive(
    client: ConsulClient, ours: str, *, name: str, ttl_s: float, lock_delay_s: float, behavior: str
) -> str:
    """Ours renewed, or a fresh one where it is gone: its time to live counts from after the send of this try."""
    if ours:
        try:
            await client.send("PUT", f"/v1/session/renew/{segment(ours)}")
            return ours
        except ConsulRefused as error:
            if error.status != 404:
                raise
    wanted = {
        "Name": name,
        "TTL": f"{ttl_s:g}s",
        "LockDelay": f"{lock_delay_s:g}s",
        "Behavior": behavior,
        "NodeChecks": [],
    }
    answer = await client.send("PUT", "/v1/session/create", json=wanted)
    return answer.json(dict[str, str])["ID"]


def lease(clock: Clock, settings: LeaseSettings, client: Callable[[], ConsulClient]) -> SharedLease:
    """What ``coordinate.backend: consul`` means."""
    lock = ConsulLock(client(), key=settings.key, name=settings.name, ttl_s=settings.ttl_s)
    return SharedLease(lock, clock, offset=settings.epoch_offset)


def kv_path(key: str) -> str:
    """Of a key, or of the folder of that name."""
    return "/v1/kv/" + "/".join(segment(part) for part in key.strip("/").split("/"))
