"""Waiting for something to become true, with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    look: Callable[[], Awaitable[T]], holds: Callable[[T], object], *, within_s: float = 10.0
) -> T:
    """Look again and again until what is seen ``holds``; what was seen then. AssertionError with the last look."""
    end = asyncio.get_running_loop().time() + within_s
    while True:
        seen = await look()
        if holds(seen):
            return seen
        assert asyncio.get_running_loop().time() < end, f"not within {within_s:g} s; last seen: {seen!r}"
        await asyncio.sleep(0.05)
