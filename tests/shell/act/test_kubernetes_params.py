"""Parameters of the Kubernetes actions, and previews: refused or shown before anybody is asked."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from consulguard.act import ActSettings, KubeSettings
from consulguard.act.runner import perform
from consulguard.errors import ActionRefused
from consulguard.model import Outcome, Target

from tests.shell.act.kube_support import ACTIONS
from tests.shell.act.support import INSTANCE, context, intent

POD = {"namespace": "shop", "pod": "web-1"}
WEB = {"namespace": "shop", "workload": "deployment/web"}


def preview(action: str, params: dict[str, Any], target: Target = INSTANCE, *, undo: bool = False) -> str:
    name = f"kubernetes.{action}"
    return ACTIONS[name].preview(intent(name, params, target=target, undo=undo), params)


@pytest.mark.parametrize(
    "name",
    ["web;rm -rf /", "$(id)", "../../nodes", "-rf", "a/b", "Web", "web\n", "", "wеb", "a..b", "a" * 254, "."],
)
def test_names_kubernetes_itself_would_not_give_are_refused(name: str) -> None:
    for params in (POD | {"pod": name}, POD | {"namespace": name}):
        with pytest.raises(ActionRefused):
            preview("evict_pod", params)
    for params in (WEB | {"workload": f"deployment/{name}"}, {"namespace": "shop", "service": name}):
        with pytest.raises(ActionRefused):
            preview("rollout_restart", params)
    with pytest.raises(ActionRefused):
        preview("cordon", {"node": name})


@pytest.mark.parametrize(
    ("action", "params", "words"),
    [
        ("evict_pod", {"namespace": "kube-system", "pod": "dns"}, "never acted upon"),
        ("evict_pod", POD | {"grace_period": 0}, "grace_period"),
        ("rollout_restart", {"namespace": "shop"}, "exactly one of workload, pod and service"),
        ("rollout_restart", WEB | {"pod": "web-1"}, "exactly one of workload, pod and service"),
        ("rollout_restart", WEB | {"workload": "job/web"}, "workload"),
        ("rollout_restart", WEB | {"workload": "web"}, "workload"),
        ("scale", WEB, "exactly one of replicas, add and remove"),
        ("scale", WEB | {"replicas": 2, "add": 1}, "exactly one of replicas, add and remove"),
        ("scale", WEB | {"replicas": 0}, "replicas"),
        ("scale", WEB | {"replicas": "3"}, "replicas"),
        ("scale", WEB | {"replicas": True}, "replicas"),
        ("scale", WEB | {"replicas": 9, "max": 5}, "between min and max"),
        ("scale", WEB | {"add": 1}, "add needs max"),
        ("scale", WEB | {"remove": 1, "min": 5, "max": 2}, "max is less than min"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(action: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(ActionRefused, match=words):
        preview(action, params)


@pytest.mark.parametrize("action", ["evict_pod", "delete_pod"])
def test_a_whole_service_has_no_pod(action: str) -> None:
    with pytest.raises(ActionRefused, match="needs an instance"):
        preview(action, POD, INSTANCE.of_service())


def test_previews_name_what_would_be_touched() -> None:
    assert preview("evict_pod", POD).startswith("POST /api/v1/namespaces/shop/pods/web-1/eviction")
    assert preview("delete_pod", POD).startswith("DELETE /api/v1/namespaces/shop/pods/web-1")
    assert "shop/deployment/web" in preview("rollout_restart", WEB)
    assert "pod web-1 in namespace shop" in preview("rollback", POD)
    assert "replicas: 2 more, 5 at most" in preview("scale", WEB | {"add": 2, "max": 5})
    assert "replicas: 1 fewer, 2 at least" in preview("scale", WEB | {"remove": 1, "min": 2})
    assert "before" in preview("scale", WEB | {"replicas": 4}, undo=True)
    assert "schedulable again" in preview("cordon", {"node": "local"}, undo=True)


@pytest.mark.parametrize("text", [None, "", "[]", "clusters: 3", "{a: [", "current-context: nobody"])
async def test_a_kubeconfig_that_is_none_fails_with_a_sentence(tmp_path: Any, text: str | None) -> None:
    path = tmp_path / "kube"
    if text is not None:
        path.write_text(text)
    kube = KubeSettings(kubeconfig=str(path), namespaces=("shop",))
    ctx = context("http://127.0.0.1:9", ActSettings(kubernetes=kube))
    async with ctx.consul:
        result = await perform(intent("kubernetes.rollback", WEB), ACTIONS, ctx)
    assert result.outcome is Outcome.FAILED
    assert "cannot be used to reach Kubernetes" in result.detail


BROKEN = """
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: u, token: s3cr3t-token, client-key-data: s3cr3t-key}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


@pytest.mark.parametrize("text", [BROKEN, BROKEN.replace("users: [", "users: [s3cr3t: {"), BROKEN + "{s3cr3t: ["])
async def test_nothing_of_a_broken_kubeconfig_is_repeated(tmp_path: Any, text: str) -> None:
    (tmp_path / "kube").write_text(text)
    kube = KubeSettings(kubeconfig=str(tmp_path / "kube"), namespaces=("shop",))
    ctx = context("http://127.0.0.1:9", ActSettings(kubernetes=kube))
    async with ctx.consul:
        result = await perform(intent("kubernetes.rollback", WEB), ACTIONS, ctx)
    assert result.outcome is not Outcome.DONE
    assert "s3cr3t" not in result.detail


def test_the_library_is_loaded_only_when_it_is_needed() -> None:
    """It takes seconds: no verb of the command line should wait for it."""
    look = "import sys; from consulguard.app import wiring; wiring.actions(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=100)
    assert "consulguard.act.kubernetes.api" in done.stdout.split()
    assert "kubernetes_asyncio" not in done.stdout.split()


async def test_outside_of_a_cluster_a_kubeconfig_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    ctx = context("http://127.0.0.1:9", ActSettings(kubernetes=KubeSettings(namespaces=("shop",))))
    async with ctx.consul:
        result = await perform(intent("kubernetes.rollback", WEB), ACTIONS, ctx)
    assert result.outcome is Outcome.FAILED
    assert "the pod's service account cannot be used" in result.detail
