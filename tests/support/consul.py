"""Fixtures for Consul servers, real ones and the twin."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import pytest
from consulguard.testing import ConsulTwin, RealConsul
from consulguard.testing.real_consul import find_binary

from tests.support.cluster import Cluster


class Server(Protocol):
    """What the twin and a real server have in common for a test."""

    @property
    def address(self) -> str: ...

    @property
    def node(self) -> str: ...


def need_consul() -> None:
    """Skip without a Consul binary, or fail where the run says that it must be there."""
    if find_binary() is None:
        sentence = "no consul binary: set CONSULGUARD_CONSUL, or run scripts/install-consul.sh"
        if os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)


@pytest.fixture
async def real_consul() -> AsyncIterator[RealConsul]:
    """A fresh real server for one test, which may kill it."""
    need_consul()
    async with RealConsul() as consul:
        yield consul


@pytest.fixture(scope="module")
def real_consul_module() -> Iterator[RealConsul]:
    """One real server for a whole module: its tests use names of their own and leave the server running."""
    need_consul()
    consul = RealConsul()
    consul.open()
    yield consul
    consul.close()


@pytest.fixture(scope="module")
def quick_consul() -> Iterator[RealConsul]:
    """As ``real_consul_module``, with sessions as short as tests of leases want them."""
    need_consul()
    consul = RealConsul(config={"session_ttl_min": "1s"})
    consul.open()
    yield consul
    consul.close()


@pytest.fixture(scope="module")
def cluster_module() -> Iterator[Cluster]:
    """One cluster for a whole module; ask for ``cluster``, which repairs it between tests."""
    need_consul()
    cluster = Cluster()
    try:
        cluster.open()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
async def cluster(cluster_module: Cluster) -> AsyncIterator[Cluster]:
    """Three servers and two clients with ACLs; a test may kill and freeze agents, they come back afterwards."""
    yield cluster_module
    await cluster_module.make_healthy()


@pytest.fixture(scope="session")
def _shared_real() -> Iterator[RealConsul]:
    need_consul()
    consul = RealConsul()
    consul.open()
    yield consul
    consul.close()


@pytest.fixture(params=["twin", pytest.param("real", marks=pytest.mark.real)])
async def consul_server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """The twin and a real server, for tests that must hold for both.

    The real one is shared by the whole run: use ``unique`` names, and leave nothing in a state set behind that
    another test would stumble over.
    """
    if request.param == "real":
        yield request.getfixturevalue("_shared_real")
    else:
        async with ConsulTwin() as twin:
            yield twin


@pytest.fixture
async def twin() -> AsyncIterator[ConsulTwin]:
    async with ConsulTwin() as consul:
        yield consul


@pytest.fixture
def unique() -> str:
    """A name nobody else uses."""
    return f"u{uuid.uuid4().hex[:10]}"
