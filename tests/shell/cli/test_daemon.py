"""The daemon as a process on a real Consul: its doors, its journal, its end."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.shell.cli.support import Cli, send

pytestmark = pytest.mark.real

FAST = {
    "watch": {"settle": "1s"},
    "health": {"recovery": "1s"},
    "guards": {"hold_down": "1s", "root_settle": "1s"},
    "notify": {"group_wait": "1s"},
}


class Daemon:
    """``consulguard run`` until the block is left, which is a SIGTERM and exit code 0."""

    def __init__(self, cli: Cli, *args: str) -> None:
        self.log = cli.folder / "run.log"
        self._argv = ("run", "-c", str(cli.config), "--log-format", "json", *args)
        self._cli = cli

    def __enter__(self):
        self.log.unlink(missing_ok=True)
        self.process = self._cli.start(*self._argv, out=self.log, err=self.log)
        return self

    def __exit__(self, *failed):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(30)
        finally:
            self.process.kill()
        assert any(failed) or (code == 0 and "Traceback" not in self.text()), self.text()

    def text(self) -> str:
        return self.log.read_text()

    def until(self, look, within_s=40.0):
        """What ``look`` gives when it is true."""
        end = time.monotonic() + within_s
        while not (seen := look()):
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            time.sleep(0.1)
        return seen

    def listening(self):
        self.until((self._cli.folder / "state/journal.sock").exists)


@pytest.fixture
def cli(tmp_path, mesh):
    return Cli(tmp_path, mesh.address, **FAST)


def test_a_life_of_the_daemon(cli):
    """One long story, because a start is slow: doors, a second daemon, commands, incidents, the record."""
    with Daemon(cli) as daemon:
        daemon.listening()
        daemon.until(lambda: "inc-" in daemon.text())
        second = cli.with_config("run")
        assert second.code == 74
        assert str(daemon.process.pid) in second.err
        assert second.err.count("\n") == 1

        done = cli.with_config("pause", "--reason", "moving house", "--for", "1h")
        assert done.code == 0
        assert re.fullmatch(r"paused until \S+ \S+Z: moving house\n", done.out)
        paused = cli.with_config("status", "-o", "json").json["paused"]
        assert [(p["why"], p["depth"], p["who"]) for p in paused] == [
            ("moving house", "pause", "tester (command line)")
        ]
        assert paused[0]["until"] > paused[0]["since"]
        told = cli.with_config("status")
        assert (told.code, "paused" in told.out) == (6, True)
        assert cli.with_config("resume", "--reason", "nothing").code == 1
        step = cli.with_config("plan", "-o", "json").json["incidents"][0]["steps"][0]
        assert {g["guard"]: g["verdict"] for g in step["guards"]}["pause"] != "ALLOW"
        assert cli.with_config("resume").code == 0
        assert cli.with_config("status", "-o", "json").json["paused"] == []

        incidents(cli)
        assert cli.with_config("journal", "verify").code == 0
    assert not (cli.folder / "state/journal.sock").exists()
    the_record(cli)


def incidents(cli):
    """The daemon's own incidents, by their lasting ids."""
    listed = cli.with_config("incident", "list", "-o", "json").json["incidents"]
    incident = next(i for i in listed if i["root"]["name"] == "c")
    shown = cli.with_config("incident", "show", incident["id"], "-o", "json").json
    assert shown["root"] == incident["root"]
    assert shown["playbook"]["name"] == "drain"
    assert shown["runs"] == []  # the mode is observe
    assert "DRY-RUN  1. DENY drain" in cli.with_config("incident", "show", incident["id"]).out
    explained = cli.with_config("explain", incident["id"], "-o", "json").json
    assert (explained["kind"], explained["incidents"][0]["id"]) == ("incident", incident["id"])
    missing = cli.with_config("incident", "show", "inc-none")
    assert missing.code == 1
    assert "incident list" in missing.err


ASKING = """
name: drain-if-agreed
mode: approve
match: {role: root_cause, scope: instance, states: [critical], for: 1s, matchers: ['service="c"']}
approval: {approvers: {users: [tester]}, ttl: 5m}
steps:
  - name: drain
    uses: consul.maintenance
    with: {enable: true, reason: "consulguard ${incident.id}"}
    undo: {uses: consul.maintenance, with: {enable: false}}
verify: {within: 60s, target: {passing_for: 2}}
"""


def test_a_person_is_asked_and_agrees(cli, mesh):
    cli.book("drain", ASKING)
    with Daemon(cli, "--mode", "auto") as daemon:
        daemon.listening()
        listed = "approval", "list", "-o", "json"
        (asked,) = daemon.until(lambda: cli.with_config(*listed).json["approvals"])
        (step,) = asked["steps"]
        assert (step["uses"], step["target"]["instance"]) == ("consul.maintenance", "c1")
        assert asked["id"] in cli.with_config("approval", "list").out
        short = asked["id"][:8]
        refused = cli.with_config("approval", "approve", short, USER="somebody", LOGNAME="somebody")
        assert refused.code == 1
        assert "somebody (command line) is not among the approvers" in refused.err
        agreed = cli.with_config("approval", "approve", short)
        assert (agreed.code, agreed.out) == (0, "approved: drain-if-agreed on c1\n")
        daemon.until(lambda: "_service_maintenance:c1" in send(mesh.address, "GET", "/agent/checks"))
        again = cli.with_config("approval", "deny", asked["id"])
        assert again.code == 1
        assert "already approved" in again.err
        (decided,) = cli.with_config("approval", "list", "--all", "-o", "json").json["approvals"]
        assert [vote["who"] for vote in decided["votes"]] == ["tester (command line)"]
    send(mesh.address, "PUT", "/agent/service/maintenance/c1?enable=false")
    gone = cli.with_config("approval", "approve", short)
    assert gone.code == 1
    assert "no daemon runs here" in gone.err


