"""A twin agent: the services and checks registered with one node, written through to the catalog at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from consulguard.testing.twin.answers import Refused
from consulguard.testing.twin.catalog import Catalog
from consulguard.testing.twin.checks import CheckPlan, Runner, plan_check
from consulguard.testing.twin.meta import wrong_meta
from consulguard.testing.twin.rows import CheckRow, NodeRow, ServiceRow, pick, service_row

SERVICE_MAINTENANCE = "_service_maintenance:"
NODE_MAINTENANCE = "_node_maintenance"
_SIDECAR_PORTS = range(21000, 21256)
_RANK = {"passing": 0, "warning": 1, "critical": 2}


class TwinAgent:
    """Owns one node's registrations and runs their checks."""

    def __init__(self, catalog: Catalog, node: NodeRow) -> None:
        self._catalog = catalog
        self.node = node.node
        self.services: dict[str, ServiceRow] = {}
        self.plans: dict[str, CheckPlan] = {}  # check id -> how it runs
        self._runner = Runner()
        self._ttls: dict[str, asyncio.TimerHandle] = {}
        catalog.put_node(node)
        catalog.put_check(
            CheckRow(
                node=node.node,
                check_id="serfHealth",
                name="Serf Health Status",
                status="passing",
                output="Agent alive and reachable",
            )
        )

    async def close(self) -> None:
        for timer in self._ttls.values():
            timer.cancel()
        self._ttls.clear()
        await self._runner.close()

    # ---- services

    def register(self, payload: Mapping[str, Any]) -> None:
        """A service with its checks and, through ``Connect.SidecarService``, its sidecar."""
        if not pick(payload, "Name"):
            raise Refused(400, "Missing service name")
        row = service_row(payload)
        wrong = wrong_meta(row.meta)
        if wrong:
            raise Refused(400, f"Invalid Service Meta: {wrong}")
        checks = _checks_in(payload)
        sidecar = pick(pick(payload, "Connect") or {}, "SidecarService")
        if row.kind == "connect-proxy" and not row.destination:
            raise Refused(400, "Proxy.DestinationServiceName must be non-empty for Connect proxy services")
        planned = [(check, plan_check(check)) for check in checks]
        self._put_service(row, planned)
        if sidecar is not None:
            self._register_sidecar(row, sidecar)

    def deregister(self, service_id: str) -> None:
        """Unknown ids are no error (as in Consul without ACLs)."""
        for one in (service_id, f"{service_id}-sidecar-proxy"):
            for check_id in [c.check_id for c in self._catalog.checks_of(self.node, one)]:
                self._forget_check(check_id)
            self.services.pop(one, None)
            self._catalog.drop_service(self.node, one)

    def _put_service(self, row: ServiceRow, planned: list[tuple[dict[str, Any], CheckPlan]]) -> None:
        self.services[row.id] = row
        self._catalog.put_service(self.node, row)
        for number, (check, plan) in enumerate(planned, 1):
            default_id = f"service:{row.id}" + (f":{number}" if len(planned) > 1 else "")
            check_id = pick(check, "CheckID") or pick(check, "ID") or default_id
            self._put_check(check_id, check, plan, row)

    def _register_sidecar(self, row: ServiceRow, payload: Mapping[str, Any]) -> None:
        port = int(pick(payload, "Port") or 0) or self._sidecar_port(f"{row.id}-sidecar-proxy")
        proxy: dict[str, Any] = {
            "DestinationServiceName": row.service,
            "DestinationServiceID": row.id,
            "LocalServiceAddress": "127.0.0.1",
            "LocalServicePort": row.port,
        }
        given = pick(payload, "Proxy") or {}
        proxy |= {k: pick(given, k) for k in ("Config", "Upstreams", "MeshGateway", "Expose") if pick(given, k)}
        proxy |= {k: pick(given, k) for k in ("LocalServiceAddress", "LocalServicePort") if pick(given, k)}
        sidecar = service_row(
            {
                "ID": f"{row.id}-sidecar-proxy",
                "Name": pick(payload, "Name") or f"{row.service}-sidecar-proxy",
                "Kind": "connect-proxy",
                "Port": port,
                "Address": pick(payload, "Address") or row.address,
                "Tags": pick(payload, "Tags") or row.tags,
                "Meta": pick(payload, "Meta") or row.meta,
                "Proxy": proxy,
            }
        )
        checks = _checks_in(payload) or [
            {"Name": "Connect Sidecar Listening", "TCP": f"127.0.0.1:{port}", "Interval": "10s"},
            {"Name": f"Connect Sidecar Aliasing {row.id}", "AliasService": row.id},
        ]
        self._put_service(sidecar, [(check, plan_check(check)) for check in checks])

    def _sidecar_port(self, service_id: str) -> int:
        known = self.services.get(service_id)
        taken = {row.port for row in self.services.values()}
        free = (port for port in _SIDECAR_PORTS if port not in taken)
        return known.port if known else next(free, 0)

    # ---- maintenance

    def service_maintenance(self, service_id: str, enable: bool, reason: str) -> None:
        if service_id not in self.services:
            raise Refused(404, f'No service registered with ID "{service_id}"')
        check_id = SERVICE_MAINTENANCE + service_id
        self._maintenance(check_id, enable, "Service Maintenance Mode", reason, service_id)

    def node_maintenance(self, enable: bool, reason: str) -> None:
        self._maintenance(NODE_MAINTENANCE, enable, "Node Maintenance Mode", reason, "")

    def _maintenance(self, check_id: str, enable: bool, name: str, reason: str, service_id: str) -> None:
        if not enable:
            self._catalog.drop_check(self.node, check_id)
        elif check_id not in self._catalog.checks[self.node]:  # a second call keeps the first reason
            mode = "service" if service_id else "node"
            notes = reason or f"Maintenance mode is enabled for this {mode}, but no reason was provided."
            row = CheckRow(node=self.node, check_id=check_id, name=name, notes=notes, type="maintenance")
            row.service_id = service_id
            self._catalog.put_check(row)
        self._update_aliases()

    # ---- checks

    def register_check(self, payload: dict[str, Any]) -> None:
        name, service_id = pick(payload, "Name"), pick(payload, "ServiceID") or ""
        if not name:
            raise Refused(400, "Missing check name")
        if service_id and service_id not in self.services:
            raise Refused(500, f'ServiceID "{service_id}" does not exist')
        check_id = pick(payload, "CheckID") or pick(payload, "ID") or name
        self._put_check(check_id, payload, plan_check(payload), self.services.get(service_id))

    def deregister_check(self, check_id: str) -> None:
        self._forget_check(check_id)
        self._catalog.drop_check(self.node, check_id)
        self._update_aliases()

    def update_ttl(self, check_id: str, status: str, output: str) -> None:
        plan = self.plans.get(check_id)
        if plan is None or plan.kind != "ttl":
            raise Refused(500, f'CheckID "{check_id}" does not have associated TTL')
        self._arm_ttl(check_id, plan)
        self.report(check_id, status, output)

    def report(self, check_id: str, status: str, output: str) -> None:
        """A result of a check. Equal ones write nothing; alias checks follow."""
        row = self._catalog.checks[self.node].get(check_id)
        if row is None or (row.status == status and row.output == output):
            return
        if row.status == status and self.plans[check_id].kind in ("http", "tcp"):
            return  # Consul syncs a changed output only every five minutes
        self._catalog.put_check(msgspec.structs.replace(row, status=status, output=output))
        self._update_aliases()

    def _put_check(
        self, check_id: str, payload: Mapping[str, Any], plan: CheckPlan, service: ServiceRow | None
    ) -> None:
        old = self._catalog.checks[self.node].get(check_id)
        row = CheckRow(
            node=self.node,
            check_id=check_id,
            name=pick(payload, "Name") or (f"Service '{service.service}' check" if service else check_id),
            status=pick(payload, "Status") or (old.status if old else "critical"),
            notes=pick(payload, "Notes") or "",
            output=old.output if old else "",
            service_id=service.id if service else "",
            type=plan.kind,
        )
        self.plans[check_id] = plan
        self._catalog.put_check(row)
        self._runner.start(check_id, plan, lambda status, output: self.report(check_id, status, output))
        if plan.kind == "ttl":
            self._arm_ttl(check_id, plan)
        self._update_aliases()

    def _forget_check(self, check_id: str) -> None:
        self.plans.pop(check_id, None)
        self._runner.stop(check_id)
        timer = self._ttls.pop(check_id, None)
        if timer:
            timer.cancel()

    def _arm_ttl(self, check_id: str, plan: CheckPlan) -> None:
        old = self._ttls.pop(check_id, None)
        if old:
            old.cancel()
        loop = asyncio.get_running_loop()
        self._ttls[check_id] = loop.call_later(plan.interval_s, self.report, check_id, "critical", "TTL expired")

    def _update_aliases(self) -> None:
        """An alias check is as bad as the worst check of the service it stands for, or of its node."""
        for check_id, plan in list(self.plans.items()):
            row = self._catalog.checks[self.node].get(check_id)
            if plan.kind != "alias" or row is None:
                continue
            status, output = self._alias(plan.target)
            if (row.status, row.output) != (status, output):
                self._catalog.put_check(msgspec.structs.replace(row, status=status, output=output))

    def _alias(self, service_id: str) -> tuple[str, str]:
        seen = self._catalog.checks_of(self.node, "") + self._catalog.checks_of(self.node, service_id)
        worst = max(seen, key=lambda c: _RANK.get(c.status, 2), default=None)
        if service_id not in self.services or worst is None:
            return "critical" if worst is None else "passing", "No checks found."
        if worst.status == "passing":
            return "passing", "All checks passing."
        return worst.status, f'Aliased check "{worst.name}" failing: {worst.output}'


def _checks_in(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    one = pick(payload, "Check")
    return ([one] if one else []) + list(pick(payload, "Checks") or ())
