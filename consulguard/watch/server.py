"""Who answers: the datacenter we are in, and the version that decides what may be asked."""

from __future__ import annotations

import msgspec

from consulguard.consulapi import ConsulClient
from consulguard.errors import BadAnswer, ConsulRefused
from consulguard.model import Value
from consulguard.watch.decode import Node, parse_version

TOPOLOGY = (1, 9)  # /v1/internal/ui/service-topology
SERVICE_INTENTIONS = (1, 9)  # the configuration entries that replace the old list


class Config(msgspec.Struct):
    Datacenter: str = ""
    Version: str = ""


class AgentSelf(msgspec.Struct):
    Config: Config


class Member(msgspec.Struct):
    Tags: dict[str, str] | None = None
    Status: int = 0


class Server(Value, frozen=True, kw_only=True):
    """``version`` is the oldest that is known of; empty when Consul does not let us know."""

    datacenter: str
    version: str = ""

    def has(self, minimum: tuple[int, ...]) -> bool:
        """Whether a feature of this version may be used; an unknown version has only what every version has."""
        return not minimum or parse_version(self.version) >= minimum


async def detect(client: ConsulClient, datacenter: str = "") -> Server:
    """Raises ConsulUnavailable, ConsulRefused or BadAnswer when not even the nodes can be read."""
    versions: list[str] = []
    own = ""
    try:
        config = (await client.get("/v1/agent/self")).json(AgentSelf).Config
        own = config.Datacenter
        versions.append(config.Version)
    except (ConsulRefused, BadAnswer) as error:
        _unless_nobody(error)  # needs agent:read, which the bot can do without
    try:
        members = (await client.get("/v1/agent/members", max_bytes=64 * 1024 * 1024)).json(list[Member])
        servers = [m.Tags for m in members if m.Tags and m.Status == 1 and m.Tags.get("role") == "consul"]
        versions += [tags.get("build", "").split(":")[0] for tags in servers]
    except (ConsulRefused, BadAnswer) as error:
        _unless_nobody(error)
    version = min((v for v in versions if parse_version(v)), key=parse_version, default="")
    return Server(datacenter=datacenter or client.datacenter or own or await _from_nodes(client), version=version)


def _unless_nobody(error: ConsulRefused | BadAnswer) -> None:
    """A missing right is no trouble here; a token Consul does not know is, and may only be too new."""
    if "ACL not found" in str(error):
        raise error


async def _from_nodes(client: ConsulClient) -> str:
    answer = await client.get("/v1/catalog/nodes", consistency="stale", max_bytes=256 * 1024 * 1024)
    names = {row.Datacenter for row in answer.json(list[Node]) if row.Datacenter}
    if len(names) != 1:
        raise ConsulRefused(
            "the datacenter cannot be told, for no node is visible: give the token node:read, or configure it",
            status=403,
        )
    return str(names.pop())
