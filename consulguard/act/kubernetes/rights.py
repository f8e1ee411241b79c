"""What each action needs of Kubernetes' RBAC, and what of it an account lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from consulguard.act.kubernetes.api import Rule


class Need(NamedTuple):
    """``resources``: as rules call them, any of which is enough: nobody restarts all kinds of workloads."""

    verb: str
    group: str
    resources: tuple[str, ...]

    def __str__(self) -> str:
        kinds = [f"{kind}.{self.group}" if self.group else kind for kind in self.resources]
        return f"{self.verb} {' or '.join(kinds)}"


_WORKLOADS = ("deployments", "statefulsets", "daemonsets")
NEEDS: dict[str, tuple[Need, ...]] = {
    "kubernetes.evict_pod": (Need("get", "", ("pods",)), Need("create", "", ("pods/eviction",))),
    "kubernetes.delete_pod": (Need("get", "", ("pods",)), Need("delete", "", ("pods",))),
    "kubernetes.rollout_restart": (Need("get", "apps", _WORKLOADS), Need("patch", "apps", _WORKLOADS)),
    "kubernetes.scale": (Need("get", "apps", _WORKLOADS[:2]), Need("patch", "apps", _WORKLOADS[:2])),
    "kubernetes.rollback": (Need("list", "apps", ("replicasets",)), Need("patch", "apps", ("deployments",))),
    "kubernetes.cordon": (Need("get", "", ("nodes",)), Need("patch", "", ("nodes",))),
}
CORDON = "kubernetes.cordon"  # nodes are in no namespace


def lacking(action: str, rules: Sequence[Rule]) -> list[str]:
    """What of it the rules do not give, in words. A right to some objects by name counts as one."""
    return [str(need) for need in NEEDS[action] if not any(_gives(rule, need) for rule in rules)]


def _gives(rule: Rule, need: Need) -> bool:
    verbs, groups, kinds = set(rule.verbs), set(rule.api_groups), set(rule.resources)
    return bool(verbs & {need.verb, "*"} and groups & {need.group, "*"} and kinds & {*need.resources, "*"})
