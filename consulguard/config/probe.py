"""The section ``correlate.probe``: whose door may be knocked at to settle who is to blame, and how."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from consulguard.config.values import SomeCount, wrong
from consulguard.plan.duration import shorten
from consulguard.plan.strict import SomeDuration, Strict

PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"]
SERVICES_MAX = 200
Name = Annotated[str, Field(pattern=r"^[^\x00-\x20/]{1,256}$")]
_SIGN = r"[A-Za-z0-9._~!$&'()*+,;=:@%?-]"
Path = Annotated[str, Field(pattern=f"^/({_SIGN}({_SIGN}|/){{0,1000}})?$")]


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise wrong(f"{shorten(text)} is not a network such as 10.0.0.0/8") from None
    return text


class Door(Strict):
    kind: Literal["tcp", "http", "https", "grpc"] = Field(
        "tcp",
        description="tcp: a connection, nothing sent. http, https: one GET. grpc: grpc.health.v1.Health/Check.",
    )
    path: Path = Field("/", description="Of the GET. What does the work tells more than what says it is there.")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(0, description="0: the one the service has in Consul.")
    server_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{0,253}$")] = Field(
        "", description="Name to expect in the certificate, for https. Empty: the address."
    )


class Probe(Strict):
    """A read-only probe of suspects. Off unless ``enabled``."""

    enabled: bool = Field(False, description="Whether anybody is probed.")
    services: dict[Name, Door] = Field(
        {}, max_length=SERVICES_MAX, description="Who may be probed, and how, by the service's name in Consul."
    )
    networks: list[Annotated[str, AfterValidator(_network)]] = Field(
        PRIVATE,
        description="Where their addresses must lie. Link-local and metadata addresses are refused all the same.",
    )
    every: SomeDuration = Field(30.0, description="Between two probes of a suspect.")
    well: SomeDuration = Field(
        600.0,
        description="Between two probes of who is not suspected: only a door that answered well before is believed"
        " when it does not.",
    )
    timeout: Annotated[SomeDuration, Field(le=10)] = Field(2.0, description="Of one probe; 10 s at most.")
    slow: SomeDuration = Field(1.0, description="An answer that takes longer is slow.")
    most: Annotated[SomeCount, Field(le=600)] = Field(20, description="Probes in a minute.")
    ca_file: str = Field("", description="CA certificates to trust for https, PEM. Empty: the system's.")
