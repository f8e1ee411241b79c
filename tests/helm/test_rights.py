"""Rights follow the actions that are switched on, and nothing that is never needed is among them."""

from __future__ import annotations

import json
from typing import Any

from tests.helm import support

ACTIONS = ("rolloutRestart", "deletePod", "evictPod", "scale", "rollback", "cordon")
UNITS = (
    *("--set", "coordinate.backend=kubernetes", "--set", "journal.store=postgresql"),
    *("--set", "journal.postgresql.existingSecret=dsn"),
    *("--set", "coordinate.units[0].datacenter=dc1", "--set", "coordinate.units[1].datacenter=dc2"),
)
RIGHTS = support.HERE / "golden/rights.json"


def rights(*flags: str) -> list[str]:
    """``kind verb resource`` of every rule, with the names it is limited to."""
    found = []
    for (kind, _, _), doc in support.objects("default", "1.31", *flags).items():
        if kind not in ("Role", "ClusterRole"):
            continue
        for rule in doc["rules"]:
            names = f" only {','.join(rule['resourceNames'])}" if "resourceNames" in rule else ""
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    where = f"{resource}.{group}" if group else resource
                    found += [f"{kind} {verb} {where}{names}" for verb in rule["verbs"]]
    return sorted(set(found))


def on(*actions: str) -> tuple[str, ...]:
    return tuple(part for action in actions for part in ("--set", f"rbac.actions.{action}=true"))


def rights_of_each_action() -> dict[str, list[str]]:
    found = {"none": rights()}
    found |= {action: rights(*on(action)) for action in ACTIONS}
    found["all"] = rights(*on(*ACTIONS))
    found["lease"] = rights("--set", "coordinate.backend=kubernetes")
    found["units"] = rights(*UNITS)
    return found


def test_rights_are_the_golden_ones() -> None:
    assert rights_of_each_action() == json.loads(RIGHTS.read_text()), "python -m tests.helm.make_golden"


def test_what_is_never_needed() -> None:
    every = rights_of_each_action()
    assert every["none"] == []
    text = "\n".join(line for lines in every.values() for line in lines)
    for never in ("secrets", "pods/exec", "nodes/proxy", "escalate", "bind", "impersonate", "*", "watch"):
        assert never not in text, never
    made = [line for line in text.splitlines() if " create " in line]
    assert set(made) == {"Role create pods/eviction", "Role create leases.coordination.k8s.io"}


def test_roles_are_in_the_namespaces_that_are_named_and_bound_to_our_account() -> None:
    found = support.objects("acting")
    roles = {key[1] for key in found if key[0] == "Role"}
    assert roles == {"shop", "pay"}
    for (kind, namespace, _), doc in found.items():
        if kind == "RoleBinding":
            assert doc["subjects"] == [{"kind": "ServiceAccount", "name": "demo-consulguard", "namespace": "ops"}]
            assert ("Role", namespace, doc["roleRef"]["name"]) in found
    patch = [r for r in found["Role", "shop", "demo-consulguard-actions"]["rules"] if "patch" in r["verbs"]]
    assert [r["resourceNames"] for r in patch] == [["web", "pay-api"]]


def test_the_account_token_is_mounted_only_when_it_is_needed() -> None:
    def mounted(name: str) -> Any:
        return support.only(name, "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"]

    assert [mounted(name) for name in support.SETS] == [False, True, True, True, True]
