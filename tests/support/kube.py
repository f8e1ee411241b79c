"""A real kube-apiserver over a real etcd, on loopback. No controllers: tests write what those would."""

from __future__ import annotations

import atexit
import http.client
import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from consulguard.testing.ports import free_ports
from consulguard.testing.real_consul import scratch

ADMIN = "admin-token"
PATCH = "application/merge-patch+json"


def find_apiserver() -> Path | None:
    """``$CONSULGUARD_KUBE_APISERVER``, else where scripts/install-kube-apiserver.sh puts it, else None."""
    named = os.environ.get("CONSULGUARD_KUBE_APISERVER")
    found = Path(named) if named else _cache() / "kube-apiserver"
    return found if os.access(found, os.X_OK) else None


def find_etcd() -> Path | None:
    """Where the same script puts it, else on PATH, else None."""
    cached = _cache() / "etcd"
    on_path = shutil.which("etcd")
    return cached if os.access(cached, os.X_OK) else Path(on_path) if on_path else None


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "consulguard/kube-apiserver"


def lax() -> ssl.SSLContext:
    """For what tests do themselves; the actions check the certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class RealKube:
    """The two processes, a kubeconfig for each user, and a blocking client for what tests themselves do."""

    def __init__(self) -> None:
        self.folder = scratch("kube-")
        client, peer, self.port = free_ports(3)
        self._etcd = f"http://127.0.0.1:{client}"
        self._peer = f"http://127.0.0.1:{peer}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._line: http.client.HTTPSConnection | None = None
        self.address = f"https://127.0.0.1:{self.port}"

    def open(self) -> None:
        atexit.register(self.close)
        key = self.folder / "sa.key"
        command = ["openssl", "genrsa", "-out", str(key), "2048"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        (self.folder / "tokens.csv").write_text(f"{ADMIN},admin,admin,system:masters\n")
        self._start("etcd", [str(find_etcd()), *self._etcd_flags()])
        self._start("apiserver", [str(find_apiserver()), *self._apiserver_flags(key)])
        self._until_ready()

    def _etcd_flags(self) -> list[str]:
        return [
            f"--data-dir={self.folder}/etcd",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls={self._peer}",
            f"--initial-advertise-peer-urls={self._peer}",
            f"--initial-cluster=default={self._peer}",
        ]

    def _apiserver_flags(self, key: Path) -> list[str]:
        return [
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.folder}/certs",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={self.folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",  # nobody makes the default accounts here
            "--watch-cache=false",
        ]

    def _start(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def _until_ready(self, within_s: float = 90.0) -> None:
        deadline = time.monotonic() + within_s
        while True:
            try:
                if self.raw("GET", "/readyz")[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            gone = [p for p in self._processes if p.poll() is not None]
            if gone or time.monotonic() > deadline:
                raise RuntimeError(f"Kubernetes did not start: {self._log_end()}")
            time.sleep(0.1)

    def _log_end(self) -> str:
        return (self.folder / "apiserver.log").read_text(errors="replace")[-1500:]

    def close(self) -> None:
        self._hang_up()
        for process in self._processes:  # nothing of theirs is kept, and a farewell takes its time
            process.kill()
            process.wait()
        self._processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- what a test does itself

    def raw(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> tuple[int, Any]:
        """As the administrator: status and decoded answer."""
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": kind}
        if self._line is None:
            self._line = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=lax())
        try:
            self._line.request(method, path, body=json.dumps(body) if body is not None else None, headers=headers)
            answer = self._line.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            self._hang_up()
            raise
        is_json = "json" in (answer.getheader("Content-Type") or "")
        return answer.status, json.loads(said) if is_json else said

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def send(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """As ``raw``, and it must go well."""
        status, said = self.raw(method, path, body, kind)
        assert status in (200, 201, 202), said
        return said

    def get(self, path: str) -> Any:
        """The object, or None."""
        status, said = self.raw("GET", path)
        assert status in (200, 404), said
        return said if status == 200 else None

    def kubeconfig(self, *, token: str = ADMIN, server: str = "") -> str:
        """Path of a kubeconfig; ``server`` may be a proxy's address."""
        certificate = self.folder / "certs/apiserver.crt"
        path = self.folder / f"kubeconfig-{os.urandom(4).hex()}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "c",
                    "cluster": {"server": server or self.address, "certificate-authority": str(certificate)},
                }
            ],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path.write_text(json.dumps(config))  # JSON is YAML
        return str(path)

    def token(self, namespace: str, account: str, rules: list[dict[str, Any]]) -> str:
        """A real service account's token, with a role of these rules in the namespace."""
        at, rbac = f"/api/v1/namespaces/{namespace}", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        meta = {"metadata": {"name": account}}
        self.send("POST", f"{at}/serviceaccounts", meta)
        self.send("POST", f"{rbac}/roles", {**meta, "rules": rules})
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
        self.send("POST", f"{rbac}/rolebindings", {**meta, "roleRef": role, "subjects": [subject]})
        made = self.send("POST", f"{at}/serviceaccounts/{account}/token", {"spec": {"audiences": []}})
        return str(made["status"]["token"])


def need_kube() -> None:
    """Skip without the binaries, or fail where the run says that they must be there."""
    missing = [name for name, found in (("kube-apiserver", find_apiserver()), ("etcd", find_etcd())) if not found]
    if missing:
        sentence = f"no {' and no '.join(missing)}: run scripts/install-test-tools.sh"
        if os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)


@pytest.fixture(scope="session")
def real_kube() -> Iterator[RealKube]:
    """One Kubernetes for all tests of a worker: each makes a namespace of its own."""
    need_kube()
    kube = RealKube()
    try:
        kube.open()
        yield kube
    finally:
        kube.close()
