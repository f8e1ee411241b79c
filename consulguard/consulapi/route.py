"""Which agent is asked: the preferred one, or a fall-back while it does not answer."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from consulguard.errors import ConfigError

RETURN_S = 60.0  # the preferred agent is tried again this long after it was left
PATIENCE_S = 10.0  # errors without any success for this long: the agent is left, though it answers


def parse_address(address: str) -> tuple[str, str]:
    """``(base URL, path of the unix socket or "")``; raises ``ConfigError`` in words."""
    if address.startswith("unix://"):
        path = address.removeprefix("unix://")
        if not path.startswith("/"):
            raise ConfigError(f"Consul address {address!r}: a unix address needs an absolute path")
        return "http://localhost", path
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"Consul address {address!r}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"Consul address {address!r}: expected http://host:port, https://host:port or unix:///path"
        )
    if parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"):
        raise ConfigError(
            f"Consul address {parts.scheme}://{parts.hostname}: only scheme, host and port are allowed"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or (443 if parts.scheme == 'https' else 80)}", ""


class Route:
    """The order in which addresses are tried. ``switches`` rises whenever another agent takes over."""

    def __init__(self, addresses: Sequence[str]) -> None:
        if not addresses:
            raise ConfigError("no Consul address is configured")
        self.addresses = tuple(dict.fromkeys(addresses))
        self.switches = 0
        self._current = 0
        self._left_at = 0.0
        self._failing_since: float | None = None

    @property
    def current(self) -> str:
        return self.addresses[self._current]

    def candidates(self, now: float, *, may_return: bool) -> list[str]:
        """Addresses in the order to try them now; the preferred one first when its time has come again."""
        turn = [self.addresses[(self._current + i) % len(self.addresses)] for i in range(len(self.addresses))]
        if may_return and self._current and now - self._left_at >= RETURN_S:
            self._left_at = now
            turn.remove(self.addresses[0])
            turn.insert(0, self.addresses[0])
        return turn

    def good(self, address: str, now: float) -> None:
        """``address`` answered: from now on it is the current one."""
        if address == self.current:
            self._failing_since = None
        else:
            self._move(self.addresses.index(address), now)

    def bad(self, address: str, now: float, *, gone: bool) -> None:
        """``address`` failed. ``gone``: nobody listens there. Errors alone are borne for ``PATIENCE_S``."""
        if address != self.current or len(self.addresses) == 1:
            return
        if self._failing_since is None:
            self._failing_since = now
        if gone or now - self._failing_since >= PATIENCE_S:
            self._move((self._current + 1) % len(self.addresses), now)

    def _move(self, to: int, now: float) -> None:
        self._current, self._left_at, self._failing_since = to, now, None
        self.switches += 1
