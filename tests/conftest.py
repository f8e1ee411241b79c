"""What every test gets: the shared fixtures, hypothesis settings, and no task left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.support.consul",
    "tests.support.datacenters",
    "tests.support.kube",
    "tests.support.mesh",
    "tests.support.postgresql",
    "tests.support.prometheus",
    "tests.support.slack",
    "tests.support.zookeeper",
]

settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


TIMED = ("shell", "contract", "e2e", "chaos")  # share the machine's time with servers and processes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for other processes is tried once more when it fails, and the summary names it (RERUN).

    A machine that stands still for half a minute is no fault of ours; a test that often needs this is one.
    """
    for item in items:
        if item.path.relative_to(HERE).parts[0] in TIMED:
            item.add_marker(pytest.mark.flaky(reruns=1))


HERE = Path(__file__).parent
REQUIRE_REAL = os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1"
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def unskipped(report: Report, name: str) -> Report:
    """Where everything real is required, a skip would only hide that something is missing: it fails."""
    if REQUIRE_REAL and report.skipped and not hasattr(report, "wasxfail"):
        told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{name} was skipped, and CONSULGUARD_REQUIRE_REAL=1 allows no skip. {told}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return unskipped((yield), item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return unskipped((yield), collector.nodeid)


@pytest.fixture(autouse=True)
async def no_task_left() -> AsyncIterator[None]:
    """A task that outlives its test would fail another one, or hide an error: name it here."""
    before = asyncio.all_tasks()
    yield
    for _ in range(5):  # tasks that were cancelled just now may finish their last step
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"tasks left behind: {sorted(t.get_name() for t in left)}"
