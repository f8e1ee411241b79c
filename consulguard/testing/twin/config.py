"""The twin's config entries and intentions."""

from __future__ import annotations

import uuid
from typing import Any

from consulguard.testing.twin.answers import Refused
from consulguard.testing.twin.hub import Hub

_META = {"Kind", "Name", "Namespace", "Partition", "Meta", "CreateIndex", "ModifyIndex"}
_COMMON = {"MeshGateway", "Expose", "TransparentProxy", "Mode"}
_EMPTY: dict[str, Any] = {"MeshGateway": {}, "Expose": {}}
_DEFAULTS = {"service-defaults": _EMPTY, "proxy-defaults": {"Config": None, **_EMPTY}}

# What each kind may contain: an unknown key is a 400.
KINDS: dict[str, set[str]] = {
    "service-defaults": {"Protocol", "ExternalSNI", *_COMMON},
    "proxy-defaults": {"Config", *_COMMON},
    "service-resolver": {
        "DefaultSubset",
        "Subsets",
        "Redirect",
        "Failover",
        "ConnectTimeout",
        "LoadBalancer",
    },
    "service-splitter": {"Splits"},
    "service-router": {"Routes"},
    "ingress-gateway": {"TLS", "Listeners"},
    "terminating-gateway": {"Services"},
}
# Kinds of later versions: kind -> (minor version of 1.x, keys)
LATER_KINDS: dict[str, tuple[int, set[str]]] = {
    "service-intentions": (9, {"Sources", "JWT"}),
    "mesh": (10, {"TransparentProxy", "TLS", "HTTP"}),
    "exported-services": (11, {"Services"}),
}


class Entries:
    """Config entries: (kind, name) -> the entry as written, with its indexes. ``minor`` is x of version 1.x."""

    def __init__(self, hub: Hub, minor: int) -> None:
        self._hub = hub
        self.kinds = dict(KINDS) | {k: keys for k, (since, keys) in LATER_KINDS.items() if minor >= since}
        self._honours_delete_cas = minor >= 11
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}

    def known(self, kind: str) -> None:
        if kind not in self.kinds:
            raise Refused(500, f"invalid config entry kind: {kind}")

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [row for (k, _), row in sorted(self.rows.items()) if k == kind]

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        return self.rows.get((kind, name))

    def protocol(self, service: str) -> str:
        defaults = self.get("service-defaults", service) or {}
        everywhere = (self.get("proxy-defaults", "global") or {}).get("Config") or {}
        return str(defaults.get("Protocol") or everywhere.get("protocol") or "tcp").lower()

    def put(self, entry: Any, cas: int | None) -> bool:
        """True when written; False when ``cas`` does not fit. Refused as Consul refuses what does not compile."""
        self._decode(entry)
        if entry["Kind"] == "proxy-defaults":
            entry["Name"] = "global"  # whatever was written
        self._validate(entry)
        key = (entry["Kind"], entry["Name"])
        old = self.rows.get(key)
        if cas is not None and cas != (old["ModifyIndex"] if old else 0):
            return False
        if entry["Kind"] == "service-intentions":
            entry["Sources"] = _sources(entry)
        index = self._hub.write("config")
        clean = {k: v for k, v in entry.items() if k not in ("CreateIndex", "ModifyIndex")}
        self.rows[key] = {
            **_DEFAULTS.get(entry["Kind"], {}),
            **clean,
            "CreateIndex": old["CreateIndex"] if old else index,
            "ModifyIndex": index,
        }
        self._hub.touch(["config", "config:{}/{}".format(*key)])
        return True

    def delete(self, kind: str, name: str, cas: int | None) -> bool | None:
        """None: done, or nothing was there. With ``cas``, servers from 1.11 on say whether they did it."""
        self.known(kind)
        if cas is not None and self._honours_delete_cas:
            old = self.rows.get((kind, name))
            if old is None or old["ModifyIndex"] != cas:
                return False
        if self.rows.pop((kind, name), None) is not None:
            self._hub.write("config")
            self._hub.touch(["config", f"config:{kind}/{name}"])
        return True if cas is not None and self._honours_delete_cas else None

    def _decode(self, entry: Any) -> None:
        why = "Bad request: Request decoding failed: "
        if not isinstance(entry, dict) or entry.get("Kind") not in self.kinds:
            kind = entry.get("Kind", "") if isinstance(entry, dict) else ""
            raise Refused(400, f"{why}invalid config entry kind: {kind}")
        unknown = sorted(set(entry) - self.kinds[entry["Kind"]] - _META)
        if unknown:
            raise Refused(400, f'{why}1 error occurred:\n\t* invalid config key "{unknown[0]}"\n\n')

    def _validate(self, entry: dict[str, Any]) -> None:
        kind, name = entry["Kind"], entry.get("Name")
        if not name:
            raise Refused(500, "Name is required")
        if kind == "service-resolver":
            self._validate_resolver(name, entry)
        if kind in ("service-splitter", "service-router"):
            if self.protocol(name) == "tcp":
                raise Refused(
                    500,
                    f'discovery chain "{name}" uses a protocol "tcp" that does not permit advanced routing '
                    "or splitting behavior",
                )
            if kind == "service-splitter":
                self._validate_splits(name, entry.get("Splits") or [])
            for route in entry.get("Routes") or ():
                self._same_protocol(name, (route.get("Destination") or {}).get("Service") or name)

    def _validate_resolver(self, name: str, entry: dict[str, Any]) -> None:
        subsets = entry.get("Subsets") or {}
        default = entry.get("DefaultSubset")
        if default and default not in subsets:
            raise Refused(500, f'DefaultSubset "{default}" is not a valid subset')
        path, redirect = [name], entry.get("Redirect")
        if redirect and (subsets or entry.get("Failover")):
            raise Refused(500, "Redirect cannot be mixed with other settings")
        while redirect and redirect.get("Service"):
            if redirect["Service"] in path:
                circle = " -> ".join(f"{part}.default.dc1" for part in [*path, redirect["Service"]])
                raise Refused(500, f"detected circular resolver redirect: [{circle}]")
            path.append(redirect["Service"])
            redirect = (self.get("service-resolver", path[-1]) or {}).get("Redirect")
        for other in [*path[1:], *(f.get("Service") or name for f in (entry.get("Failover") or {}).values())]:
            self._same_protocol(name, other)

    def _validate_splits(self, name: str, splits: list[dict[str, Any]]) -> None:
        total = sum(float(split.get("Weight", 0)) for split in splits)
        if abs(total - 100) > 0.001:
            raise Refused(500, f"the sum of all split weights must be 100, not {total:f}")
        for split in splits:
            service, subset = split.get("Service") or name, split.get("ServiceSubset")
            if subset and subset not in ((self.get("service-resolver", service) or {}).get("Subsets") or {}):
                raise Refused(500, f'service "{service}" does not have a subset named "{subset}"')
            self._same_protocol(name, service)

    def _same_protocol(self, name: str, other: str) -> None:
        mine, its = self.protocol(name), self.protocol(other)
        if mine != its:
            raise Refused(
                500,
                f'discovery chain "{name}" uses inconsistent protocols; service "{other}" has "{its}" '
                f'which is not "{mine}"',
            )


