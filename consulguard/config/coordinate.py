"""From the sections ``coordinate`` and ``journal`` to a lease and a journal that several replicas can share."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from consulguard.config.files import read_secret, read_text
from consulguard.config.load import Loaded
from consulguard.coordinate import LeaseSettings
from consulguard.errors import ConfigError

LEAST_TTL_S = 3.0


def lease(loaded: Loaded, name: str = "") -> LeaseSettings:
    """What the lease's backend is told. ``name``: ours; empty: host and process.

    Raises ConfigError, also for a journal that a successor could not read.
    """
    given = loaded.config.coordinate
    if given.backend != "single" and loaded.config.journal.store == "sqlite":
        raise ConfigError(
            f"coordinate.backend is {given.backend}, so another replica may take over, but the journal is a local"
            " SQLite file: the other one could not read what this one has begun, and might do it again or leave it"
            " half done. Set journal.store: postgresql with journal.dsn_file, or run one replica with"
            " coordinate.backend: single",
            where="coordinate",
        )
    if 0 < given.ttl < LEAST_TTL_S:
        raise ConfigError(f"must be at least {LEAST_TTL_S:g}s", where="coordinate.ttl")
    kubeconfig = given.kubernetes.kubeconfig and str(loaded.resolve(given.kubernetes.kubeconfig))
    if kubeconfig:
        read_text(loaded.resolve(given.kubernetes.kubeconfig), "the kubeconfig")
    return LeaseSettings(
        name=name or f"{socket.gethostname()}/{os.getpid()}",
        key=given.key,
        ttl_s=given.ttl,
        hosts=tuple(given.zookeeper.hosts),
        namespace=given.kubernetes.namespace,
        kubeconfig=kubeconfig,
        epoch_offset=given.epoch_offset,
    )


def dsn(loaded: Loaded) -> Callable[[], str]:
    """PostgreSQL's connection string, read from its file each time. Raises ConfigError."""
    name = loaded.config.journal.dsn_file
    if not name:
        raise ConfigError(
            "journal.store: postgresql needs journal.dsn_file, a file with the connection string", where="journal"
        )
    path = loaded.resolve(name)

    def read() -> str:
        return read_secret(path, "the file with PostgreSQL's connection string").strip()

    read()
    return read
