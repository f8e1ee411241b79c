"""A real Prometheus on loopback that scrapes what the test says."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any, Self

import pytest
from consulguard.testing.ports import free_ports
from consulguard.testing.real_consul import scratch

STARTS_WITHIN_S = 90.0  # the first scrape comes after about six seconds on an idle machine
JOB = "shop"


class Exporter:
    """Answers a scrape with the samples of the moment: ``exporter.samples['errors{service="a"}'] = 0.3``."""

    def __init__(self) -> None:
        self.samples: dict[str, float] = {"ready": 1.0}
        exporter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = "".join(f"{name} {value}\n" for name, value in sorted(exporter.samples.items())).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                return None

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1})
        self._thread.start()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class RealPrometheus:
    """A server with a folder of its own. Samples arrive with a scrape: wait with ``shows`` before relying on one.

    A scrape that comes too late on a busy machine leaves a gap, so look with ``last_over_time(...[5m])``.
    """

    def __init__(self, *more: str) -> None:
        """``more``: host:port of what is scraped besides, as the job ``consulguard``."""
        self.exporter = Exporter()
        self.port = free_ports(1)[0]
        self.address = f"http://127.0.0.1:{self.port}"
        self._folder = scratch("prometheus.")
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
            "scrape_configs": [
                {"job_name": JOB, "static_configs": [{"targets": [self.exporter.place]}]},
                {"job_name": "consulguard", "static_configs": [{"targets": list(more)}]},
            ],
        }
        self._config = self._folder / "prometheus.yml"
        self._config.write_text(json.dumps(config))  # JSON is YAML
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            self.start()
            self.shows("ready", 1.0)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._config}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def shows(self, sample: str, value: float, within_s: float = STARTS_WITHIN_S) -> None:
        """Wait until a query of this sample gives the value."""
        end = time.monotonic() + within_s
        while self._value(sample) != value:
            assert self._process is not None
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < end, f"{sample} is not {value:g} within {within_s:g} s: {self.log()}"
            time.sleep(0.05)

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-3000:]

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.exporter.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _value(self, sample: str) -> float | None:
        try:
            found = self.ask(f"last_over_time({sample}[5m])")
        except (OSError, http.client.HTTPException):
            return None
        return float(found[0]["value"][1]) if found else None

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series an instant query gives. Raises OSError when it is not answered, or not well."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", f"/api/v1/query?query={urllib.parse.quote(query)}")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise OSError(f"{query}: {answer.status}: {body.decode(errors='replace')}")
            return list(json.loads(body)["data"]["result"])
        finally:
            connection.close()


def need_prometheus() -> None:
    """Skip without a Prometheus, or fail where the run says that it must be there."""
    if shutil.which("prometheus") is None:
        sentence = "no prometheus on PATH: run scripts/install-test-tools.sh"
        if os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)


@pytest.fixture(scope="module")
def prometheus() -> Iterator[RealPrometheus]:
    """One server for a whole module: its tests use label values of their own."""
    need_prometheus()
    with RealPrometheus() as server:
        yield server
