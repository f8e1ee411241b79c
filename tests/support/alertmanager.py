"""A real Alertmanager on loopback."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import time
from typing import Any, Self

import pytest
from consulguard.testing.ports import free_ports
from consulguard.testing.real_consul import scratch

BINARY = "prometheus-alertmanager"
STARTS_WITHIN_S = 60.0


class RealAlertmanager:
    """A server with a folder of its own, that tells nobody."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.address = f"http://127.0.0.1:{self.port}"
        self._folder = scratch("alertmanager.")
        self._config = self._folder / "alertmanager.yml"
        self._config.write_text(json.dumps({"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    BINARY,
                    f"--config.file={self._config}",
                    f"--storage.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--cluster.listen-address=",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + STARTS_WITHIN_S
        while self._get("/-/ready") is None:
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < end, self.log()
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def alerts(self) -> list[dict[str, Any]]:
        """Those that are not over, as its API tells them."""
        found = json.loads(self._get("/api/v2/alerts") or b"[]")
        return sorted(found, key=lambda a: sorted(a["labels"].items()))

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-3000:]

    def _get(self, path: str) -> bytes | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            return body if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def need_alertmanager() -> None:
    """Skip without an Alertmanager, or fail where the run says that it must be there."""
    if shutil.which(BINARY) is None:
        reason = f"{BINARY} is not installed: apt-get install {BINARY}"
        if os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
