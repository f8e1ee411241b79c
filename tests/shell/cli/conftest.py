"""The command line in a folder of its own, and a small mesh on a real Consul for it to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from consulguard.testing import RealConsul

from tests.shell.cli.support import Cli, register_mesh
from tests.support.consul import need_consul


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """No Consul listens at its address."""
    return Cli(tmp_path)


@pytest.fixture(scope="module")
def mesh() -> Iterator[RealConsul]:
    """a -> b -> c; one of three instances of c is critical, and w warns. Tests only read it, or add to it."""
    need_consul()
    consul = RealConsul()
    consul.open()
    register_mesh(consul.address)
    yield consul
    consul.close()


@pytest.fixture
def seeing(tmp_path: Path, mesh: RealConsul) -> Cli:
    """The command line, looking at the mesh."""
    return Cli(tmp_path, mesh.address)
