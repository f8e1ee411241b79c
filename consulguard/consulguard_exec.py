#!/usr/bin/python3 -IS
"""consulguard-exec: what consulguard's SSH key runs on a target, and all that it runs there.

One file, Python 3.9 and its standard library, so that it can be copied to a machine that has nothing else. Made
the forced command of the key (``command="/usr/local/bin/consulguard-exec"`` in authorized_keys), it reads the
request from ``SSH_ORIGINAL_COMMAND``::

    consulguard-exec run '{"id": ..., "epoch": ..., "not_after_ms": ..., "timeout_s": ..., "argv": [...]}'
    consulguard-exec status '{"id": ..., "not_after_ms": ..., "wait_s": ...}'

and prints one line of JSON. An attempt id is run once: asked again, the first outcome is answered. Refused are a
lower epoch than the highest seen, a request that is late, and an argv that the allow-list does not hold. Asking
for the ``status`` of an id that never came closes it: should its request still come, it is refused.
docs/actions.md, ssh.run, has the set-up, the files and the exit codes.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import selectors
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

VERSION = 1
ALLOW = "/etc/consulguard-exec.json"
STATE = "/var/lib/consulguard-exec"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/"}
KEEP_BYTES = 4096  # of each of stdout and stderr
KEEP_ATTEMPTS = 1000
AHEAD_MS = 600_000  # a request may not be good for longer than this: then the clocks differ
GRACE_S = 2.0  # between SIGTERM and SIGKILL
DRAIN_S = 0.2  # output still on its way when the command ends
LOCK_S = 10.0
POLL_S = 0.02
FILE_BYTES = 1 << 20

FORGOTTEN = "attempts of its time are forgotten: it may have been run"
EXIT = {"never": 0, "deadline": 124, "running": 75, "unknown": 70}
EXIT_REFUSED = {"malformed": 64, "late": 75, "busy": 75, "setup": 78}  # any other: 77

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_NAME = re.compile(r"([0-9]{16})-([0-9a-f]{64})\.json")


class Refused(Exception):
    """Not run. ``kind`` is for programs, the sentence for people."""

    def __init__(self, kind: str, why: str) -> None:
        self.kind = kind
        super().__init__(why)


# ---- the request


def parse(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The verb and its checked fields. Raises Refused."""
    if len(words) != 3 or words[0] != "consulguard-exec" or words[1] not in _FIELDS:
        raise Refused("malformed", "this key only runs what consulguard asks for")
    try:
        body = json.loads(words[2])
    except (ValueError, RecursionError):
        raise Refused("malformed", "the request is not JSON") from None
    fields = _FIELDS[words[1]]
    if not isinstance(body, dict) or set(body) != set(fields):
        raise Refused("malformed", f"a {words[1]} request has exactly these fields: {', '.join(sorted(fields))}")
    for name, good in fields.items():
        if not good(body[name]):
            raise Refused("malformed", f"the request's {name} is not one")
    return words[1], body


def _whole(low: int, high: int) -> Any:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _argv(value: Any) -> bool:
    if not isinstance(value, list) or not 1 <= len(value) <= 64 or not all(isinstance(v, str) for v in value):
        return False
    return value[0].startswith("/") and all(len(v) <= 4096 and v.isprintable() for v in value)


def _id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


_TIME = _whole(1, 10**15)
_FIELDS: dict[str, dict[str, Any]] = {
    "run": {
        "id": _id,
        "epoch": _whole(0, 2**53),
        "not_after_ms": _TIME,
        "timeout_s": _whole(1, 86_400),
        "argv": _argv,
    },
    "status": {"id": _id, "not_after_ms": _TIME, "wait_s": _whole(0, 3600)},
}

# ---- what the operator of this machine allows


def load_allowed(path: str) -> dict[str, Any]:
    """``{"commands": [argv, ...], "max_s": seconds}``. An item of an argv is text, or {"match": pattern}."""
    _trusted(os.path.dirname(os.path.abspath(path)), folder=True)
    _trusted(path)
    try:
        with open(path, "rb") as file:
            allowed = json.loads(file.read(FILE_BYTES))
    except (ValueError, RecursionError):
        raise Refused("setup", f"{path} is not JSON") from None
    if not isinstance(allowed, dict) or set(allowed) - {"commands", "max_s"} or "commands" not in allowed:
        raise Refused("setup", f'{path} must be {{"commands": [...]}}, with "max_s" if wanted')
    if not _whole(1, 86_400)(allowed.setdefault("max_s", 3600)):
        raise Refused("setup", f"{path}: max_s is not a number of seconds, 1 to 86400")
    commands = allowed["commands"]
    if not isinstance(commands, list) or not all(_is_rule(rule) for rule in commands):
        text = 'each command is a list: its absolute path, then texts or {"match": "pattern"}'
        raise Refused("setup", f"{path}: {text}")
    return allowed


