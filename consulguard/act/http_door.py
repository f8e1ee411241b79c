"""Where ``http.request`` may go: an allow-listed host, at an address that is looked at before the connect."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from consulguard.act.base import HttpHost
from consulguard.errors import ActionRefused, NotSent

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Cloud metadata services that are not link-local: Azure's wire server, Alibaba's, and AWS's over IPv6.
METADATA = frozenset(map(ipaddress.ip_address, ("168.63.129.16", "100.100.100.200", "fd00:ec2::254")))
NAT64 = ipaddress.ip_network("64:ff9b::/96")


# Nothing but these characters: no user info, no backslash, no fragment, so every reader sees the same host.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(:(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)


class Place(NamedTuple):
    """An address taken apart. ``path`` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def url(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{shown}:{self.port}{self.path}"


def place(url: str) -> Place:
    """Raises ValueError for anything but a plain ``http(s)://host[:port]/path?query`` without dot segments."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("must be a plain http(s)://host[:port]/path, without user info, backslash or fragment")
    path = found["path"] or "/"
    if {".", ".."} & set(unquote(path.partition("?")[0]).replace("\\", "/").split("/")):
        raise ValueError("must not hold dot segments")
    port = int(found["port"] or (443 if found["scheme"] == "https" else 80))
    if not 0 < port < 65536:
        raise ValueError(f"{port} is not a port")
    return Place(found["scheme"], found["host"].strip("[]").lower(), port, path)


def admitted(to: Place, hosts: Sequence[HttpHost]) -> HttpHost:
    """The allow-list's entry for an address; ActionRefused where there is none."""
    for host in hosts:
        try:
            origin = place(host.url).origin
        except ValueError as error:
            raise ActionRefused(f"allowed host {host.name or host.url[:100]!a}: {error}") from error
        if origin == to.origin:
            return host
    raise ActionRefused(f"{to.scheme}://{to.host}:{to.port} is not in the allow-list of hosts")


def forms(address: Address) -> tuple[Address, ...]:
    """The address and every IPv4 address that an IPv6 one stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    inside: list[Address | None] = [address.ipv4_mapped, address.sixtofour]
    if address in NAT64:
        inside.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address.teredo:
        inside.extend(address.teredo)
    return (address, *(a for a in inside if a is not None))


def why_not(address: str, *, private: bool) -> str:
    """Why we do not connect there; empty when we do. ``private`` admits private and loopback addresses."""
    try:
        found = ipaddress.ip_address(address.split("%", 1)[0])
    except ValueError:
        return "not an IP address"
    for form in forms(found):
        if form.is_link_local or form in METADATA:
            return "link-local and metadata addresses are never talked to"
        if form.is_multicast or form.is_unspecified:
            return "not the address of one host"
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    if not private and not all(f.is_global for f in forms(mapped or found)):
        return "a private address; the host's entry in the allow-list does not say private"
    return ""


async def addresses(to: Place, *, private: bool) -> list[str]:
    """Resolve once. NotSent when the name does not resolve, ActionRefused when any of its addresses is barred."""
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotSent(f"not sent: {to.host} does not resolve: {error}") from error
    found = list(dict.fromkeys(str(info[4][0]) for info in infos))
    for address in found:
        if reason := why_not(address, private=private):
            raise ActionRefused(f"{to.host} is at {address}: {reason}")
    return found


class Pinned(AbstractResolver):
    """Answers with the addresses that were looked at, whatever the name resolves to by now."""

    def __init__(self, found: Sequence[str]) -> None:
        self._found = found

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._found
        ]

    async def close(self) -> None:
        return None


def session(found: Sequence[str], headers: Mapping[str, str]) -> aiohttp.ClientSession:
    """A session for one request: pinned addresses, no proxy from the environment, no cookies, no reuse."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=Pinned(found), force_close=True, use_dns_cache=False),
        headers=headers,
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )
