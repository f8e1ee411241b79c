"""Installed, upgraded, rolled back and uninstalled on a real kube-apiserver, and what its account may do there."""

from __future__ import annotations

import http.client
import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helm import support
from tests.helm.test_rights import ACTIONS, on
from tests.support.kube import RealKube, lax

pytestmark = pytest.mark.real
NAMESPACE = "chart"
AT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/demo-consulguard"


class Release:
    def __init__(self, kube: RealKube) -> None:
        self.kube = kube
        self._env = {"KUBECONFIG": kube.kubeconfig()}

    def helm(self, *arguments: str) -> str:
        done = support.helm(*arguments, "--namespace", NAMESPACE, env=self._env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def deployed(self) -> Any:
        return self.kube.get(AT)


@pytest.fixture
def release(real_kube: RealKube) -> Iterator[Release]:
    real_kube.send("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    release = Release(real_kube)
    yield release
    if release.deployed() is not None:
        release.helm("uninstall", "demo")


def test_from_install_to_uninstall(release: Release) -> None:
    values = ("--values", str(support.values("default")))
    told = release.helm("install", "demo", str(support.CHART), *values)
    assert "mode observe" in told, "the notes say what to do next"
    first = release.deployed()
    assert first["spec"]["template"]["spec"]["automountServiceAccountToken"] is False

    release.helm("upgrade", "demo", str(support.CHART), *values, *on(*ACTIONS), "--set", "mode=auto")
    second = release.deployed()
    assert second["spec"]["template"] != first["spec"]["template"]
    may = rules(release.kube)
    assert "list" in may["apps/deployments"]
    assert may["pods/eviction"] == {"create"}
    assert may["nodes"] == {"get", "patch"}
    assert not {"secrets", "pods/exec", "*"} & set(may)

    release.helm("rollback", "demo", "1")
    assert release.deployed()["spec"]["template"]["spec"] == first["spec"]["template"]["spec"]
    assert not {"pods", "nodes", "apps/deployments"} & set(rules(release.kube)), "the rights went with the actions"

    release.helm("uninstall", "demo")
    assert release.deployed() is None
    claim = release.kube.get(f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims/demo-consulguard")
    assert claim is not None, "the journal is kept"


def rules(kube: RealKube) -> dict[str, set[str]]:
    """What the API server says that the release's account may do in its namespace: resource to verbs."""
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/demo-consulguard/token"
    token = kube.send("POST", account, {"spec": {"audiences": []}})["status"]["token"]
    line = http.client.HTTPSConnection("127.0.0.1", kube.port, timeout=60, context=lax())
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    line.request("POST", path, body=json.dumps({"spec": {"namespace": NAMESPACE}}), headers=headers)
    said = json.loads(line.getresponse().read())
    line.close()
    found: dict[str, set[str]] = {}
    for rule in said["status"]["resourceRules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault(f"{group}/{resource}" if group else resource, set()).update(rule["verbs"])
    return found


def test_the_guides_two_commands(real_kube: RealKube) -> None:
    """From nothing to two replicas, as the page says it; what a kubelet would then find is there."""
    lines = (support.ROOT / "docs/kubernetes.md").read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if "replicaCount=2" in line)
    install, secret = shlex.split(lines[first]), shlex.split(lines[first + 1])
    assert install[:4] == ["helm", "install", "consulguard", "helm/consulguard"]
    assert secret[:7] == ["kubectl", "-n", "consulguard", "create", "secret", "generic", "consulguard-secrets"]
    env = {"KUBECONFIG": real_kube.kubeconfig()}
    done = support.helm(*install[1:3], str(support.CHART), *install[4:], env=env)
    try:
        assert done.returncode == 0, done.stderr
        assert "waits for these Secrets in the namespace consulguard: consulguard-secrets." in done.stdout
        given = dict(part.removeprefix("--from-literal=").split("=", 1) for part in secret[7:])
        body = {"metadata": {"name": secret[6]}, "stringData": given}
        made = real_kube.send("POST", "/api/v1/namespaces/consulguard/secrets", body)

        deployed = real_kube.get("/apis/apps/v1/namespaces/consulguard/deployments/consulguard")["spec"]
        pod = deployed["template"]["spec"]
        assert deployed["replicas"] == 2
        wanted = {v["name"]: v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
        assert wanted == {"consul": secret[6], "postgresql": secret[6]}
        at = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        config = real_kube.get("/api/v1/namespaces/consulguard/configmaps/consulguard")["data"]["consulguard.yaml"]
        for volume, key in (("consul", "token"), ("postgresql", "dsn")):
            assert f"{at[volume]}/{key}" in config
            assert key in made["data"]
    finally:
        support.helm("uninstall", "consulguard", "--namespace", "consulguard", env=env)
