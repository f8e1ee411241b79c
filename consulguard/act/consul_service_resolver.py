"""``consul.service_resolver``: send a service's traffic elsewhere (redirect, failover, subsets)."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from consulguard.act.base import Strict
from consulguard.act.consul_entry import EntryAction
from consulguard.model import JsonObject

DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"  # the engine behind it anchors $ at the very end


class Redirect(Strict):
    service: str = ""
    service_subset: str = ""
    namespace: str = ""
    partition: str = ""  # Consul 1.11 and later
    peer: str = ""  # Consul 1.14 and later
    datacenter: str = ""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("say where to: service, service_subset, namespace, partition, peer or datacenter")
        return self


class Failover(Strict):
    service: str = ""
    service_subset: str = ""
    namespace: str = ""
    datacenters: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("say where to: service, service_subset, namespace or datacenters")
        return self


class Subset(Strict):
    filter: str = ""
    only_passing: bool = False


class ResolverParams(Strict):
    redirect: Redirect | None = None
    failover: dict[str, Failover] = Field(default_factory=dict)  # by subset; "*" is all
    subsets: dict[str, Subset] = Field(default_factory=dict)
    default_subset: str = ""
    connect_timeout: str = Field(default="", pattern=DURATION)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(
                "nothing to change: give redirect, failover, subsets, default_subset, connect_timeout"
            )
        if self.redirect and self.failover:
            raise ValueError("redirect or failover, not both")
        return self


class ConsulServiceResolver(EntryAction[ResolverParams]):
    """Write the target service's ``service-resolver``."""

    name: ClassVar[str] = "consul.service_resolver"
    kind: ClassVar[str] = "service-resolver"
    Params: ClassVar[type[Strict]] = ResolverParams

    def fields(self, params: ResolverParams) -> JsonObject:
        fields = camel(params.model_dump(exclude_defaults=True))
        if params.redirect:  # Consul takes only one of the two
            return fields | {"Failover": None}
        return fields | {"Redirect": None} if params.failover else fields


def camel(value: JsonObject) -> JsonObject:
    """Our field names as Consul spells them. Keys of maps (subset names) stay as they are."""
    maps = ("failover", "subsets")
    found: JsonObject = {}
    for key, item in value.items():
        name = "".join(part.capitalize() for part in key.split("_"))
        if key in maps:
            item = {k: camel(v) for k, v in item.items()}
        elif isinstance(item, dict):
            item = camel(item)
        elif isinstance(item, list):
            item = [camel(i) if isinstance(i, dict) else i for i in item]
        found[name] = item
    return found
