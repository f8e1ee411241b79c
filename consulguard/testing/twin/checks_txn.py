"""The Check operations of ``/v1/txn``: each is judged before any is done, so all happen or none."""

from __future__ import annotations

from typing import Any

from consulguard.testing.twin.catalog import Catalog
from consulguard.testing.twin.rows import CheckRow


def run_checks(catalog: Catalog, operations: list[dict[str, Any]]) -> tuple[list[CheckRow], list[dict[str, Any]]]:
    """(rows, errors): ``set``, ``cas``, ``get``, ``delete`` and ``delete-cas``."""
    errors = [
        {"OpIndex": at, "What": problem}
        for at, operation in enumerate(operations)
        if (problem := _problem(catalog, operation))
    ]
    if errors:
        return [], errors
    return [row for operation in operations for row in _do(catalog, operation)], []


def _problem(catalog: Catalog, operation: dict[str, Any]) -> str:
    verb, check = operation["Verb"], operation["Check"]
    node, check_id = check["Node"], check["CheckID"]
    old = catalog.checks.get(node, {}).get(check_id)
    if verb in ("cas", "delete-cas") and check.get("ModifyIndex", 0) != (old.modify_index if old else 0):
        return f'failed to {verb} check "{check_id}" on node "{node}", index is stale'
    if verb == "get" and old is None:
        return f'check "{check_id}" on node "{node}" doesn\'t exist'
    if verb in ("set", "cas"):
        if node not in catalog.nodes:
            return "Missing node registration"
        if check.get("ServiceID") and check["ServiceID"] not in catalog.services.get(node, {}):
            return "Missing service registration"
    return "" if verb in ("set", "cas", "get", "delete", "delete-cas") else f'unknown Check verb "{verb}"'


def _do(catalog: Catalog, operation: dict[str, Any]) -> list[CheckRow]:
    verb, check = operation["Verb"], operation["Check"]
    if verb.startswith("delete"):
        catalog.drop_check(check["Node"], check["CheckID"])
        return []
    if verb != "get":
        catalog.put_check(
            CheckRow(
                node=check["Node"],
                check_id=check["CheckID"],
                name=check.get("Name", ""),
                status=check.get("Status") or "critical",
                notes=check.get("Notes", ""),
                output=check.get("Output", ""),
                service_id=check.get("ServiceID", ""),
            )
        )
    return [catalog.checks[check["Node"]][check["CheckID"]]]
