"""Names from outside as parts of a path."""

from __future__ import annotations

from urllib.parse import quote

from consulguard.errors import ConsulRefused


def segment(name: str) -> str:
    """Percent-encode one path segment.

    Raises ``ConsulRefused`` (status 400, nothing was sent) for names that no encoding makes safe: proxies and
    servers resolve dot segments after decoding them, so ``..`` would name another endpoint.
    """
    if name in ("", ".", ".."):
        raise ConsulRefused(f"{name!r} cannot be part of a Consul path", status=400)
    return quote(name, safe="", errors="surrogatepass")


def checked(path: str) -> str:
    """Refuse a path that is not one of the API's, or that could leave it."""
    parts = path.split("/")
    if not path.startswith("/v1/") or any(p in (".", "..") for p in parts) or not path.isascii():
        raise ConsulRefused(f"{path!r} is not a Consul API path", status=400)
    if any(c <= " " or c in "?#\x7f" for c in path):
        raise ConsulRefused(f"{path!r} is not a Consul API path", status=400)
    return path
