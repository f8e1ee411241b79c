"""The twin's rows: what Consul's catalog keeps, with Consul's names in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class NodeRow(msgspec.Struct, kw_only=True):
    id: str = msgspec.field(name="ID", default="")
    node: str = msgspec.field(name="Node")
    address: str = msgspec.field(name="Address")
    datacenter: str = msgspec.field(name="Datacenter")
    tagged_addresses: dict[str, str] | None = msgspec.field(name="TaggedAddresses", default=None)
    meta: dict[str, str] | None = msgspec.field(name="Meta", default=None)
    create_index: int = msgspec.field(name="CreateIndex", default=0)
    modify_index: int = msgspec.field(name="ModifyIndex", default=0)


class ServiceRow(msgspec.Struct, kw_only=True):
    kind: str | msgspec.UnsetType = msgspec.field(name="Kind", default=msgspec.UNSET)
    id: str = msgspec.field(name="ID")
    service: str = msgspec.field(name="Service")
    tags: list[str] = msgspec.field(name="Tags", default_factory=list)
    address: str = msgspec.field(name="Address", default="")
    tagged_addresses: dict[str, Any] | msgspec.UnsetType = msgspec.field(
        name="TaggedAddresses", default=msgspec.UNSET
    )
    meta: dict[str, str] | None = msgspec.field(name="Meta", default=None)
    port: int = msgspec.field(name="Port", default=0)
    weights: dict[str, int] = msgspec.field(name="Weights", default_factory=lambda: {"Passing": 1, "Warning": 1})
    enable_tag_override: bool = msgspec.field(name="EnableTagOverride", default=False)
    proxy: dict[str, Any] = msgspec.field(name="Proxy", default_factory=lambda: {"MeshGateway": {}, "Expose": {}})
    connect: dict[str, Any] = msgspec.field(name="Connect", default_factory=dict)
    create_index: int = msgspec.field(name="CreateIndex", default=0)
    modify_index: int = msgspec.field(name="ModifyIndex", default=0)

    @property
    def destination(self) -> str:
        """The service a proxy stands for, or ""."""
        return str(self.proxy.get("DestinationServiceName", ""))


class CheckRow(msgspec.Struct, kw_only=True):
    node: str = msgspec.field(name="Node")
    check_id: str = msgspec.field(name="CheckID")
    name: str = msgspec.field(name="Name", default="")
    status: str = msgspec.field(name="Status", default="critical")
    notes: str = msgspec.field(name="Notes", default="")
    output: str = msgspec.field(name="Output", default="")
    service_id: str = msgspec.field(name="ServiceID", default="")
    service_name: str = msgspec.field(name="ServiceName", default="")
    service_tags: list[str] = msgspec.field(name="ServiceTags", default_factory=list)
    type: str = msgspec.field(name="Type", default="")
    definition: dict[str, Any] = msgspec.field(name="Definition", default_factory=dict)
    create_index: int = msgspec.field(name="CreateIndex", default=0)
    modify_index: int = msgspec.field(name="ModifyIndex", default=0)


def same(one: msgspec.Struct, other: msgspec.Struct) -> bool:
    """Equal but for the indexes."""
    fields = [f for f in one.__struct_fields__ if not f.endswith("_index")]
    return all(getattr(one, f) == getattr(other, f) for f in fields)


def pick(payload: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """A field of a request as Consul reads it: letter case and underscores of the key do not matter."""
    if name in payload:
        return payload[name]
    wanted = name.lower()
    for key, value in payload.items():
        if key.replace("_", "").lower() == wanted:
            return value
    return default


def upstream_rows(payload: Any) -> list[dict[str, Any]]:
    """Upstreams with the defaults Consul fills in."""
    return [
        {
            "DestinationType": pick(up, "DestinationType", "service") or "service",
            "DestinationName": pick(up, "DestinationName", ""),
            "Datacenter": pick(up, "Datacenter", ""),
            "LocalBindPort": pick(up, "LocalBindPort", 0),
            "Config": pick(up, "Config"),
            "MeshGateway": pick(up, "MeshGateway", {}),
        }
        for up in payload or ()
    ]


def proxy_row(payload: Mapping[str, Any] | None) -> dict[str, Any]:
    """A service's ``Proxy`` part, as stored."""
    payload = payload or {}
    row: dict[str, Any] = {}
    for name in (
        "DestinationServiceName",
        "DestinationServiceID",
        "LocalServiceAddress",
        "LocalServicePort",
        "Config",
    ):
        value = pick(payload, name)
        if value:
            row[name] = value
    upstreams = upstream_rows(pick(payload, "Upstreams"))
    if upstreams:
        row["Upstreams"] = upstreams
    return {**row, "MeshGateway": pick(payload, "MeshGateway", {}), "Expose": pick(payload, "Expose", {})}


def service_row(payload: Mapping[str, Any]) -> ServiceRow:
    """A service as an agent or the catalog is asked to register it. ``ID`` falls back to the name."""
    name = str(pick(payload, "Service") or pick(payload, "Name") or "")
    row = ServiceRow(
        id=str(pick(payload, "ID") or name),
        service=name,
        tags=list(pick(payload, "Tags") or ()),
        address=str(pick(payload, "Address") or ""),
        meta=pick(payload, "Meta"),
        port=int(pick(payload, "Port") or 0),
        weights=pick(payload, "Weights") or {"Passing": 1, "Warning": 1},
        enable_tag_override=bool(pick(payload, "EnableTagOverride", False)),
        proxy=proxy_row(pick(payload, "Proxy")),
    )
    kind = pick(payload, "Kind")
    if kind:
        row.kind = str(kind)
    if pick(pick(payload, "Connect") or {}, "Native"):
        row.connect = {"Native": True}
    if row.address:
        where = {"Address": row.address, "Port": row.port}
        row.tagged_addresses = pick(payload, "TaggedAddresses") or {"lan_ipv4": where, "wan_ipv4": where}
    return row
