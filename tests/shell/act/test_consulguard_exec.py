"""``consulguard-exec`` as the process that sshd starts: once, or not at all, and always an answer."""

from __future__ import annotations

import ast
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from consulguard import consulguard_exec as wrapper
from consulguard.testing.real_consul import scratch

SLOW_S = 30.0
SCRIPT = """#!{python} -IS
import os, sys, time
with open({record!r}, "a") as out:
    out.write(os.environ["CONSULGUARD_INTENT"] + "\\n")
while len(sys.argv) > 1 and not os.path.exists({gate!r}):
    time.sleep(0.02)
print("done")
"""


class Target:
    """A machine with the wrapper on it, as far as the wrapper sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state, self.allow = folder / "state", folder / "allow.json"
        self.record, self.gate, self.script = folder / "record", folder / "gate", folder / "script"
        self.script.write_text(SCRIPT.format(python=sys.executable, record=str(self.record), gate=str(self.gate)))
        self.script.chmod(0o755)
        self.allows([str(self.script)], [str(self.script), "wait"])

    def allows(self, *commands: list[Any], **more: Any) -> None:
        self.allow.write_text(json.dumps({"commands": commands, **more}))

    def start(self, line: str) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-IS", wrapper.__file__, "--allow", self.allow, "--state", self.state]
        return subprocess.Popen(
            program,
            env={"SSH_ORIGINAL_COMMAND": line, "PATH": "/usr/bin:/bin", "SECRET": "x"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def say(self, line: str) -> tuple[int, dict[str, Any]]:
        return answer_of(self.start(line))

    def run(self, attempt: str = "run-1/0/1", *words: str, **fields: Any) -> tuple[int, dict[str, Any]]:
        return self.say(self.request(attempt, *words, **fields))

    def request(self, attempt: str, *words: str, **fields: Any) -> str:
        given = {
            "id": attempt,
            "epoch": 1,
            "not_after_ms": soon(),
            "timeout_s": 60,
            "argv": [str(self.script), *words],
        }
        return line("run", **(given | fields))

    def status(self, attempt: str = "run-1/0/1", wait_s: int = 0, **fields: Any) -> dict[str, Any]:
        body = {"id": attempt, "not_after_ms": soon(), "wait_s": wait_s} | fields
        return self.say(line("status", **body))[1]

    def runs(self) -> list[str]:
        return self.record.read_text().split() if self.record.exists() else []


def line(verb: str, **body: Any) -> str:
    return shlex.join(["consulguard-exec", verb, json.dumps(body)])


def soon(seconds: float = 60.0) -> int:
    return int((time.time() + seconds) * 1000)


def answer_of(process: subprocess.Popen[bytes]) -> tuple[int, dict[str, Any]]:
    out, err = process.communicate(timeout=SLOW_S)
    assert not err, err.decode()
    return process.returncode, json.loads(out)


def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + SLOW_S
    while not what():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(tmp_path)


class TestOnce:
    def test_the_first_outcome_is_answered_again(self, target: Target) -> None:
        code, first = target.run()
        assert (code, first["state"], first["code"], first["stdout"]) == (0, "ended", 0, "done\n")
        code, second = target.run(not_after_ms=soon(-60))  # late now, and known
        assert (code, second["code"], second["again"]) == (0, 0, True)
        assert target.status()["stdout"] == "done\n"
        assert target.runs() == ["run-1/0/1"]

    def test_the_same_attempt_at_the_same_time(self, target: Target) -> None:
        asked = target.request("run-1/0/1", "wait")
        crowd = [target.start(asked) for _ in range(5)]
        until(target.runs)
        assert target.status()["state"] == "running"
        target.gate.touch()
        answers = [answer_of(process) for process in crowd]
        assert {(code, given["state"], given["stdout"]) for code, given in answers} == {(0, "ended", "done\n")}
        assert sorted(given.get("again", False) for _, given in answers) == [False, True, True, True, True]
        assert target.runs() == ["run-1/0/1"]

    def test_other_attempts_do_not_wait_for_one_that_runs(self, target: Target) -> None:
        long = target.start(target.request("run-1/0/1", "wait"))
        until(target.runs)
        assert target.run("run-2/0/1")[0] == 0
        target.gate.touch()
        assert answer_of(long)[0] == 0

    def test_killed_between_start_and_outcome(self, target: Target) -> None:
        process = target.start(target.request("run-1/0/1", "wait"))
        until(target.runs)
        process.kill()
        process.communicate()
        target.gate.touch()  # the command itself lives on, and ends
        for given in (target.status(), target.run("run-1/0/1", "wait")[1], target.status(wait_s=1)):
            assert (given["state"], "never written down" in given["why"]) == ("unknown", True)
        assert target.run("run-1/0/1", "wait")[0] == 70
        assert target.runs() == ["run-1/0/1"]
        assert target.run("run-1/0/2", "wait")[0] == 0

    @pytest.mark.parametrize("nth", range(1, 9))
    def test_killed_at_any_sync(self, target: Target, nth: int) -> None:
        """Before the record of the start it was not run, after it nobody says that it was not."""
        assert shutil.which("strace"), "strace is missing: run scripts/install-test-tools.sh"
        program = [sys.executable, "-IS", wrapper.__file__, "--allow", target.allow, "--state", target.state]
        inject = ["strace", "-o", os.devnull, "-e", "trace=fsync", "-e", f"inject=fsync:signal=KILL:when={nth}"]
        subprocess.run(
            [*inject, *program],
            env={"SSH_ORIGINAL_COMMAND": target.request("run-1/0/1"), "PATH": os.environ["PATH"]},
            capture_output=True,
            check=False,
            timeout=SLOW_S,
        )
        ran = len(target.runs())
        given = target.run("run-1/0/1")[1]
        assert len(target.runs()) <= 1
        if ran:
            assert given["state"] in ("unknown", "ended")
        assert given["state"] != "refused"

    def test_a_connection_that_is_gone_does_not_end_what_has_begun(self, target: Target) -> None:
        process = target.start(target.request("run-1/0/1", "wait"))
        until(target.runs)
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
        process.send_signal(signal.SIGHUP)
        target.gate.touch()
        assert process.wait(SLOW_S) == 0
        assert target.status()["stdout"] == "done\n"

    def test_asking_closes_what_never_came(self, target: Target) -> None:
        assert target.status()["state"] == "never"
        assert target.status()["state"] == "never"
        code, given = target.run()
        assert (code, given["kind"], target.runs()) == (77, "closed", [])

    def test_an_id_that_comes_with_another_command(self, target: Target) -> None:
        target.run()
        target.gate.touch()
        code, given = target.run("run-1/0/1", "wait")
        assert (code, given["kind"], len(target.runs())) == (77, "other", 1)


class TestRefused:
    def test_a_lower_epoch_than_the_highest_seen(self, target: Target) -> None:
        assert target.run("run-1/0/1", epoch=5)[0] == 0
        code, given = target.run("run-1/0/2", epoch=4)
        assert (code, given["kind"]) == (77, "epoch")
        target.run("run-1/0/3", "not allowed", epoch=6)  # refused, and seen
        assert target.run("run-1/0/4", epoch=5)[1]["kind"] == "epoch"
        assert target.run("run-1/0/5", epoch=6)[0] == 0
        assert target.runs() == ["run-1/0/1", "run-1/0/5"]

    def test_late_or_far_too_early(self, target: Target) -> None:
        code, given = target.run(not_after_ms=soon(-0.1))
        assert (code, given["kind"]) == (75, "late")
        assert target.run("run-1/0/2", not_after_ms=soon(7200))[1]["kind"] == "clock"
        assert target.runs() == []

    @pytest.mark.parametrize(
        "text",
        [
            "", "id", "bash -c id", "consulguard-exec", "consulguard-exec run", "consulguard-exec run {}", "'",
            "consulguard-exec stop {}", "consulguard-exec run '[]'", "consulguard-exec run '" + "[" * 9000 + "'",
            "consulguard-exec --allow /tmp/x",
        ],
    )  # fmt: skip
    def test_what_is_no_request(self, target: Target, text: str) -> None:
        code, given = target.say(text)
        assert (code, given["state"], given["kind"]) == (64, "refused", "malformed")
        assert not target.state.exists()

    @pytest.mark.parametrize(
        "fields",
        [
            {"id": ""}, {"id": "../x"}, {"id": "a b"}, {"id": 1}, {"id": "a\n"}, {"epoch": -1}, {"epoch": True},
            {"epoch": "1"}, {"epoch": 1.0}, {"not_after_ms": 0}, {"not_after_ms": 1e12}, {"timeout_s": 0},
            {"timeout_s": 10**9}, {"argv": []}, {"argv": "ls"}, {"argv": ["ls"]}, {"argv": ["/bin/a\nb"]},
            {"argv": ["/bin/x", "a\x00"]}, {"argv": ["/bin/x", 1]}, {"argv": ["/bin/x"] * 65}, {"more": 1},
        ],
    )  # fmt: skip
    def test_fields_that_are_none(self, target: Target, fields: dict[str, Any]) -> None:
        with pytest.raises(wrapper.Refused) as caught:
            wrapper.parse(shlex.split(target.request("run-1/0/1", **fields)))
        assert caught.value.kind == "malformed"

    @pytest.mark.parametrize(
        "content",
        [
            "", "[]", "{}", '{"commands": {}}', '{"commands": [[]]}', '{"commands": [["ls"]]}',
            '{"commands": ["/bin/ls"]}', '{"commands": [[{"match": "/bin/.*"}]]}',
            '{"commands": [["/bin/ls", {"match": "("}]]}', '{"commands": [["/bin/ls", {"like": "a"}]]}',
            '{"commands": [], "max_s": 0}', '{"commands": [], "user": "a"}',
        ],
    )  # fmt: skip
    def test_an_allow_list_that_is_none(self, target: Target, content: str) -> None:
        target.allow.write_text(content)
        with pytest.raises(wrapper.Refused) as caught:
            wrapper.load_allowed(str(target.allow))
        assert caught.value.kind == "setup"

    def test_an_allow_list_a_folder_or_a_command_that_others_may_write(self, target: Target) -> None:
        for path, mode, good in (
            (target.allow, 0o646, 0o644),
            (target.folder, 0o777, 0o700),
            (target.script, 0o775, 0o755),
        ):
            path.chmod(mode)
            code, given = target.run()
            assert (code, given["kind"], "others may write" in given["why"]) == (78, "setup", True)
            path.chmod(good)
        target.allow.rename(target.folder / "gone")
        assert target.run()[0] == 78
        assert target.runs() == []

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_an_allow_list_of_a_stranger(self, target: Target) -> None:
        os.chown(target.allow, 12345, 12345)
        assert target.run()[0] == 78
        assert target.runs() == []


@pytest.mark.parametrize(
    ("given", "good"),
    [
        (["/x", "restart", "web-1"], True), (["/x", "restart", "api"], True), (["/x", "restart"], False),
        (["/x", "restart", "web-1", "now"], False), (["/x", "stop", "web-1"], False),
        (["/y", "restart", "web-1"], False), (["/x", "restart", "web-1\n"], False),
        (["/x", "restart", "-web-1"], False), (["/x", "restart", "Web"], False),
        (["/x", "restart", "\u0430pi"], False), (["/x", "restart", "a" * 257], False),
    ],
)  # fmt: skip
def test_every_item_must_fit_in_full(given: list[str], good: bool) -> None:
    assert wrapper.fits(given, ["/x", "restart", {"match": "[a-z0-9-]+"}]) is good


@pytest.mark.parametrize("text", ["-x", "--all", "\u0430pi", "x" * 257])
def test_a_pattern_for_anything_is_never_an_option_nor_long(text: str) -> None:
    assert not wrapper.fits(["/x", text], ["/x", {"match": r"(?s).*"}])


class TestTheCommand:
    def test_its_surroundings_are_fixed(self, target: Target) -> None:
        code = "import os, sys; print(sorted(os.environ), os.getcwd(), sys.stdin.read()); sys.exit(3)"
        argv = [sys.executable, "-ISc", code]
        target.allows(argv)
        status, given = target.run(argv=argv)
        assert (status, given["code"]) == (1, 3)
        assert given["stdout"].startswith("['CONSULGUARD_EPOCH', 'CONSULGUARD_INTENT', 'HOME', 'LANG', 'PATH'")
        assert "] / \n" in given["stdout"]

    def test_a_signal_and_what_cannot_be_started(self, target: Target) -> None:
        killed = [sys.executable, "-ISc", "import os; os.kill(os.getpid(), 9)"]
        broken = target.folder / "broken"
        broken.write_text("#!/no/such/interpreter\n")
        broken.chmod(0o755)
        target.allows(killed, [str(broken)])
        assert target.run(argv=killed)[1]["code"] == -9
        code, given = target.run("run-1/0/2", argv=[str(broken)])
        assert (code, given["code"], "cannot be started" in given["stderr"]) == (1, 127, True)

    def test_much_output_neither_blocks_nor_stays(self, target: Target) -> None:
        argv = [
            sys.executable,
            "-ISc",
            "import sys; sys.stdout.write('x' * 3000000); sys.stderr.write('\xff' * 900000)",
        ]
        target.allows(argv)
        given = target.run(argv=argv)[1]
        assert (given["code"], len(given["stdout"])) == (0, wrapper.KEEP_BYTES)

    def test_a_daemon_left_behind_holds_nobody_up(self, target: Target) -> None:
        argv = [sys.executable, "-ISc", "import subprocess as s; print(s.Popen(['/bin/sleep', '600']).pid)"]
        target.allows(argv)
        given = target.run(argv=argv)[1]
        assert given["code"] == 0
        os.kill(int(given["stdout"]), 9)

    def test_the_deadline_ends_the_whole_group(self, target: Target) -> None:
        child = (
            "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
        )
        code = (
            f"import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-ISc', {child!r}],"
            " stdout=subprocess.PIPE); c.stdout.readline(); print(c.pid, flush=True); time.sleep(600)"
        )
        argv = [sys.executable, "-ISc", code]
        target.allows(argv, max_s=1)
        status, given = target.run(argv=argv)
        assert (status, given["state"], given["after_s"]) == (124, "deadline", 1)
        assert target.status()["state"] == "deadline"
        if given["stdout"]:  # on a busy machine it may not have come to its child
            child_pid = Path(f"/proc/{int(given['stdout'])}")
            until(lambda: not child_pid.exists() or ") Z " in (child_pid / "stat").read_text())


class TestMemory:
    @pytest.mark.parametrize("damage", [b"", b"{}", b"\x00\xff", b"[" * 5000, None])
    def test_a_damaged_file_is_not_read(self, tmp_path: Path, damage: bytes | None) -> None:
        path = tmp_path / "state.json"
        wrapper._write(str(path), {"epoch": 1})
        path.write_bytes(path.read_bytes().replace(b"1}", b"2}") if damage is None else damage)
        with pytest.raises(wrapper.Refused, match="damaged"):
            wrapper._read(str(path))

    @pytest.mark.parametrize("name", ["state.json", "attempt"])
    def test_damaged(self, target: Target, name: str) -> None:
        target.run()
        path = target.state / name if name == "state.json" else next((target.state / "attempts").iterdir())
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b'"epoch": 1', b'"epoch": 0'))
        code, given = target.run()
        assert (code, given["kind"], "damaged" in given["why"]) == (78, "setup", True)
        assert target.status()["state"] == "refused"
        assert len(target.runs()) == 1

    def test_half_of_it_is_gone(self, target: Target) -> None:
        target.run()
        (target.state / "state.json").rename(target.folder / "away")
        assert "gone" in target.run("run-1/0/2")[1]["why"]
        (target.folder / "away").rename(target.state / "state.json")
        shutil.rmtree(target.state / "attempts")
        assert target.run("run-1/0/2")[0] == 78
        assert len(target.runs()) == 1

    def test_a_folder_that_others_may_write_or_that_cannot_be(self, target: Target) -> None:
        target.state.mkdir(mode=0o700)
        target.state.chmod(0o777)
        assert target.run()[0] == 78
        target.state.rmdir()
        target.state.write_text("a file")
        assert target.run()[0] == 78
        assert target.runs() == []

    def test_ten_thousand_attempts(self, target: Target) -> None:
        """Old ones are forgotten, and none of them can be run again or be called unseen."""
        target.state = scratch("consulguard-exec-")
        try:
            store, base = wrapper.Store(str(target.state)), soon(-500)
            store.state()
            for nth in range(10_000):
                wrote = {"argv": "", "epoch": 1, "state": "ended", "code": 0, "stdout": "", "stderr": ""}
                store.put(f"old/{nth}/1", base + nth, wrote)
            assert target.run()[0] == 0
            kept = list((target.state / "attempts").iterdir())
            assert len(kept) == wrapper.KEEP_ATTEMPTS
            assert target.status("old/9999/1")["state"] == "ended"
            assert target.status("old/0/1", not_after_ms=base)["state"] == "unknown"
            assert target.run("old/8000/1", not_after_ms=base + 8000)[1]["state"] == "unknown"
            assert target.status("new/0/1")["state"] == "never"
            assert target.runs() == ["run-1/0/1"]
        finally:
            shutil.rmtree(target.state)


def test_it_needs_nothing_but_an_old_python() -> None:
    text = Path(wrapper.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, 9))
    imported = {n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names
    assert os.access(wrapper.__file__, os.X_OK)
    assert text.startswith("#!/usr/bin/python3")


def test_it_is_installed_and_says_which_file_to_copy() -> None:
    program = Path(sys.executable).with_name("consulguard-exec")
    said = subprocess.run([program, "--where"], capture_output=True, text=True, check=True, timeout=SLOW_S).stdout
    assert Path(said.strip()).samefile(wrapper.__file__)
