"""The chart as Helm 3 and Helm 4 render it: valid, restricted, and what consulguard itself understands."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from consulguard import plan
from consulguard.config import load
from ruamel.yaml import YAML

from tests.helm import support

OPERATOR = {"ServiceMonitor", "PrometheusRule"}  # not Kubernetes' own: no schema is published offline


def test_lint_is_strict_and_silent() -> None:
    for name in support.SETS:
        done = support.helm("lint", "--strict", str(support.CHART), "--values", str(support.values(name)))
        assert done.returncode == 0, done.stdout
        assert "WARNING" not in done.stdout


@pytest.mark.parametrize("name", support.SETS)
def test_renders_are_the_golden_ones(name: str) -> None:
    golden = (support.HERE / f"golden/{name}.yaml").read_text()
    assert support.rendered(name) == golden, "python -m tests.helm.make_golden, and look at the difference"


@pytest.mark.parametrize("kube", support.KUBE)
@pytest.mark.parametrize("name", support.SETS)
def test_objects_are_valid_for_three_kubernetes_versions(name: str, kube: str) -> None:
    for doc in support.documents(support.rendered(name, kube)):
        if doc["kind"] not in OPERATOR:
            kubernetes_validate.validate(doc, kube, strict=True)  # an unknown kind raises as well


def test_what_is_invalid_or_unknown_would_be_found() -> None:
    good = support.only("default", "Deployment")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(good | {"spec": good["spec"] | {"replicaz": 1}}, "1.31", strict=True)
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate(
            good | {"apiVersion": "policy/v1beta1", "kind": "Nothing"}, "1.31", strict=True
        )


def test_helm_4_renders_the_same() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import helm_python
    for name in support.SETS:
        given = YAML(typ="safe").load(support.values(name))
        with helm_python.Chart.load(str(support.CHART)) as chart:
            files = chart.render(given, name="demo", namespace="ops")
        text = [text for path, text in files.items() if path.endswith(".yaml")]
        four = [doc for one in text for doc in support.documents(one)]
        three = support.documents(support.rendered(name))
        assert _keyed(four) == _keyed(three)
        assert not helm_python.lint(str(support.CHART), strict=True)["errors"]


def _keyed(docs: list[support.Doc]) -> dict[tuple[str, str, str], support.Doc]:
    return {(d["kind"], d["metadata"].get("namespace", ""), d["metadata"]["name"]): d for d in docs}


@pytest.mark.parametrize("name", support.SETS)
def test_pods_are_restricted(name: str) -> None:
    """Pod Security "restricted", and stricter: read-only root, memory limit = request, own user."""
    found = support.objects(name)
    pods = [d["spec"] for (kind, _, _), d in found.items() if kind == "Pod"]
    pods += [d["spec"]["template"]["spec"] for (kind, _, _), d in found.items() if kind == "Deployment"]
    assert len(pods) == 2, "the daemon's and helm test's"
    for pod in pods:
        of_pod = pod["securityContext"]
        assert of_pod["runAsNonRoot"] is True
        assert of_pod["runAsUser"] >= 10_000
        assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
        for container in pod["containers"]:
            of_container = container["securityContext"]
            assert of_container["allowPrivilegeEscalation"] is False
            assert of_container["readOnlyRootFilesystem"] is True
            assert of_container["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
            assert not any("hostPort" in port for port in container.get("ports", ()))
        kinds = {kind for volume in pod.get("volumes", ()) for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "emptyDir", "secret", "persistentVolumeClaim"}


@pytest.mark.parametrize("name", support.SETS)
def test_no_secret_is_made_and_none_is_in_the_environment(name: str) -> None:
    found = support.objects(name)
    assert not [key for key in found if key[0] == "Secret"]
    assert "secretKeyRef" not in support.rendered(name)


@pytest.mark.parametrize("name", support.SETS)
def test_consulguard_takes_the_configuration_and_the_playbooks(name: str, tmp_path: Path) -> None:
    """What the daemon would read in the pod, read by its own loader."""
    found = support.objects(name)
    maps = {key[2]: doc["data"] for key, doc in found.items() if key[0] == "ConfigMap" and "data" in doc}
    fullname = support.only(name, "Deployment")["metadata"]["name"]
    (tmp_path / "consulguard.yaml").write_text(maps[fullname]["consulguard.yaml"])
    loaded = load(str(tmp_path / "consulguard.yaml"), env={})
    assert loaded.config.server.listen == "0.0.0.0:9415"
    for file, text in (maps[f"{fullname}-playbooks"] or {}).items():
        assert plan.parse(text, file).id == file.removesuffix(".yaml")
    mounts = {m["mountPath"] for m in _container(name)["volumeMounts"]}
    for path in _paths(loaded.config.model_dump()):
        assert any(path.startswith(f"{mount}/") or path == mount for mount in mounts), path


def _container(name: str) -> Any:
    return support.only(name, "Deployment")["spec"]["template"]["spec"]["containers"][0]


def _paths(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [path for inner in value.values() for path in _paths(inner)]
    return [value] if isinstance(value, str) and value.startswith("/") else []


def test_config_goes_over_what_the_chart_says() -> None:
    text = support.objects("acting")["ConfigMap", "", "demo-consulguard"]["data"]["consulguard.yaml"]
    config = YAML(typ="safe").load(text)
    assert config["guards"] == {"max_open": 1}
    assert config["actions"]["kubernetes"] == {"namespaces": ["shop", "pay"]}
    assert config["mode"] == "approve"


def test_a_changed_configuration_rolls_the_pod_and_a_changed_playbook_does_not() -> None:
    def checksum(*flags: str) -> str:
        (found,) = [d for (k, _, _), d in support.objects("default", "1.31", *flags).items() if k == "Deployment"]
        return str(found["spec"]["template"]["metadata"]["annotations"]["checksum/config"])

    assert checksum() != checksum("--set", "mode=auto")
    assert checksum() == checksum("--set", "playbooks.a=name: a")


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--set", "replicaCount=2"), "journal.store"),
        (("--set", "replicaCount=2,journal.store=postgresql,journal.postgresql.existingSecret=a"), "backend"),
        (("--set", "replicaCount=0"), "replicaCount"),
        (("--set", "journal.store=postgresql"), "existingSecret"),
        (("--set", "coordinate.backend=zookeeper"), "hosts"),
        (("--set", "slack.enabled=true"), "existingSecret"),
        (("--set", "mode=AUTO"), "mode"),
        (("--set", "replicaCounts=1"), "replicaCounts"),
        (("--set", "rbac.actions.exec=true"), "exec"),
        (("--set", "rbac.namespaces={kube-system}"), "rbac.namespaces"),
        (("--set", "consul.address=consul:8500"), "consul.address"),
        (("--set", "persistence.accessModes={ReadWriteMany}"), "accessModes"),
        (("--set", "ingress.enabled=true"), "ingress.host"),
        (("--set", "image.digest=latest"), "image.digest"),
    ],
)
def test_values_that_make_no_sense_are_refused(flags: tuple[str, ...], word: str) -> None:
    assert word in support.refused(*flags)


def test_the_network_is_closed_but_for_what_is_named() -> None:
    policy = support.only("default", "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    ports = [[p["port"] for p in rule["ports"]] for rule in policy["egress"]]
    assert ports == [[53, 53], [8500]]
    acting = support.only("acting", "NetworkPolicy")["spec"]
    assert [[p["port"] for p in rule["ports"]] for rule in acting["egress"]] == [
        [53, 53],
        [8501],
        [443],
        [443, 6443],
    ]
    closed = support.only("everything", "NetworkPolicy")["spec"]
    assert closed["ingress"] == []


def test_two_replicas_are_not_rolled_at_once_and_one_is_replaced() -> None:
    assert support.only("default", "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    rolling = support.only("replicas", "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 1, "maxSurge": 0}
    assert not [key for key in support.objects("replicas") if key[0] == "PersistentVolumeClaim"]


def test_zookeeper_may_be_reached_at_its_ports() -> None:
    flags = ("coordinate.backend=zookeeper", "coordinate.zookeeper.hosts={a:2181,b:2181,c:2182}")
    text = support.rendered("default", "1.31", *(f for flag in flags for f in ("--set", flag)))
    [policy] = [d for d in support.documents(text) if d["kind"] == "NetworkPolicy"]
    open_ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
    assert {2181, 2182} <= set(open_ports)


@pytest.mark.parametrize(
    ("tracing", "port"),
    [
        ("enabled=true", 4318),
        ("enabled=true,config.tracing.endpoint=http://collector/v1/traces", 80),
        ("enabled=true,config.tracing.endpoint=https://collector.example/v1/traces", 443),
        ("enabled=true,config.tracing.endpoint=https://[2001:db8::1]:9999/v1/traces", 9999),
        ("enabled=false", None),
    ],
)
def test_the_collector_may_be_reached_at_its_port(tracing: str, port: int | None) -> None:
    text = support.rendered("default", "1.31", "--set", f"config.tracing.{tracing}")
    [policy] = [d for d in support.documents(text) if d["kind"] == "NetworkPolicy"]
    open_ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
    assert open_ports == [53, 53, 8500, *([port] if port else [])]


def test_the_guides_command_gives_two_replicas() -> None:
    page = (support.ROOT / "docs/kubernetes.md").read_text()
    [command] = [line.split() for line in page.splitlines() if "replicaCount=2" in line]
    assert command[:4] == ["helm", "install", "consulguard", "helm/consulguard"]
    flags = [part for part in command[4:] if part != "--create-namespace"]
    done = support.helm("template", "consulguard", str(support.CHART), *flags)
    assert done.returncode == 0, done.stderr
    [made] = [d for d in support.documents(done.stdout) if d["kind"] == "Deployment"]
    assert made["spec"]["replicas"] == 2
