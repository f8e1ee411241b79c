"""Reading files that decide what we may do: only regular ones, of a sane size, that nobody else can write."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from consulguard.errors import ConfigError

MAX_BYTES = 256 * 1024


def read_text(path: Path, what: str, *, max_bytes: int = MAX_BYTES) -> str:
    """The file's text. Raises ConfigError with one sentence for everything that can be wrong with it."""
    where = str(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ConfigError(f"{what} does not exist; create it or name another one", where=where) from None
    except OSError as error:
        raise ConfigError(f"{what} cannot be opened: {error.strerror}", where=where) from None
    with os.fdopen(fd, "rb") as file:
        _check(os.fstat(fd), what, where, max_bytes)
        data = file.read(max_bytes + 1)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} is not UTF-8 (byte {error.start}); save it as UTF-8", where=where) from None


def _check(info: os.stat_result, what: str, where: str, max_bytes: int) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise ConfigError(f"{what} is not a regular file", where=where)
    if info.st_size > max_bytes:
        raise ConfigError(f"{what} has {info.st_size} bytes, more than the {max_bytes} allowed", where=where)
    if info.st_mode & stat.S_IWOTH:
        raise ConfigError(f"everybody may write {what}; run: chmod o-w {where}", where=where)
    if info.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{what} belongs to user {info.st_uid}, neither root nor the one we run as", where=where)


def yaml_files(folder: Path, *, at_most: int = 200) -> list[Path]:
    """The folder's own ``*.yaml`` and ``*.yml`` files, sorted; links that lead out of it are refused."""
    if not folder.is_dir():
        raise ConfigError("the playbook folder does not exist", where=str(folder))
    root = folder.resolve()
    found = sorted(p for p in folder.iterdir() if p.suffix in (".yaml", ".yml") and not p.name.startswith("."))
    if len(found) > at_most:
        raise ConfigError(f"the playbook folder has {len(found)} files, more than {at_most}", where=str(folder))
    for path in found:
        target = path.resolve()
        # A ConfigMap volume links through ..data: that stays inside the folder.
        if not target.is_relative_to(root):
            raise ConfigError("the link leads out of the playbook folder", where=str(path))
    return found