def the_record(cli):
    verified = cli.with_config("journal", "verify", "-o", "json")
    assert (verified.code, verified.json["ok"]) == (0, True)
    tail = cli.with_config("journal", "tail", "-n", "500", "-o", "json").json
    assert [e["seq"] for e in tail] == list(range(tail[0]["seq"], tail[-1]["seq"] + 1))
    commands = [e["body"]["command"] for e in tail if isinstance(e["body"], dict) and "command" in e["body"]]
    assert commands == ["pause", "resume", "resume"]  # the first for a reason nobody had given
    assert len(cli.with_config("journal", "tail", "-n", "3").out.splitlines()) == 3


def test_words_for_the_next_daemon(cli):
    done = cli.with_config("pause", "--reason", "before the start")
    assert done.code == 0
    assert "no daemon runs here" in done.out
    with Daemon(cli) as daemon:
        daemon.listening()
        assert [p["why"] for p in cli.with_config("status", "-o", "json").json["paused"]] == ["before the start"]


def test_a_socket_left_by_a_dead_daemon_is_no_daemon(cli):
    with Daemon(cli) as daemon:
        daemon.listening()
        daemon.process.kill()
        daemon.process.wait()
        assert (cli.folder / "state/journal.sock").exists()
        done = cli.with_config("pause", "--reason", "r")
        assert "no daemon runs here" in done.out
        daemon.__enter__()
        daemon.until(lambda: cli.with_config("resume").out == "resumed\n")


def test_once_tells_what_is_wrong_and_ends(cli):
    done = cli.with_config("run", "--once")
    assert done.code == 0
    assert cli.with_config("journal", "verify").code == 0


def test_once_without_consul_ends_with_the_timeout(cli):
    done = cli.with_config("run", "--once", "--timeout", "3", "--http-addr", "127.0.0.1:1")
    assert done.code == 5
    assert "not read within 3 s" in done.err.splitlines()[-1]


def test_without_a_journal(cli):
    for verb in ("verify", "tail"):
        done = cli.with_config("journal", verb)
        assert done.code == 78
        assert "there is no journal yet" in done.err


def test_a_changed_journal_is_not_sound(cli):
    cli.with_config("run", "--once")
    path = cli.folder / "state/journal.sqlite"
    with sqlite3.connect(path) as db:
        (name,) = [t for (t,) in db.execute("select name from sqlite_master where type='table'") if "entr" in t]
        db.execute(f"update {name} set body = replace(body, 'e', 'f') where seq = 2")
    db.close()
    done = cli.with_config("journal", "verify")
    assert done.code == 1
    assert "NOT SOUND at entry" in done.out
    assert cli.with_config("journal", "verify", "-o", "json").json["ok"] is False


def test_a_file_that_is_no_journal(cli):
    (cli.folder / "state").mkdir()
    (cli.folder / "state/journal.sqlite").write_bytes(b"not a database, whatever its name says" * 50)
    assert cli.with_config("journal", "tail").code == 74
    assert cli.with_config("run").code == 74
    plan = cli.with_config("plan", "-o", "json")  # goes on without the past, and says so
    assert plan.code == 0
    assert "journal_not_read" in plan.err
    step = plan.json["incidents"][0]["steps"][0]
    pause = next(g for g in step["guards"] if g["guard"] == "pause")
    assert (pause["verdict"], "cannot be read" in pause["reason"]) == ("WAIT", True)
    assert cli.with_config("status").code == 6


def test_no_seeded_secret_is_told_anywhere(cli, mesh):
    """Token from a file, token from the environment: not in log, journal, answer or error."""
    secrets = ("s33d-from-file", "s33d-from-env")
    (cli.folder / "token").write_text(secrets[0])
    told = cli.with_config("run", "--once", "-v", "--timeout", "15", "--token-file", str(cli.folder / "token"))
    texts = [told.out + told.err]
    for verb in ("plan", "check", "status"):
        done = cli.with_config(verb, "-v", CONSUL_HTTP_TOKEN=secrets[1])
        texts.append(done.out + done.err)
    for path in cli.folder.rglob("*"):
        if path.is_file() and path.name != "token":
            texts.append(path.read_bytes().decode(errors="replace"))
    assert not [s for s in secrets for text in texts if s in text]


def test_a_container_user_without_a_name_has_one(cli):
    """Who paused? ``getpass`` gives up where the user has no entry, as in many containers."""
    code = (
        "import os; from consulguard.cli import word\nos.geteuid() == 0 and os.setuid(54321)\nprint(word.user())"
    )
    done = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "user 54321\n" or os.geteuid() != 0
