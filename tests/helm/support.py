"""The chart, rendered by the real Helm."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/consulguard"
HERE = Path(__file__).parent
SETS = ("default", "acting", "everything", "replicas", "datacenters")
KUBE = ("1.29", "1.31", "1.34")
OLD = ("--api-versions", "policy/v1beta1")

Doc = dict[str, Any]


def find_helm() -> Path | None:
    """``$CONSULGUARD_HELM``, else where scripts/install-helm.sh puts it, else None."""
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = Path(os.environ.get("CONSULGUARD_HELM") or cache_home / "consulguard/helm/helm")
    return found if os.access(found, os.X_OK) else None


def need_helm() -> None:
    """Skip without Helm, or fail where the run says that it must be there."""
    if find_helm() is None:
        sentence = "no helm: run scripts/install-test-tools.sh"
        if os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)


def helm(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    need_helm()
    command = [str(find_helm()), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=os.environ | (env or {})
    )


def values(name: str) -> Path:
    return HERE / f"values/{name}.yaml"


@cache
def rendered(name: str, kube: str = "1.31", *more: str) -> str:
    """All objects of a value set, as Helm 3 writes them."""
    flags = ("--namespace", "ops", "--kube-version", kube, "--values", str(values(name)), *more)
    done = helm("template", "demo", str(CHART), *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*flags: str) -> str:
    """What Helm says against these values."""
    done = helm("template", "demo", str(CHART), "--kube-version", "1.31", *flags)
    assert done.returncode != 0, done.stdout[:500]
    return done.stderr


def documents(text: str) -> list[Doc]:
    return [doc for doc in YAML(typ="safe").load_all(text) if doc]


def objects(name: str, kube: str = "1.31", *more: str) -> dict[tuple[str, str, str], Doc]:
    """By kind, namespace (empty: the release's) and name."""
    found = documents(rendered(name, kube, *more))
    keyed = {(d["kind"], d["metadata"].get("namespace", ""), d["metadata"]["name"]): d for d in found}
    assert len(keyed) == len(found), "two objects of one name"
    return keyed


def only(name: str, kind: str) -> Doc:
    (found,) = [d for d in documents(rendered(name)) if d["kind"] == kind]
    return found