def _is_rule(rule: Any) -> bool:
    if not isinstance(rule, list) or not rule or not isinstance(rule[0], str) or not rule[0].startswith("/"):
        return False
    for item in rule[1:]:
        if isinstance(item, str):
            continue
        if not isinstance(item, dict) or set(item) != {"match"}:
            return False
        try:
            re.compile(item["match"])
        except (re.error, TypeError):
            return False
    return True


def fits(argv: list[str], rule: list[Any]) -> bool:
    """Whether the whole argv is what the rule says: the same number of items, each equal or matched in full."""
    return len(argv) == len(rule) and all(_item_fits(given, wanted) for given, wanted in zip(argv, rule))


def _item_fits(given: str, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return given == wanted
    # What a pattern stands for comes from elsewhere: never an option, never a long text.
    plain = given.isascii() and len(given) <= 256 and not given.startswith("-")
    return plain and re.fullmatch(wanted["match"], given) is not None


def _trusted(path: str, *, folder: bool = False) -> None:
    try:
        info = os.stat(path)
    except OSError as error:
        raise Refused("setup", f"{path}: {error.strerror}") from None
    if not (stat.S_ISDIR(info.st_mode) if folder else stat.S_ISREG(info.st_mode)):
        raise Refused("setup", f"{path} is not a {'folder' if folder else 'regular file'}")
    sticky = folder and info.st_mode & stat.S_ISVTX
    if info.st_mode & 0o022 and not sticky:
        raise Refused("setup", f"others may write {path}; run: chmod go-w {path}")
    if info.st_uid not in (0, os.geteuid()):
        raise Refused("setup", f"{path} belongs to user {info.st_uid}, neither root nor the one this runs as")


# ---- what was seen before


class Store:
    """``state.json`` (highest epoch, horizon), one file for each attempt, and a file of locks.

    Attempts beyond ``keep`` are forgotten, the earliest ``not_after_ms`` first; the horizon is the latest one
    forgotten. Nothing at or before it is run or called unseen, so forgetting never lets anything run twice.
    """

    def __init__(self, folder: str, keep: int = KEEP_ATTEMPTS) -> None:
        self._folder, self._keep = folder, keep
        self._attempts = os.path.join(folder, "attempts")
        self._state = os.path.join(folder, "state.json")
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            _trusted(folder, folder=True)
            # One descriptor for the life of the process: closing any other one would release its locks.
            self._locks = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Refused("setup", f"{folder} cannot be used: {error.strerror}") from None

    # -- locks: of the whole (byte 0), and of one attempt as long as it runs. They end with their process.

    @contextmanager
    def locked(self) -> Iterator[None]:
        end = time.monotonic() + LOCK_S
        while not self._lock(0):
            if time.monotonic() > end:
                raise Refused("busy", f"{self._folder} was locked for {LOCK_S:g} s")
            time.sleep(POLL_S)
        try:
            yield
        finally:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, 0)

    def hold(self, attempt: str) -> bool:
        """Whether nobody else is running this attempt; from then on we are."""
        return self._lock(_byte(attempt))

    def release(self, attempt: str) -> None:
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, _byte(attempt))

    def _lock(self, byte: int) -> bool:
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        return True

    # -- files

    def state(self) -> dict[str, Any]:
        found = _read(self._state)
        if found is None:
            os.makedirs(self._attempts, mode=0o700, exist_ok=True)
            if any(self._files()):
                raise Refused("setup", f"{self._state} is gone: nothing is run until a person has looked")
            found = {"epoch": 0, "horizon_ms": 0}
            self.keep_state(found)
        return found

    def keep_state(self, state: dict[str, Any]) -> None:
        _write(self._state, state)

    def find(self, attempt: str) -> dict[str, Any] | None:
        for _, digest, path in self._files():
            if digest == _digest(attempt):
                return _read(path)
        return None

    def put(self, attempt: str, not_after_ms: int, record: dict[str, Any]) -> None:
        """Write it durably, in the place of the one that is there; then forget what is too much."""
        path = os.path.join(self._attempts, f"{not_after_ms:016d}-{_digest(attempt)}.json")
        _write(path, {"id": attempt, **record})

    def forget(self, state: dict[str, Any]) -> None:
        """Down to ``keep`` attempts, a tenth at a time. The horizon is written first."""
        found = sorted(self._files())
        if len(found) <= self._keep + max(1, self._keep // 10):
            return
        old = found[: len(found) - self._keep]
        state["horizon_ms"] = max(state["horizon_ms"], old[-1][0])
        self.keep_state(state)
        for _, _, path in old:
            os.unlink(path)

    def _files(self) -> Iterator[tuple[int, str, str]]:
        with os.scandir(self._attempts) as entries:
            for entry in entries:
                name = _NAME.fullmatch(entry.name)
                if name:
                    yield int(name[1]), name[2], entry.path


def _digest(attempt: str) -> str:
    return hashlib.sha256(attempt.encode()).hexdigest()


def _byte(attempt: str) -> int:
    return 1 + int(_digest(attempt)[:15], 16)


def _sum(body: Any) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            whole = json.loads(file.read(FILE_BYTES))
        if whole["sum"] == _sum(whole["body"]):
            return dict(whole["body"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise Refused("setup", f"{path} is damaged: nothing is run until a person has looked")


def _write(path: str, body: dict[str, Any]) -> None:
    new = path + ".new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(json.dumps({"sum": _sum(body), "body": body}).encode())
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, path)
    _sync(os.path.dirname(path))


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# ---- the verbs


def run(store: Store, request: dict[str, Any], allow: str) -> dict[str, Any]:
    """Run it once, or answer what became of it."""
    attempt, argv, until = request["id"], request["argv"], request["not_after_ms"]
    asked = {"argv": _sum(argv), "epoch": request["epoch"]}
    with store.locked():
        state = store.state()
        before = store.find(attempt)
        if before is None:
            if until <= state["horizon_ms"]:
                return {"state": "unknown", "why": FORGOTTEN}
            seconds = _admit(store, state, request, allow)
            if not store.hold(attempt):
                raise Refused("busy", f"{attempt} is being asked for")
            store.put(attempt, until, {**asked, "state": "started", "at": int(time.time())})
            store.forget(state)
    if before is not None:
        if before["state"] == "never":
            raise Refused("closed", f"{attempt} was asked for before it came, and given up")
        if before["argv"] != asked["argv"]:
            raise Refused("other", f"{attempt} came before with another command")
        return _outcome(store, before, request["timeout_s"])
    extra = {"CONSULGUARD_INTENT": attempt, "CONSULGUARD_EPOCH": str(request["epoch"])}
    ended = execute(argv, seconds, {**ENVIRONMENT, **extra})
    try:
        store.put(attempt, until, {**asked, **ended})
    except OSError as error:
        ended["unrecorded"] = str(error)
    return ended


def _admit(store: Store, state: dict[str, Any], request: dict[str, Any], allow: str) -> int:
    """The seconds it may take. Raises Refused. An epoch counts as seen whatever comes of the request."""
    epoch, now_ms = request["epoch"], int(time.time() * 1000)
    if epoch < state["epoch"]:
        raise Refused("epoch", f"its epoch is {epoch}, and {state['epoch']} was here already")
    if epoch > state["epoch"]:
        state["epoch"] = epoch
        store.keep_state(state)
    ahead_ms = request["not_after_ms"] - now_ms
    if ahead_ms <= 0:
        raise Refused("late", f"it came {-ahead_ms / 1000:.1f} s too late by this machine's clock")
    if ahead_ms > AHEAD_MS:
        raise Refused(
            "clock", f"it is good for {ahead_ms // 1000} s more by this machine's clock: the clocks differ"
        )
    allowed = load_allowed(allow)
    if not any(fits(request["argv"], rule) for rule in allowed["commands"]):
        raise Refused("not-allowed", f"{allow} does not hold this command")
    _trusted(request["argv"][0])
    return min(int(request["timeout_s"]), int(allowed["max_s"]))


def status(store: Store, request: dict[str, Any]) -> dict[str, Any]:
    """What became of an attempt. One that never came is closed: from now on it is refused."""
    with store.locked():
        state = store.state()
        before = store.find(request["id"])
        if before is None:
            if request["not_after_ms"] <= state["horizon_ms"]:
                return {"state": "unknown", "why": FORGOTTEN}
            before = {"argv": "", "state": "never"}
            store.put(request["id"], request["not_after_ms"], before)
            store.forget(state)
    return _outcome(store, before, request["wait_s"])


def _outcome(store: Store, before: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """What is written down; while it runs, what will be written down within ``wait_s``."""
    attempt = before.get("id", "")
    if before["state"] == "started":
        end = time.monotonic() + wait_s
        while not store.hold(attempt):
            if time.monotonic() > end:
                return {"state": "running", "why": f"it is running, since {_at(before)}"}
            time.sleep(POLL_S)
        before = store.find(attempt) or before
        store.release(attempt)
    if before["state"] == "never":
        return {"state": "never"}
    if before["state"] == "started":
        return {"state": "unknown", "why": f"it was started {_at(before)}, and its outcome was never written down"}
    return {k: v for k, v in before.items() if k not in ("id", "argv", "epoch")} | {"again": True}


def _at(record: dict[str, Any]) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record["at"]))


# ---- the command


def execute(argv: list[str], seconds: int, environment: dict[str, str]) -> dict[str, Any]:
    """Run it in a process group of its own, without a shell, to its end or to its deadline."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        return {"state": "ended", "code": 127, "stdout": "", "stderr": f"cannot be started: {error.strerror}"}
    with _Pipes(process) as pipes:
        end = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < end:
            pipes.read(POLL_S)
        over = process.poll() is not None
        if not over:
            _end_group(process, pipes)
        end = time.monotonic() + DRAIN_S
        while pipes.open and time.monotonic() < end:
            pipes.read(POLL_S)
        said = {"stdout": pipes.text(process.stdout), "stderr": pipes.text(process.stderr)}
    if over:
        return {"state": "ended", "code": process.returncode, **said}
    return {"state": "deadline", "after_s": seconds, **said}


class _Pipes:
    """Reads stdout and stderr to their ends, keeps the first bytes of each; a grandchild may hold them open."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._kept: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
        self._selector = selectors.DefaultSelector()
        for pipe in self._kept:
            self._selector.register(pipe, selectors.EVENT_READ)

    @property
    def open(self) -> bool:
        return bool(self._selector.get_map())

    def read(self, wait_s: float) -> None:
        for key, _ in self._selector.select(wait_s):
            chunk = os.read(key.fd, 65536)
            kept = self._kept[key.fileobj]
            kept += chunk[: KEEP_BYTES - len(kept)]
            if not chunk:
                self._selector.unregister(key.fileobj)

    def text(self, pipe: Any) -> str:
        return self._kept[pipe].decode("utf-8", "replace")

    def __enter__(self) -> _Pipes:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for pipe in self._kept:
            pipe.close()


def _end_group(process: subprocess.Popen[bytes], pipes: _Pipes) -> None:
    """SIGTERM, then SIGKILL, to the command and all it started that did not leave its group."""
    _signal(process.pid, signal.SIGTERM)
    end = time.monotonic() + GRACE_S
    while time.monotonic() < end:
        pipes.read(POLL_S)
        process.poll()
        if not _signal(process.pid, 0):
            return
    _signal(process.pid, signal.SIGKILL)
    process.wait()


def _signal(group: int, what: int) -> bool:
    try:
        os.killpg(group, what)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody of the group runs as another user: there is somebody
        return True
    return True


# ---- the door


def answer(words: list[str], allow: str, state: str) -> dict[str, Any]:
    """Never raises: what cannot be done is an answer."""
    try:
        verb, request = parse(words)
        store = Store(state)
        return run(store, request, allow) if verb == "run" else status(store, request)
    except Refused as refused:
        return {"state": "refused", "kind": refused.kind, "why": str(refused)}
    except OSError as error:
        return {"state": "refused", "kind": "setup", "why": f"{state} cannot be used: {error}"}


def exit_code(given: dict[str, Any]) -> int:
    if given["state"] == "ended":
        return 0 if given["code"] == 0 else 1
    if given["state"] == "refused":
        return EXIT_REFUSED.get(given["kind"], 77)
    return EXIT[given["state"]]


def main() -> int:
    parser = argparse.ArgumentParser("consulguard-exec", description="Forced command of consulguard's SSH key.")
    parser.add_argument("--allow", default=ALLOW, help=f"the allow-list ({ALLOW})")
    parser.add_argument("--state", default=STATE, help=f"where it remembers what it ran ({STATE})")
    parser.add_argument("--where", action="store_true", help="print the file to copy to a target")
    parser.add_argument(
        "request", nargs="*", help="where there is no SSH_ORIGINAL_COMMAND: run JSON, or status JSON"
    )
    options = parser.parse_args()
    if options.where:
        print(os.path.abspath(__file__))
        return 0
    # A handler, not SIG_IGN: the command must not inherit that. The connection may go, what has begun is ended.
    signal.signal(signal.SIGHUP, lambda *_: None)
    os.umask(0o022)
    asked = os.environ.get("SSH_ORIGINAL_COMMAND")
    try:
        words = ["consulguard-exec", *options.request] if asked is None else shlex.split(asked)
    except ValueError:
        words = []
    given = answer(words, options.allow, options.state)
    try:
        print(json.dumps({"consulguard-exec": VERSION, **given}), flush=True)
    except OSError:  # nobody listens any more; what happened is written down
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return exit_code(given)


if __name__ == "__main__":
    sys.exit(main())
