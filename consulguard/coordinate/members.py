"""Which replicas are there: what a backend promises of it, and the part that is the same for all.

A member that dies is gone for the others after the backend's time; one that leaves is gone at once. Nothing here
makes anybody act: that is the lease.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import msgspec

from consulguard.errors import LeaseUnavailable

Alive = Mapping[str, tuple[str, ...]]  # member -> names of the units it runs


class Members(ABC):
    """One backend. Every method may raise ``LeaseUnavailable``: nobody knows, ask again.

    ``valid_s``: how long the others may take us for alive after we were last heard of, and we ourselves after the
    send of an answered ``stay``. ``renew_s``: between two of them.
    """

    valid_s: float
    renew_s: float

    @abstractmethod
    async def stay(self) -> bool:
        """Join, or say that we are still there. False: another member has our name."""

    @abstractmethod
    async def alive(self) -> Alive:
        """Everybody who is there, ourselves among them."""

    @abstractmethod
    async def leave(self) -> None:
        """The others know at once. Nothing where we have not joined."""

    @abstractmethod
    async def close(self) -> None:
        """Never raises; leaves if that goes quickly."""


async def leave_soon(members: Members) -> None:
    """For ``close``: whoever cannot be told will notice."""
    try:
        async with asyncio.timeout(2.0):
            await members.leave()
    except (LeaseUnavailable, TimeoutError):
        pass


def written(units: Iterable[str]) -> bytes:
    """What a member keeps beside its name."""
    return msgspec.json.encode(sorted(units))


def read(kept: bytes | str) -> tuple[str, ...]:
    """What another has kept; no unit where it is not ours to read."""
    try:
        return tuple(msgspec.json.decode(kept, type=list[str]))
    except msgspec.DecodeError:
        return ()