def _sources(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """As Consul keeps them: defaults filled in, the most exact first, ids of old rows dropped."""
    found = []
    for source in entry.get("Sources") or ():
        if source.get("LegacyMeta"):
            raise Refused(500, "Sources[0].LegacyMeta must be omitted")
        clean = {k: v for k, v in source.items() if k not in ("LegacyID", "LegacyCreateTime", "LegacyUpdateTime")}
        precedence = _precedence(source.get("Name") or "", entry["Name"])
        found.append({"Type": "consul"} | clean | {"Precedence": precedence})
    return sorted(found, key=lambda s: -s["Precedence"])


def _precedence(source: str, destination: str) -> int:
    return {0: 9, 1: 8 if source == "*" else 6, 2: 5}[(source == "*") + (destination == "*")]


class Intentions:
    """Who may talk to whom, at the endpoints of 1.8 (by id)."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.rows: dict[str, dict[str, Any]] = {}

    def all(self) -> list[dict[str, Any]]:
        """The most exact first."""
        return sorted(self.rows.values(), key=lambda r: (-r["Precedence"], r["DestinationName"], r["SourceName"]))

    def get(self, intention_id: str) -> dict[str, Any]:
        if len(intention_id) != 36:
            raise Refused(400, "Bad request: failed intention lookup: index error: UUID must be 36 characters")
        if intention_id not in self.rows:
            raise Refused(404, "Intention not found")
        return self.rows[intention_id]

    def matching(self, by: str, name: str) -> list[dict[str, Any]] | None:
        field = "SourceName" if by == "source" else "DestinationName"
        return [row for row in self.all() if row[field] in (name, "*")] or None

    def put(self, payload: dict[str, Any], stamp: str, intention_id: str = "") -> str:
        """Create, or with ``intention_id`` replace. ``stamp`` is the time as text. Returns the id."""
        source, destination = payload.get("SourceName") or "", payload.get("DestinationName") or ""
        if payload.get("Action") not in ("allow", "deny"):
            raise Refused(500, "1 error occurred:\n\t* Action must be set to 'allow' or 'deny'\n\n")
        for row in self.rows.values():
            same_pair = (row["SourceName"], row["DestinationName"]) == (source, destination)
            if same_pair and row["ID"] != intention_id:
                what = f"{row['Action'].upper()} default/{source} => default/{destination}"
                end = f"(ID: {row['ID']}, Precedence: {row['Precedence']})"
                raise Refused(500, f"duplicate intention found: {what} {end}")
        old = self.rows.get(intention_id)
        index = self._hub.write("intentions")
        key = intention_id or str(uuid.uuid4())
        self.rows[key] = {
            "ID": key,
            "Description": payload.get("Description") or "",
            "SourceNS": "default",
            "SourceName": source,
            "DestinationNS": "default",
            "DestinationName": destination,
            "SourceType": payload.get("SourceType") or "consul",
            "Action": payload["Action"],
            "DefaultAddr": "",
            "DefaultPort": 0,
            "Meta": payload.get("Meta") or {},
            "Precedence": _precedence(source, destination),
            "CreatedAt": old["CreatedAt"] if old else stamp,
            "UpdatedAt": stamp,
            "CreateIndex": old["CreateIndex"] if old else index,
            "ModifyIndex": index,
        }
        self._hub.touch(["intentions"])
        return key

    def delete(self, intention_id: str) -> None:
        if self.rows.pop(intention_id, None) is None:
            raise Refused(500, f"Cannot delete non-existent intention: '{intention_id}'")
        self._hub.write("intentions")
        self._hub.touch(["intentions"])
