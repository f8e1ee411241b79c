"""The field list of ECS, and a server that takes what shippers send: not Elasticsearch, only its ``_bulk``."""

from __future__ import annotations

import csv
import http.server
import json
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Self

LIST = (Path(__file__).parent / "ecs_fields.csv").read_text()
FIELDS = {row["field"]: row["type"] for row in csv.DictReader(LIST.splitlines())}
REQUIRED = {"@timestamp", "log.level", "message", "ecs.version"}  # ecs-logging's specification
OWN = "consulguard"


def flat(doc: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in doc.items():
        name = f"{above}{key}"
        if isinstance(value, dict) and FIELDS.get(name) != "object":
            yield from flat(value, f"{name}.")
        else:
            yield name, value


def flaws(doc: dict[str, Any]) -> list[str]:
    """What is not ECS about a document."""
    found = []
    for name, value in flat({key: value for key, value in doc.items() if key != OWN}):
        kind = FIELDS.get(name)
        if kind is None:
            found.append(f"{name} is no field of the schema")
        elif kind == "date":
            datetime.fromisoformat(value)
        elif kind == "long" and (isinstance(value, bool) or not isinstance(value, int)):
            found.append(f"{name} is no number")
        elif kind not in ("long", "object") and not isinstance(value, str):
            found.append(f"{name} is no text")
    return found


class Capture:
    """``docs`` are (index, id, document). ``answers``: statuses for the next requests, before all goes well again.

    A document whose id it has is refused with 409, as for ``create``; one of ``refuse`` with 400.
    """

    def __init__(self) -> None:
        self.docs: list[tuple[str, str, dict[str, Any]]] = []
        self.requests: list[str] = []
        self.answers: list[int] = []
        self.refuse: set[str] = set()
        capture = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                return None

            def answer(self, status: int, body: Any) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", self.headers.get("Accept") or "application/json")
                self.send_header("X-Elastic-Product", "Elasticsearch")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                self.answer(200, {"version": {"number": "9.0.0"}, "status": "green"})

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                capture.requests.append(f"{self.command} {self.path}")
                if capture.answers and (status := capture.answers.pop(0)) != 200:
                    self.answer(status, {"error": {"type": "made_up"}, "status": status})
                    return
                self.answer(200, capture.take(text) if "_bulk" in self.path else {"acknowledged": True})

            do_PUT = do_POST

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1})

    def take(self, text: str) -> dict[str, Any]:
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        items = []
        for action, doc in zip(lines[::2], lines[1::2], strict=True):
            ((verb, meta),) = action.items()
            key = meta.get("_id") or str(len(self.docs))
            known = key in {k for _, k, _ in self.docs}
            status = 400 if key in self.refuse else 409 if known else 201
            if status == 201:
                self.docs.append((meta.get("_index", ""), key, doc))
            error = {} if status == 201 else {"error": {"type": "made_up", "reason": "because"}}
            items.append({verb: {"_index": meta.get("_index", ""), "_id": key, "status": status, **error}})
        return {"took": 1, "errors": any(i[next(iter(i))]["status"] != 201 for i in items), "items": items}

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
