"""How far each source of an edge is believed, in one table.

Trust is the chance that the source really calls the destination: what a sidecar is configured to reach is more
than what an intention would permit. Minimum versions are those of Consul's release notes.
"""

from __future__ import annotations

from consulguard.model import Value


class Provenance(Value, frozen=True, kw_only=True):
    name: str
    trust: float  # 0..1
    min_version: str
    reason: str


PROXY_UPSTREAM = Provenance(
    name="proxy-upstream",
    trust=0.9,
    min_version="1.3.0",
    reason="the caller's sidecar opens a port for it; whether it is used is not known",
)
DECLARED = Provenance(
    name="declared",
    trust=0.9,
    min_version="",
    reason="a person wrote it down: service meta, KV or the declared-edges file",
)
TOPOLOGY_REGISTRATION = Provenance(
    name="service-topology",
    trust=0.9,
    min_version="1.9.0",
    reason="source proxy-registration: same as proxy-upstream",
)
TOPOLOGY_ROUTING = Provenance(
    name="service-topology",
    trust=0.85,
    min_version="1.9.0",
    reason="source routing-config: reached through routing",
)
TOPOLOGY_INTENTION = Provenance(
    name="service-topology", trust=0.5, min_version="1.9.0", reason="source specific-intention: permitted by name"
)
TOPOLOGY_WILDCARD = Provenance(
    name="service-topology",
    trust=0.1,
    min_version="1.9.0",
    reason="source wildcard-intention: permitted with many others",
)
TOPOLOGY_DEFAULT = Provenance(
    name="service-topology", trust=0.05, min_version="1.9.0", reason="source default-allow: everybody is permitted"
)
INTENTION = Provenance(
    name="intention", trust=0.5, min_version="1.2.0", reason="an exact allow: somebody meant this pair to talk"
)
INTENTION_WILDCARD = Provenance(
    name="intention",
    trust=0.05,
    min_version="1.2.0",
    reason="an allow with * on one side says little; that side is named *",
)
REDIRECT = Provenance(
    name="resolver-redirect", trust=0.95, min_version="1.6.0", reason="who calls the first reaches the second"
)
FAILOVER = Provenance(
    name="resolver-failover",
    trust=0.4,
    min_version="1.6.0",
    reason="used only while the first has no healthy instance",
)
SPLITTER = Provenance(
    name="splitter",
    trust=0.9,
    min_version="1.6.0",
    reason="a share of the traffic goes there; weight 0 makes no edge",
)
ROUTER = Provenance(name="router", trust=0.8, min_version="1.6.0", reason="requests that match a route go there")
INGRESS = Provenance(
    name="ingress", trust=0.9, min_version="1.8.0", reason="the gateway has a listener or route for it"
)
INGRESS_WILDCARD = Provenance(
    name="ingress", trust=0.2, min_version="1.8.0", reason="the gateway serves every service; that side is named *"
)
TERMINATING = Provenance(
    name="terminating", trust=0.9, min_version="1.8.0", reason="the gateway is linked to the external service"
)
UPSTREAM_CONFIG = Provenance(
    name="service-defaults",
    trust=0.6,
    min_version="1.10.0",
    reason="central configuration names it as an upstream",
)

TABLE = (
    PROXY_UPSTREAM,
    DECLARED,
    TOPOLOGY_REGISTRATION,
    TOPOLOGY_ROUTING,
    TOPOLOGY_INTENTION,
    TOPOLOGY_WILDCARD,
    TOPOLOGY_DEFAULT,
    INTENTION,
    INTENTION_WILDCARD,
    REDIRECT,
    FAILOVER,
    SPLITTER,
    ROUTER,
    INGRESS,
    INGRESS_WILDCARD,
    TERMINATING,
    UPSTREAM_CONFIG,
)
