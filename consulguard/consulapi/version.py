"""Which datacenter answers, and the version that decides what may be asked of it."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from consulguard.consulapi.client import ConsulClient
from consulguard.errors import BadAnswer, ConsulRefused

MEMBERS_MAX = 64 * 1024 * 1024
SERVICE_INTENTIONS = (1, 9)  # the configuration entries that replace the old list of intentions


class _Config(msgspec.Struct):
    Datacenter: str = ""
    Version: str = ""


class _AgentSelf(msgspec.Struct):
    Config: _Config


class _Member(msgspec.Struct):
    Tags: dict[str, str] | None = None
    Status: int = 0


class Told(NamedTuple):
    """``version``: the oldest among our agent and the servers. Empty is what Consul does not let us know."""

    datacenter: str
    version: str


async def versions(client: ConsulClient) -> Told:
    """Raises ConsulUnavailable; ConsulRefused and BadAnswer only for a token that nobody knows."""
    found: list[str] = []
    own = ""
    try:
        config = (await client.get("/v1/agent/self")).json(_AgentSelf).Config
        own = config.Datacenter
        found.append(config.Version)
    except (ConsulRefused, BadAnswer) as error:
        _unless_nobody(error)  # needs agent:read, which watching can do without
    try:
        members = (await client.get("/v1/agent/members", max_bytes=MEMBERS_MAX)).json(list[_Member])
        servers = [m.Tags for m in members if m.Tags and m.Status == 1 and m.Tags.get("role") == "consul"]
        found += [tags.get("build", "").split(":")[0] for tags in servers]
    except (ConsulRefused, BadAnswer) as error:
        _unless_nobody(error)
    return Told(own, min((v for v in found if parse_version(v)), key=parse_version, default=""))


def _unless_nobody(error: ConsulRefused | BadAnswer) -> None:
    """A missing right is no trouble here; a token Consul does not know is, and may only be too new."""
    if "ACL not found" in str(error):
        raise error


def parse_version(text: str) -> tuple[int, ...]:
    """``1.8.7``, ``1.15.2+ent``, ``1.8.7:1dffd5`` -> (1, 8, 7); empty when it is no version."""
    found = re.match(r"([0-9]+)\.([0-9]+)(?:\.([0-9]+))?", text, re.ASCII)
    return tuple(int(part) for part in found.groups() if part) if found else ()
