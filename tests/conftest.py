"""What every test gets: the shared fixtures, hypothesis settings, and no task left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.consul", "tests.support.mesh"]

settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(autouse=True)
async def no_task_left() -> AsyncIterator[None]:
    """A task that outlives its test would fail another one, or hide an error: name it here."""
    before = asyncio.all_tasks()
    yield
    for _ in range(5):  # tasks that were cancelled just now may finish their last step
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"tasks left behind: {sorted(t.get_name() for t in left)}"
