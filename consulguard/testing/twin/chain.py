"""Discovery chains, compiled from the twin's config entries as ``/v1/discovery-chain`` shows them."""

from __future__ import annotations

from typing import Any

from consulguard.testing.twin.config import Entries

_TRUST_DOMAIN = "11111111-2222-3333-4444-555555555555.consul"


def compile_chain(entries: Entries, service: str, datacenter: str) -> dict[str, Any]:
    """The whole answer for one service: routes, splits, redirects and fail-over down to targets."""
    return _Compiler(entries, datacenter).compile(service)


def gateway_services(entries: Entries, gateway: str) -> list[dict[str, Any]] | None:
    """What an ingress or terminating gateway stands in front of; None when there is no such gateway."""
    rows: list[dict[str, Any]] = []
    for kind in ("ingress-gateway", "terminating-gateway"):
        entry = entries.get(kind, gateway)
        if entry is None:
            continue
        index = {"CreateIndex": entry["CreateIndex"], "ModifyIndex": entry["ModifyIndex"]}
        listeners = entry.get("Listeners") or [{"Services": entry.get("Services")}]
        for listener in listeners:
            of_listener = {k: listener[k] for k in ("Port", "Protocol") if listener.get(k)}
            for service in listener.get("Services") or ():
                names = {"Gateway": {"Name": gateway}, "Service": {"Name": service["Name"]}}
                rows.append({**names, "GatewayKind": kind, **of_listener, **index})
    return rows or None


class _Compiler:
    def __init__(self, entries: Entries, datacenter: str) -> None:
        self._entries = entries
        self._dc = datacenter
        self._nodes: dict[str, dict[str, Any]] = {}
        self._targets: dict[str, dict[str, Any]] = {}

    def compile(self, service: str) -> dict[str, Any]:
        start = self._route(service)
        chain = {
            "ServiceName": service,
            "Namespace": "default",
            "Datacenter": self._dc,
            "Protocol": self._entries.protocol(service),
            "StartNode": start,
            "Nodes": self._nodes,
            "Targets": self._targets,
        }
        return {"Chain": chain}

    def _route(self, service: str) -> str:
        entry = self._entries.get("service-router", service)
        if entry is None:
            return self._split(service)
        routes = [
            {"Definition": route, "NextNode": self._to(route.get("Destination") or {}, service)}
            for route in entry.get("Routes") or ()
        ]
        catch_all = {"Match": {"HTTP": {"PathPrefix": "/"}}, "Destination": {"Service": service}}
        routes.append({"Definition": catch_all, "NextNode": self._split(service)})
        return self._node("router", f"{service}.default", {"Routes": routes})

    def _to(self, destination: dict[str, Any], service: str) -> str:
        other = destination.get("Service") or service
        if destination.get("ServiceSubset"):
            return self._resolve(other, destination["ServiceSubset"])
        return self._split(other)

    def _split(self, service: str) -> str:
        entry = self._entries.get("service-splitter", service)
        if entry is None:
            return self._resolve(service)
        splits = []
        for split in entry.get("Splits") or ():
            other = split.get("Service") or service
            plain = other == service or split.get("ServiceSubset")
            following = self._resolve(other, split.get("ServiceSubset") or "") if plain else self._split(other)
            splits.append({"Weight": split.get("Weight", 0), "NextNode": following})
        return self._node("splitter", f"{service}.default", {"Splits": splits})

    def _resolve(self, service: str, subset: str = "") -> str:
        entry = self._entries.get("service-resolver", service)
        redirect = (entry or {}).get("Redirect")
        if redirect:
            return self._resolve(redirect.get("Service") or service, redirect.get("ServiceSubset") or "")
        subset = subset or (entry or {}).get("DefaultSubset") or ""
        target = self._target(service, subset)
        resolver: dict[str, Any] = {
            "ConnectTimeout": (entry or {}).get("ConnectTimeout") or "5s",
            "Target": target,
        }
        if entry is None:
            resolver["Default"] = True
        failover = (entry or {}).get("Failover") or {}
        chosen = failover.get(subset) or failover.get("*")
        if chosen:
            other = chosen.get("Service") or service
            datacenters = chosen.get("Datacenters") or [self._dc]
            targets = [self._target(other, chosen.get("ServiceSubset") or "", dc) for dc in datacenters]
            resolver["Failover"] = {"Targets": targets}
        return self._node("resolver", target, {"Resolver": resolver})

    def _target(self, service: str, subset: str = "", datacenter: str = "") -> str:
        datacenter = datacenter or self._dc
        name = ".".join(part for part in (subset, service, "default", datacenter) if part)
        sni = f"{name}.internal.{_TRUST_DOMAIN}"
        self._targets[name] = {
            "ID": name,
            "Service": service,
            **({"ServiceSubset": subset} if subset else {}),
            "Namespace": "default",
            "Datacenter": datacenter,
            "MeshGateway": {},
            "Subset": {},
            "SNI": sni,
            "Name": sni,
        }
        return name

    def _node(self, kind: str, name: str, content: dict[str, Any]) -> str:
        key = f"{kind}:{name}"
        self._nodes[key] = {"Type": kind, "Name": name, **content}
        return key
