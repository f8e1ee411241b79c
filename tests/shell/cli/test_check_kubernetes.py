"""``consulguard check`` of Kubernetes: asked of a real API server what the account may do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from consulguard.act.kubernetes.rights import NEEDS
from consulguard.app.kube_rights import kubernetes_rights
from consulguard.config import Loaded, load

from tests.support.kube import RealKube

BOOK = """
name: {name}
mode: approve
match: {{scope: instance, matchers: ['service="web"']}}
steps: [{{name: act, uses: {uses}, with: {params}}}]
verify: {{within: 10s, target: {{passing_for: 1, replaced: true}}}}
"""
POD = '{namespace: shop, pod: "${target.meta.pod-name}"}'
WORKLOAD = "{namespace: shop, workload: deployment/web}"
PARAMS = {
    "kubernetes.evict_pod": POD,
    "kubernetes.delete_pod": POD,
    "kubernetes.rollout_restart": WORKLOAD,
    "kubernetes.scale": "{namespace: shop, workload: deployment/web, add: 1, max: 5}",
    "kubernetes.rollback": WORKLOAD,
    "kubernetes.cordon": '{node: "${target.node}"}',
}
GET_PODS: dict[str, Any] = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}


def configured(folder: Path, kubeconfig: str, namespaces: list[str], *uses: str, cordon: bool = False) -> Loaded:
    (folder / "playbooks").mkdir(exist_ok=True)
    for name in uses:
        text = BOOK.format(name=name.rpartition(".")[2].replace("_", "-"), uses=name, params=PARAMS[name])
        (folder / "playbooks" / f"{name}.yaml").write_text(text)
    wanted = {"kubeconfig": kubeconfig, "namespaces": namespaces, "cordon": cordon}
    given = {"actions": {"kubernetes": wanted}, "playbooks": {"dir": "playbooks", "allow_empty": True}}
    (folder / "c.yaml").write_text(json.dumps(given))
    return load(str(folder / "c.yaml"), {}, {})


@pytest.mark.real
async def test_what_the_account_lacks_is_named(real_kube: RealKube, tmp_path: Path, unique: str) -> None:
    real_kube.send("POST", "/api/v1/namespaces", {"metadata": {"name": unique}})
    evict = {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]}
    named = {
        "apiGroups": ["apps"],
        "resources": ["statefulsets"],
        "resourceNames": ["db"],
        "verbs": ["get", "patch"],
    }
    token = real_kube.token(unique, "guard", [GET_PODS, evict, named])
    loaded = configured(tmp_path, real_kube.kubeconfig(token=token), [unique, "default"], *PARAMS, cordon=True)
    said = {f.text: f.ok for f in await kubernetes_rights(loaded, 30)}
    here, there = f"in namespace {unique}", "in namespace default"
    assert said[f"kubernetes.evict_pod {here} has its rights"]
    assert said[f"kubernetes.rollout_restart {here} has its rights"], "by name, and one kind is enough"
    assert not said[f"kubernetes.delete_pod {here} lacks delete pods; see docs/actions.md"]
    lacks = "lacks list replicasets.apps, patch deployments.apps; see docs/actions.md"
    assert not said[f"kubernetes.rollback {here} {lacks}"]
    assert not said[f"kubernetes.evict_pod {there} lacks get pods, create pods/eviction; see docs/actions.md"]
    assert not said["kubernetes.cordon in nodes lacks get nodes, patch nodes; see docs/actions.md"]
    assert len(said) == 11


@pytest.mark.real
async def test_who_may_everything_lacks_nothing(real_kube: RealKube, tmp_path: Path) -> None:
    loaded = configured(tmp_path, real_kube.kubeconfig(), ["default"], *PARAMS, cordon=True)
    found = await kubernetes_rights(loaded, 30)
    assert len(found) == len(NEEDS)
    assert [f.text for f in found if not f.ok] == []
    assert await kubernetes_rights(configured(tmp_path, real_kube.kubeconfig(), []), 30) == []


@pytest.mark.real
async def test_a_token_nobody_knows_and_nobody_there(real_kube: RealKube, tmp_path: Path) -> None:
    stranger = configured(tmp_path, real_kube.kubeconfig(token="nobody's"), ["default"], "kubernetes.evict_pod")
    [finding] = await kubernetes_rights(stranger, 30)
    assert (finding.ok, "does not know our credentials" in finding.text) == (False, True)
    server = "https://127.0.0.1:1"
    nobody = configured(tmp_path, real_kube.kubeconfig(server=server), ["default"], "kubernetes.evict_pod")
    [finding] = await kubernetes_rights(nobody, 30)
    assert (finding.ok, "does not answer" in finding.text) == (False, True)


def test_every_action_of_kubernetes_has_its_needs() -> None:
    from consulguard import registry

    assert {name for name in registry.names(registry.ACTIONS) if name.startswith("kubernetes.")} == set(NEEDS)
