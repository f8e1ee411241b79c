"""One process per journal: an advisory lock on a file beside it, with the holder's pid inside."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from consulguard.errors import StoreUnavailable


class FileLock:
    """Held from ``acquire`` to ``release``, or to the end of the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def acquire(self) -> None:
        """Raises ``StoreUnavailable``, naming the pid, when another process (or store) holds it."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise StoreUnavailable(
                f"the journal {self._path.with_suffix('')} is in use by process {holder}: stop it first"
            ) from None
        except OSError:
            os.close(fd)
            raise
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """The file stays: removing it would let two processes lock two different files of the same name."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
