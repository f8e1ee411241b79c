"""Where the ACL token comes from."""

from __future__ import annotations

from pathlib import Path

from consulguard.errors import ConfigError


class TokenSource:
    """A token given as a value, or a file that is read again whenever it changes (rotation needs no restart).

    A file that cannot be read later on keeps the last token: a rotation in progress is not a loss of rights.
    """

    def __init__(self, value: str = "", *, file: str | Path | None = None) -> None:
        self._file = Path(file) if file else None
        self._stamp: tuple[int, int, int] | None = None
        self._value = _clean(value, "the Consul token") if value else ""
        if self._file is not None and not self._reload():
            raise ConfigError(f"the Consul token file {self._file} cannot be read; create it or fix its rights")

    def get(self) -> str:
        """The token in force now; empty when none is configured."""
        if self._file is not None:
            self._reload()
        return self._value

    def _reload(self) -> bool:
        assert self._file is not None
        try:
            stat = self._file.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._stamp:
                return True
            value = _clean(self._file.read_text("ascii"), f"the Consul token file {self._file}")
        except (OSError, UnicodeDecodeError):
            return False
        except ConfigError:
            if self._stamp is None:
                raise
            return False
        self._stamp, self._value = stamp, value
        return True

    def __repr__(self) -> str:
        return f"TokenSource({'file' if self._file else 'value'}, ***)"


def _clean(text: str, what: str) -> str:
    """One printable ASCII word: anything else would break, or extend, the header it is sent in."""
    word = text.strip()
    if not word or not word.isascii() or any(c <= " " or c == "\x7f" for c in word):
        raise ConfigError(f"{what} must be one line of printable characters without spaces")
    return word
