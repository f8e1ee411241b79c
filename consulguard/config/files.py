"""Reading files that decide what we may do: only regular ones, of a sane size, that nobody else can write."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from consulguard.errors import ConfigError

MAX_BYTES = 256 * 1024
SECRET_BYTES = 64 * 1024


class UnsafeFile(ConfigError):
    """Somebody else could have written it: nothing starts as long as it is there."""


def read_text(path: Path, what: str, *, max_bytes: int = MAX_BYTES, anybodys: bool = False) -> str:
    """The file's text; ``-`` is stdin. Raises ConfigError with one sentence for everything that can be wrong.

    ``anybodys``: a file that decides nothing may be another user's, and may be writable for others.
    """
    if str(path) == "-":
        return _decoded(sys.stdin.buffer.read(max_bytes + 1), what, "stdin", max_bytes)
    where = str(path)
    try:
        # Not blocking: nobody writes into a FIFO just because we look at it.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            check(os.fstat(fd), what, where, max_bytes=max_bytes, anybodys=anybodys)
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise ConfigError(f"{what} does not exist; create it or name another one", where=where) from None
    except (OSError, ValueError) as error:  # ValueError: a name no file can have
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{what} cannot be read: {reason}", where=where) from None
    return _decoded(data, what, where, max_bytes)


def read_secret(path: Path, what: str) -> str:
    """The text of a file that holds a secret, which its group may not write. No message repeats what is in it."""
    text = read_text(path, what, max_bytes=SECRET_BYTES)
    try:
        mode = path.stat().st_mode
    except OSError:  # it is being replaced: the next one is read in its turn
        return text
    if stat.S_ISREG(mode) and mode & stat.S_IWGRP:
        raise UnsafeFile(f"its group may write {what}; run: chmod g-w {path}", where=str(path))
    return text


def anybody_reads(path: Path) -> bool:
    """Whether every user of this machine may read the file."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


class HeadersFile(Mapping[str, str]):
    """A file of ``Name: value`` lines that is read again whenever it changes. Raises ConfigError the first time.

    One that cannot be used later on keeps what it said before: a rotation in progress is no loss of rights.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._now: dict[str, str] = {}
        read_secret(path, "the headers file")
        self._read()

    def _read(self) -> dict[str, str]:
        try:
            info = self._path.stat()
            stamp = (info.st_ino, info.st_size, info.st_mtime_ns)
            if stamp != self._stamp:
                self._now, self._stamp = _pairs(read_secret(self._path, "the headers file"), self._path), stamp
        except (OSError, ConfigError):
            if self._stamp is None:
                raise
        return self._now

    def __getitem__(self, name: str) -> str:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return "HeadersFile(***)"


def _pairs(text: str, path: Path) -> dict[str, str]:
    pairs = [line.partition(":") for line in text.splitlines() if line.strip()]
    if any(not colon for _, colon, _ in pairs):
        raise ConfigError("every line must be 'Name: value'", where=str(path))
    return {name.strip(): value.strip() for name, _, value in pairs}


def check(info: os.stat_result, what: str, where: str, *, max_bytes: int, anybodys: bool = False) -> None:
    """Raises ConfigError unless this is a regular file of a sane size, UnsafeFile when others can write it."""
    if not stat.S_ISREG(info.st_mode):
        raise ConfigError(f"{what} is not a regular file", where=where)
    if info.st_size > max_bytes:
        raise ConfigError(f"{what} has {info.st_size} bytes, more than the {max_bytes} allowed", where=where)
    if anybodys:
        return
    if info.st_mode & stat.S_IWOTH:
        raise UnsafeFile(f"everybody may write {what}; run: chmod o-w {where}", where=where)
    if info.st_uid not in (0, os.geteuid()):
        raise UnsafeFile(f"{what} belongs to user {info.st_uid}, neither root nor the one we run as", where=where)


def _decoded(data: bytes, what: str, where: str, max_bytes: int) -> str:
    if len(data) > max_bytes:
        raise ConfigError(f"{what} has more than the {max_bytes} bytes allowed", where=where)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} is not UTF-8 (byte {error.start}); save it as UTF-8", where=where) from None


def exists(path: Path) -> bool:
    """Whether something is there. What we may not look at is not there for us."""
    try:
        return path.exists()
    except OSError:
        return False


def yaml_files(folder: Path, *, at_most: int = 200) -> list[Path]:
    """The folder's own ``*.yaml`` and ``*.yml`` files, sorted; links that lead out of it are refused.

    Raises ConfigError; UnsafeFile when everybody may put files there.
    """
    if not folder.is_dir():
        raise ConfigError("the playbook folder does not exist; create it or set playbooks.dir", where=str(folder))
    try:
        mode = 0 if _read_only(folder) else folder.stat().st_mode
        found = sorted(p for p in folder.iterdir() if p.suffix in (".yaml", ".yml") and not p.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"the playbook folder cannot be read: {error.strerror}", where=str(folder)) from None
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise UnsafeFile(f"everybody may write the playbook folder; run: chmod o-w {folder}", where=str(folder))
    if len(found) > at_most:
        raise ConfigError(f"the playbook folder has {len(found)} files, more than {at_most}", where=str(folder))
    root = folder.resolve()
    for path in found:
        # A ConfigMap volume links through ..data: that stays inside the folder.
        if not _target(path).is_relative_to(root):
            raise UnsafeFile("the link leads out of the playbook folder; copy the file instead", where=str(path))
    return found


def _read_only(folder: Path) -> bool:
    """Whether it is mounted so that nobody here can write. A ConfigMap's folder is, and has mode 0777."""
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _target(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a ring of links: reading it will say so
        return path.parent.resolve() / path.name
