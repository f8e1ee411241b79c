"""The high-water mark: a sidecar file that remembers how far the journal had come.

SQLite may lose acknowledged commits without a word when its write-ahead log is damaged, and an old copy of the
journal looks sound in itself. The mark tells: it is written after commits, never lowered by itself.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from consulguard.journal.store import Mark


def mark_path(journal: Path) -> Path:
    return journal.with_name(journal.name + ".mark")


def read_mark(path: Path) -> Mark | None:
    """None: there is no such file. Raises ``ValueError`` (cannot be understood) or ``OSError``."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(text, type=Mark)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not a mark: {error}") from error


def write_mark(path: Path, mark: Mark) -> None:
    """Replace the file atomically and durably. Raises ``OSError``."""
    draft = path.with_name(path.name + ".new")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, msgspec.json.encode(mark) + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(draft, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
