"""Who is there, in Consul: a key for each member, which goes with the member's session.

A key that no session holds is nobody's. The session has no lock delay: a name may be used again at once.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec

from consulguard.clock import Clock
from consulguard.consulapi import ConsulClient, segment
from consulguard.coordinate.consul import TTL_S, UNSURE, kv_path, session_alive
from consulguard.coordinate.lease import LeaseSettings
from consulguard.coordinate.members import Alive, Members, leave_soon, read, written
from consulguard.errors import LeaseUnavailable


class _Kept(msgspec.Struct, rename="pascal"):
    key: str
    session: str = ""
    value: str | None = None


class ConsulMembers(Members):
    """``client`` is its own and is closed with it."""

    def __init__(self, client: ConsulClient, settings: LeaseSettings) -> None:
        self.valid_s = settings.ttl_s or TTL_S
        self.renew_s = self.valid_s / 3
        self._client = client
        self._folder = f"{settings.key.strip('/')}.members/"
        self._path = f"{kv_path(self._folder)}/{segment(settings.name)}"
        self._name = settings.name
        self._units = settings.units
        self._session = ""

    async def stay(self) -> bool:
        try:
            self._session = await session_alive(
                self._client,
                self._session,
                name=f"consulguard member {self._name}",
                ttl_s=self.valid_s,
                lock_delay_s=0.0,
                behavior="delete",
            )
            answer = await self._client.send(
                "PUT", self._path, params={"acquire": self._session}, data=written(self._units)
            )
        except UNSURE as error:
            raise LeaseUnavailable(f"Consul does not keep us as a member: {error}") from error
        return answer.body.strip() == b"true"

    async def alive(self) -> Alive:
        try:
            answer = await self._client.get(
                kv_path(self._folder) + "/", params={"recurse": ""}, consistency="consistent", missing_ok=True
            )
            found = answer.json(list[_Kept]) if answer.status == 200 else []
        except UNSURE as error:
            raise LeaseUnavailable(f"Consul does not say who is there: {error}") from error
        start = len(self._folder)
        return {one.key[start:]: read(base64.b64decode(one.value or "")) for one in found if one.session}

    async def leave(self) -> None:
        session, self._session = self._session, ""
        if not session:
            return
        try:
            await self._client.send("PUT", f"/v1/session/destroy/{segment(session)}")  # and with it the key
        except UNSURE as error:
            raise LeaseUnavailable(f"Consul still takes us for a member: {error}") from error

    async def close(self) -> None:
        await leave_soon(self)
        await self._client.close()


def members(clock: Clock, settings: LeaseSettings, client: Callable[[], ConsulClient]) -> ConsulMembers:
    """What ``coordinate.backend: consul`` means for members."""
    return ConsulMembers(client(), settings)
