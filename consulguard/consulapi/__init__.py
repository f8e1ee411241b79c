"""The one way to Consul: a thin aiohttp client that tells data from refusal from silence.

``get`` and ``send`` return an ``Answer`` only when Consul gave data. Anything else is raised: as
``ConsulUnavailable`` (no data, try later), ``ConsulRefused`` (the answer is no) or ``BadAnswer`` (a 200 that is
not what it claims to be). An error body can never be read as an empty list.
"""

from consulguard.consulapi.answer import Answer, parse_index
from consulguard.consulapi.client import ClientOptions, Consistency, ConsulClient, ReadOptions
from consulguard.consulapi.once import Once
from consulguard.consulapi.path import segment
from consulguard.consulapi.route import parse_address
from consulguard.consulapi.token import TokenSource
from consulguard.consulapi.version import SERVICE_INTENTIONS, parse_version, versions

__all__ = [
    "SERVICE_INTENTIONS",
    "Answer",
    "ClientOptions",
    "Consistency",
    "ConsulClient",
    "Once",
    "ReadOptions",
    "TokenSource",
    "parse_address",
    "parse_index",
    "parse_version",
    "segment",
    "versions",
]
