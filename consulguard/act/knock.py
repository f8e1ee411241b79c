"""A knock at a service's door: one read-only request to an address, and how it is met.

Nothing is sent but what the operator wrote down: a connection, a GET, or the standard gRPC health question. No
redirect is followed, no credential sent, and no more than the start of an answer read.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
from yarl import URL

from consulguard.act import grpc_health, http_door
from consulguard.act.text import tidy
from consulguard.clock import Clock
from consulguard.consulapi import Once
from consulguard.model import Reaction

READ_MAX = 1024  # bytes of the answer that are waited for
REASON_MAX = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How a service may be probed."""

    kind: str = "tcp"  # tcp, http, https, grpc
    path: str = "/"
    port: int = 0  # 0: the instance's own
    server_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What holds for every probe."""

    timeout_s: float = 2.0
    slow_s: float = 1.0
    networks: tuple[str, ...] = ()  # addresses must lie in one of them
    trust: ssl.SSLContext | None = None  # for https; None: the system's certificates


@dataclass(frozen=True, slots=True)
class Met:
    how: Reaction
    took_s: float = 0.0
    reason: str = ""


def why_not(address: str, networks: Sequence[str]) -> str:
    """Why nobody knocks there; empty when one may. A name is never looked up: it may lead elsewhere by then."""
    if reason := http_door.why_not(address, private=True):
        return reason
    found = ipaddress.ip_address(address.split("%", 1)[0])
    inside = [ipaddress.ip_network(n) for n in networks]
    if not all(any(form in network for network in inside) for form in _meant(found)):
        return "not in correlate.probe.networks"
    return ""


def _meant(address: http_door.Address) -> Sequence[http_door.Address]:
    """Whom one reaches there: of an IPv6 address that stands for an IPv4 one, both must be allowed."""
    forms = http_door.forms(address)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return forms[1:] if mapped else forms


async def knock(door: Door, address: str, port: int, limits: Limits, clock: Clock) -> Met:
    """Never raises. ``address`` is an IP address that ``why_not`` has nothing against."""
    began = clock.monotonic()
    how, reason = Reaction.WELL, ""
    try:
        async with asyncio.timeout(limits.timeout_s):
            how, reason = await _ask(door, address, port, limits)
    except TimeoutError:
        return Met(Reaction.TIMEOUT, limits.timeout_s)
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError, ssl.SSLError) as error:
        how, reason = Reaction.BADLY, f"TLS: {error}"
    except (aiohttp.ClientConnectorError, ConnectionRefusedError) as error:
        how, reason = Reaction.REFUSED, _words(error)
    except aiohttp.ClientError as error:
        how, reason = Reaction.BADLY, str(error) or type(error).__name__
    except OSError as error:
        how, reason = Reaction.REFUSED, _words(error)
    took = clock.monotonic() - began
    if how is Reaction.WELL and took > limits.slow_s:
        how = Reaction.SLOW
    return Met(how, took, tidy(reason)[:REASON_MAX])


async def _ask(door: Door, address: str, port: int, limits: Limits) -> tuple[Reaction, str]:
    match door.kind:
        case "grpc":
            return await grpc_health.check(address, port, limits.timeout_s)
        case "http" | "https":
            return await _get(door, address, port, limits.trust)
        case _:
            _, writer = await asyncio.open_connection(address, port)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return Reaction.WELL, ""


async def _get(door: Door, address: str, port: int, trust: ssl.SSLContext | None) -> tuple[Reaction, str]:
    host = f"[{address}]" if ":" in address else address
    url = URL(f"{door.kind}://{host}:{port}{door.path}", encoded=True)
    headers = {"User-Agent": "consulguard", "Accept-Encoding": "identity"}
    async with (
        http_door.session([address], headers) as session,
        session.get(
            url,
            allow_redirects=False,
            ssl=trust or True,
            server_hostname=door.server_name or None,
            middlewares=(Once(),),
        ) as answer,
    ):
        await answer.content.read(READ_MAX)
        answer.close()
        return _judge(answer.status)


def _judge(status: int) -> tuple[Reaction, str]:
    """A server's error is one; whoever asks for a password, or sends us elsewhere, is there and at work."""
    if status >= 500:
        return Reaction.BADLY, f"HTTP {status}"
    return (Reaction.UNSURE, f"HTTP {status}") if status == 429 else (Reaction.WELL, "")


def _words(error: OSError) -> str:
    """Without the address, which is told beside it. That it is refused needs no words."""
    return "" if isinstance(error, ConnectionRefusedError) or error.errno == 111 else error.strerror or str(error)
