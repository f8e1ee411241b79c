"""Installed, upgraded, rolled back and uninstalled on a real kube-apiserver, and what its account may do there."""

from __future__ import annotations

import http.client
import json
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
