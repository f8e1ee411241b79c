"""Logs as ECS: the daemon's own lines, judged by the field list, and really shipped by rsyslog."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from consulguard.testing.twin import ConsulTwin

from tests.elk.support import OWN, REQUIRED, Capture, flat, flaws
from tests.support.waiting import eventually

BOOK = """
name: {name}
match: {{scope: service, matchers: ['service="web"']}}
steps: [{{name: tell, uses: notify, with: {{text: hello}}}}]
"""
SAY = """
import structlog
from consulguard.cli import doors
doors.set_up_logs("info", "ecs", False)
log = structlog.get_logger("consulguard.app")
log.warning("notify.failed", channel="slack", reason="gone\\nfishing", retry_in_s=1.5, new=["a"], stale="")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("step_failed", error="division by zero")
"""


def said(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_line_is_a_document_of_the_schema() -> None:
    done = subprocess.run([sys.executable, "-c", SAY], capture_output=True, text=True, check=True, timeout=60)
    docs = said(done.stderr)
    assert len(docs) == len(done.stderr.splitlines()) == 2
    for doc in docs:
        assert flaws(doc) == []
        assert dict(flat(doc)).keys() >= REQUIRED
        assert list(doc)[:3] == ["@timestamp", "log.level", "message"], "the specification's order"
    assert docs[0][OWN] == {
        "channel": "slack", "reason": "gone\nfishing", "retry_in_s": 1.5, "new": "['a']", "stale": ""
    }  # fmt: skip
    first, second = (dict(flat(doc)) for doc in docs)
    assert (first["event.action"], first["log.logger"]) == ("notify.failed", "consulguard.app")
    assert second["error.message"] == "division by zero"
    assert "ZeroDivisionError" in str(second["error.stack_trace"])


def test_what_is_no_ecs_would_be_found() -> None:
    doc = {"@timestamp": "2026-01-01T00:00:00+00:00", "message": "m", "reason": "r", "process": {"pid": "1"}}
    assert flaws(doc) == ["reason is no field of the schema", "process.pid is no number"]


@asynccontextmanager
async def daemon(folder: Path, log: Path) -> AsyncIterator[None]:
    """A real daemon that logs to a file; it looks for changed playbooks each second, and says so."""
    (folder / "playbooks").mkdir()
    async with ConsulTwin() as twin:
        config = {
            "consul": {"http_addr": twin.address},
            "playbooks": {"dir": "playbooks", "allow_empty": True, "reload": "1s"},
            "notify": {"console": False},
        }
        (folder / "c.yaml").write_text(json.dumps(config | {"journal": {"path": str(folder / "journal.sqlite")}}))
        command = [
            sys.executable,
            "-m",
            "consulguard",
            "run",
            "-c",
            str(folder / "c.yaml"),
            "--log-format",
            "ecs",
            "-v",
        ]
        with log.open("ab") as file:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        try:
            yield
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 60)


@pytest.mark.real
async def test_rsyslog_ships_what_a_daemon_says(tmp_path: Path) -> None:
    if shutil.which("rsyslogd", path=f"{os.environ['PATH']}:/usr/sbin") is None or not modules():
        sentence = "no rsyslogd with omelasticsearch: run scripts/install-test-tools.sh"
        pytest.fail(sentence) if os.environ.get("CONSULGUARD_REQUIRE_REAL") == "1" else pytest.skip(sentence)
    log = tmp_path / "consulguard.json"
    log.touch()
    with Capture() as capture:
        shipper = rsyslog(tmp_path, log, capture.port)
        try:
            async with daemon(tmp_path, log):
                await eventually(changed(tmp_path, capture), lambda docs: len(docs) >= 2, within_s=90.0)
            wanted = said(log.read_text())
            shipped = await eventually(lambda: seen(capture), lambda docs: len(docs) >= len(wanted), within_s=60.0)
        finally:
            shipper.terminate()
            await asyncio.to_thread(shipper.wait, 60)
        assert shipped == wanted
        assert wanted
        assert [flaws(doc) for doc in wanted] == [[]] * len(wanted)
        assert {index for index, _, _ in capture.docs} == {"logs-consulguard.log-default"}


def changed(folder: Path, capture: Capture) -> Callable[[], Awaitable[list[dict[str, object]]]]:
    """What was shipped, after one more playbook was put there: the daemon says that it saw it."""
    numbers = itertools.count()

    async def look() -> list[dict[str, object]]:
        name = f"book-{next(numbers)}"
        (folder / f"playbooks/{name}.yaml").write_text(BOOK.format(name=name))
        await asyncio.sleep(0.5)
        return await seen(capture)

    return look


async def seen(capture: Capture) -> list[dict[str, object]]:
    return [doc for _, _, doc in capture.docs]


def modules() -> list[Path]:
    return list(Path("/usr/lib").glob("*/rsyslog/omelasticsearch.so"))


def rsyslog(folder: Path, log: Path, port: int) -> subprocess.Popen[bytes]:
    """As in docs/elk.md."""
    (folder / "work").mkdir()
    (folder / "rsyslog.conf").write_text(f"""
global(workDirectory="{folder}/work")
module(load="imfile" mode="inotify") module(load="omelasticsearch")
template(name="raw" type="string" string="%msg%")
input(type="imfile" File="{log}" Tag="consulguard" ruleset="elastic" freshStartTail="off")
ruleset(name="elastic") {{
  action(type="omelasticsearch" server="127.0.0.1" serverport="{port}" searchIndex="logs-consulguard.log-default"
         searchType="" bulkmode="on" template="raw" action.resumeRetryCount="-1" action.resumeInterval="1")
}}
""")
    command = ["/usr/sbin/rsyslogd", "-n", "-f", str(folder / "rsyslog.conf"), "-i", str(folder / "rsyslog.pid")]
    with (folder / "rsyslog.out").open("wb") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
