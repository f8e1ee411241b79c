"""Free ports for servers that tests and the demo start on loopback."""

from __future__ import annotations

import random
import socket
from contextlib import closing

# Below the usual range of outgoing connections, so that a server that is restarted finds its port still free,
# and above the ports Consul hands to sidecars.
_LOW, _HIGH = 22000, 32000


def free_ports(count: int, *addresses: str) -> list[int]:
    """``count`` different ports that are free for TCP and UDP on every one of ``addresses`` (127.0.0.1)."""
    found: list[int] = []
    for port in random.sample(range(_LOW, _HIGH), _HIGH - _LOW):
        if all(_is_free(address, port) for address in addresses or ("127.0.0.1",)):
            found.append(port)
            if len(found) == count:
                return found
    raise OSError("no free ports on loopback")


def _is_free(address: str, port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with closing(socket.socket(socket.AF_INET, kind)) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True
