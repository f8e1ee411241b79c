"""The embedded journal: one SQLite file, WAL, fsync at every commit, on a thread of its own.

Local disks only: SQLite's locks and shared memory do not hold on a network file system.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from consulguard.journal.session import Session
from consulguard.journal.store import JournalSettings
from consulguard.journal.threaded import ThreadedStore

DEFAULTS = JournalSettings()


class SqliteStore(ThreadedStore):
    """A ``Store``. ``channels`` names the notifiers that every message of ``append`` is queued for.

    ``readonly``: for a reader beside a running daemon; takes no lock, writes nothing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        channels: Sequence[str] = ("console",),
        settings: JournalSettings = DEFAULTS,
        readonly: bool = False,
    ) -> None:
        super().__init__(Session(Path(path), tuple(channels), settings, readonly=readonly), settings)
