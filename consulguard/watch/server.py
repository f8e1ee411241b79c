"""Who answers: the datacenter we are in, and the version that decides what may be asked."""

from __future__ import annotations

from consulguard.consulapi import SERVICE_INTENTIONS, ConsulClient, parse_version, versions
from consulguard.errors import ConsulRefused
from consulguard.model import Value
from consulguard.watch.decode import Node

TOPOLOGY = (1, 9)  # /v1/internal/ui/service-topology


class Server(Value, frozen=True, kw_only=True):
    """``version`` is the oldest that is known of; empty when Consul does not let us know."""

    datacenter: str
    version: str = ""

    def has(self, minimum: tuple[int, ...]) -> bool:
        """Whether a feature of this version may be used; an unknown version has only what every version has."""
        return not minimum or parse_version(self.version) >= minimum


async def detect(client: ConsulClient, datacenter: str = "") -> Server:
    """Raises ConsulUnavailable, ConsulRefused or BadAnswer when not even the nodes can be read."""
    told = await versions(client)
    name = datacenter or client.datacenter or told.datacenter or await _from_nodes(client)
    return Server(datacenter=name, version=told.version)


async def _from_nodes(client: ConsulClient) -> str:
    answer = await client.get("/v1/catalog/nodes", consistency="stale", max_bytes=256 * 1024 * 1024)
    names = {row.Datacenter for row in answer.json(list[Node]) if row.Datacenter}
    if len(names) != 1:
        raise ConsulRefused(
            "the datacenter cannot be told, for no node is visible: give the token node:read, or configure it",
            status=403,
        )
    return str(names.pop())


__all__ = ["SERVICE_INTENTIONS", "TOPOLOGY", "Server", "detect"]
