"""How the sample mesh gets into Consul: through the agent for its node, through the catalog for the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import consul
from consul.callback import CB


class Registry:
    """Blocking calls (py-consul); use them from a thread."""

    def __init__(self, address: str, token: str = "") -> None:
        where = urlsplit(address)
        self._consul = consul.Consul(
            host=where.hostname or "127.0.0.1", port=where.port or 8500, scheme=where.scheme, token=token or None
        )
        self._consul.http.session.trust_env = False

    def close(self) -> None:
        self._consul.http.session.close()

    def register_local(
        self, service: str, instance: str, port: int, *, upstreams: list[dict[str, Any]], **more: Any
    ) -> None:
        """An instance of this agent's, with an HTTP check and a sidecar. ``more``: meta, interval."""
        interval = more["interval"]
        check = {**consul.Check.http(f"http://127.0.0.1:{port}/health", interval, timeout="5s"), "name": "http"}
        alias = {"Name": f"sidecar of {instance}", "AliasService": instance}
        sidecar = {"Checks": [alias], "Proxy": {"Upstreams": upstreams}}
        self._consul.agent.service.register(
            service,
            service_id=instance,
            address="127.0.0.1",
            port=port,
            check=check,
            meta=dict(more["meta"]),
            connect={"SidecarService": sidecar},
        )

    def deregister_local(self, instance: str) -> None:
        self._consul.agent.service.deregister(instance)

    def register_external(self, node: str, node_meta: Mapping[str, str], **parts: Any) -> None:
        """A node that has no agent, or one service or check on it. py-consul's own call has no node meta."""
        payload = {"Node": node, "Address": "127.0.0.1", "NodeMeta": dict(node_meta), **parts}
        self._consul.http.put(
            CB.boolean(), "/v1/catalog/register", data=json.dumps(payload), headers=self._headers()
        )

    def deregister_node(self, node: str) -> None:
        self._consul.catalog.deregister(node)

    def not_passing(self) -> list[str]:
        """Check ids that are not passing now, of any service."""
        found: list[str] = []
        for state in ("critical", "warning"):
            _, rows = self._consul.health.state(state)
            found += [row["CheckID"] for row in rows if row["ServiceName"]]
        return found

    def has_keys(self, prefix: str) -> bool:
        """Whether the KV store has anything under the prefix."""
        _, rows = self._consul.kv.get(prefix, recurse=True)
        return bool(rows)

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = self._consul.prepare_headers(self._consul.token)
        return headers
