"""Nodes, services and checks of the twin, indexed so that no read walks over what it does not answer with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from consulguard.testing.twin.hub import Hub
from consulguard.testing.twin.rows import CheckRow, NodeRow, ServiceRow, same

Key = tuple[str, str]
_SORTED_BELOW = 5000  # Consul answers in order of (node, check id); a bench with 100,000 rows does not need it


class NotRegistered(LookupError):
    """A service or check was written for something the catalog does not have."""


class Catalog:
    """Owned by the twin; every change goes through ``put_*`` and ``drop_*``."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.nodes: dict[str, NodeRow] = {}
        self.services: dict[str, dict[str, ServiceRow]] = defaultdict(dict)  # node -> id -> row
        self.checks: dict[str, dict[str, CheckRow]] = defaultdict(dict)  # node -> check id -> row
        self.states: dict[str, dict[Key, CheckRow]] = defaultdict(dict)  # status -> (node, check id) -> row
        self._named: dict[str, dict[Key, ServiceRow]] = defaultdict(dict)  # service name -> (node, id) -> row
        self._proxies: dict[str, dict[Key, ServiceRow]] = defaultdict(dict)  # destination -> (node, id) -> row
        self._of_service: dict[Key, dict[str, CheckRow]] = defaultdict(dict)  # (node, service id) -> checks
        self._index: dict[str, int] = {}  # service name -> index of its last change
        self._extinct = 1  # index at which a service last lost its last instance

    # ---- reading

    def service_names(self) -> dict[str, list[str]]:
        """Every service with the union of its instances' tags, sorted."""
        return {
            name: sorted({tag for row in rows.values() for tag in row.tags})
            for name, rows in sorted(self._named.items())
        }

    def instances(self, name: str) -> list[tuple[str, ServiceRow]]:
        return [(node, row) for (node, _), row in sorted(self._named.get(name, {}).items())]

    def connect_instances(self, name: str) -> list[tuple[str, ServiceRow]]:
        """What a mesh client would talk to: the proxies of ``name``, and its instances that speak Connect."""
        native = {k: r for k, r in self._named.get(name, {}).items() if r.connect.get("Native")}
        return [(node, row) for (node, _), row in sorted((native | self._proxies.get(name, {})).items())]

    def checks_of(self, node: str, service_id: str) -> list[CheckRow]:
        """Checks of the instance, or of the node itself when ``service_id`` is ""; sorted."""
        return [row for _, row in sorted(self._of_service.get((node, service_id), {}).items())]

    def service_index(self, name: str) -> int:
        """What a query for one service answers as index; an unknown service gets the services table's."""
        return self._index.get(name) or max(self._extinct, self._hub.table("services"))

    def in_state(self, state: str) -> Iterable[CheckRow]:
        if state != "any":
            rows = self.states.get(state, {})
            return [rows[key] for key in sorted(rows)] if len(rows) < _SORTED_BELOW else rows.values()
        return (row for checks in self.checks.values() for row in checks.values())

    def state_topic(self, state: str) -> str:
        """An empty set is watched through the whole table: it wakes on every check write (as Consul's does)."""
        return f"state:{state}" if state != "any" and self.states.get(state) else "checks"

    # ---- writing

    def put_node(self, row: NodeRow) -> None:
        old = self.nodes.get(row.node)
        if old and same(old, row):
            return
        index = self._hub.write("nodes")
        row.create_index, row.modify_index = (old.create_index if old else index), index
        self.nodes[row.node] = row
        self._touch_services(self._names_on(row.node), index)
        self._hub.touch(["nodes", f"node:{row.node}"])

    def put_service(self, node: str, row: ServiceRow) -> None:
        if node not in self.nodes:
            raise NotRegistered(f'Missing node registration for "{node}"')
        old = self.services[node].get(row.id)
        if old and same(old, row):
            return
        if old:
            self._unlink(node, old)
        index = self._hub.write("services")
        row.create_index, row.modify_index = (old.create_index if old else index), index
        self.services[node][row.id] = row
        self._named[row.service][node, row.id] = row
        if row.destination and row.kind == "connect-proxy":
            self._proxies[row.destination][node, row.id] = row
        self._touch_services({row.service} | ({old.service} if old else set()), index)
        self._touch_connect(row)
        self._hub.touch(["services", f"node:{node}"])

    def put_check(self, row: CheckRow) -> None:
        """Insert or change a check. An identical one keeps its ModifyIndex but wakes the health-state watches."""
        if row.node not in self.nodes:
            raise NotRegistered("Missing node registration")
        self._name_service(row)
        old = self.checks[row.node].get(row.check_id)
        index = self._hub.write("checks")
        if old and same(old, row):
            self._hub.touch(["checks", f"state:{old.status}"])
            return
        row.create_index, row.modify_index = (old.create_index if old else index), index
        if old:
            self.states[old.status].pop((row.node, row.check_id), None)
            self._of_service[row.node, old.service_id].pop(row.check_id, None)
            self._hub.touch([f"state:{old.status}"])
        self.checks[row.node][row.check_id] = row
        self._of_service[row.node, row.service_id][row.check_id] = row
        self.states[row.status][row.node, row.check_id] = row
        self._check_changed(row, index)

    def drop_check(self, node: str, check_id: str) -> bool:
        row = self.checks.get(node, {}).pop(check_id, None)
        if row is None:
            return False
        self.states[row.status].pop((node, check_id), None)
        self._of_service[node, row.service_id].pop(check_id, None)
        self._check_changed(row, self._hub.write("checks"))
        return True

    def drop_service(self, node: str, service_id: str) -> bool:
        row = self.services.get(node, {}).pop(service_id, None)
        if row is None:
            return False
        for check_id in list(self._of_service.pop((node, service_id), {})):
            check = self.checks[node].pop(check_id)
            self.states[check.status].pop((node, check_id), None)
            self._check_changed(check, self._hub.write("checks"))
        index = self._hub.write("services")
        self._unlink(node, row)
        self._touch_services({row.service}, index)
        if row.service not in self._named:
            self._index.pop(row.service, None)
            self._extinct = index
        self._touch_connect(row)
        self._hub.touch(["services", f"node:{node}"])
        return True

    def drop_node(self, node: str) -> bool:
        if node not in self.nodes:
            return False
        for service_id in list(self.services.get(node, {})):
            self.drop_service(node, service_id)
        for check_id in list(self.checks.get(node, {})):
            self.drop_check(node, check_id)
        del self.nodes[node]
        self._hub.write("nodes")
        self._hub.touch(["nodes", f"node:{node}"])
        return True

    # ---- many at once

    def load(self, rows: Iterable[tuple[NodeRow, Iterable[ServiceRow], Iterable[CheckRow]]]) -> None:
        """Put many nodes with their services and checks; for benches. Nobody is woken for each row."""
        for node, services, checks in rows:
            self.put_node(node)
            for service in services:
                self.put_service(node.node, service)
            for check in checks:
                self.put_check(check)

    def flip(self, keys: Iterable[Key], status: str, output: str = "") -> int:
        """Set many checks to ``status`` in one raft entry, waking each waiter once. Returns how many changed."""
        index = self._hub.write("checks")
        touched = {"checks", f"state:{status}"}
        changed = 0
        for key in keys:
            row = self.checks[key[0]][key[1]]
            if row.status == status and row.output == output:
                continue
            del self.states[row.status][key]
            touched.update((f"state:{row.status}", f"node:{row.node}"))
            row.status, row.output, row.modify_index = status, output, index
            self.states[status][key] = row
            changed += 1
            names = {row.service_name} if row.service_id else self._names_on(row.node)
            self._index.update(dict.fromkeys(names, index))
            touched.update(f"svc:{name}" for name in names)
        self._hub.touch(touched)
        return changed

    def go_back(self, to: int) -> None:
        """See ``Hub.go_back``: no row may be newer than the store. Old rows stay as they were."""
        aged: dict[int, tuple[Any, Any]] = {}

        def age(row: Any) -> Any:
            if id(row) not in aged:
                created, modified = min(row.create_index, to), min(row.modify_index, to)
                aged[id(row)] = row, msgspec.structs.replace(row, create_index=created, modify_index=modified)
            return aged[id(row)][1]

        tables: list[dict[Any, dict[Any, Any]]] = [self.services, self.checks, self.states]
        tables += [self._named, self._proxies, self._of_service]
        for rows in [self.nodes, *(rows for table in tables for rows in table.values())]:
            for key, row in rows.items():
                rows[key] = age(row)
        self._index = {name: min(index, to) for name, index in self._index.items()}
        self._extinct = min(self._extinct, to)

    # ---- inside

    def _name_service(self, row: CheckRow) -> None:
        if not row.service_id:
            return
        service = self.services[row.node].get(row.service_id)
        if service is None:
            raise NotRegistered(f'Missing service registration on node "{row.node}"')
        row.service_name, row.service_tags = service.service, list(service.tags)

    def _unlink(self, node: str, row: ServiceRow) -> None:
        for table, name in ((self._named, row.service), (self._proxies, row.destination)):
            table.get(name, {}).pop((node, row.id), None)
            if name in table and not table[name]:
                del table[name]

    def _names_on(self, node: str) -> set[str]:
        return {service.service for service in self.services[node].values()}

    def _check_changed(self, row: CheckRow, index: int) -> None:
        names = {row.service_name} if row.service_id else self._names_on(row.node)
        self._touch_services(names, index)
        service = self.services[row.node].get(row.service_id)
        if service is not None:
            self._touch_connect(service)
        self._hub.touch(["checks", f"state:{row.status}", f"node:{row.node}"])

    def _touch_services(self, names: set[str], index: int) -> None:
        for name in names:
            self._index[name] = index
        self._hub.touch(f"svc:{name}" for name in names)

    def _touch_connect(self, row: ServiceRow) -> None:
        self._hub.touch([f"connect:{row.destination or row.service}"])
