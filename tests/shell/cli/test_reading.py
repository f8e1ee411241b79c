"""The reading verbs on a real Consul: the JSON other programs depend on, and what people see."""

import json
import os
import pty
import re
import socket
import subprocess
from datetime import datetime

import pytest
from ruamel.yaml import YAML

from tests.shell.cli.support import register, send

pytestmark = pytest.mark.real

STATES = {"passing", "warning", "critical", "maintenance", "flapping", "vanished", "unknown", "recovering"}
MEMBER = {"kind": str, "name": str, "role": str, "state": str, "since": str}
ROOT = {"kind": str, "name": str, "datacenter": str}
VIEW = {"trusted": bool, "reasons": list, "services": int, "instances": int, "nodes": int, "not_passing": int}
INCIDENT = {"id": str, "state": str, "root": dict, "confidence": (int, float), "members": list, "why": list}
INCIDENT |= {"known": bool, "alternatives": list}
INCIDENT |= {"opened_at": str, "updated_at": str, "resolved_at": (str, type(None))}
PLANNED = {"playbook": (dict, type(None)), "considered": list, "steps": list}
NONE = type(None)
HANDS = {
    "acknowledged": (dict, NONE),
    "assigned_to": str,
    "resolved_by": (dict, NONE),
    "reopened_by": (dict, NONE),
}
STEP = {"name": str, "uses": str, "target": dict, "params": dict, "verdict": str, "guards": list, "would": str}
SERVICE = {"name": str, "kind": str, "state": str, "instances": dict}
EDGE = {"from": str, "to": str, "provenance": str, "trust": (int, float)}


def exactly(value, shape, **optional):
    """These keys and no others, each of its type."""
    assert set(shape) <= set(value) <= set(shape) | set(optional), value
    for key, kind in (shape | optional).items():
        assert key not in value or (
            isinstance(value[key], kind) and (bool in _all(kind) or value[key] is not True)
        )


def _all(kind):
    return kind if isinstance(kind, tuple) else (kind,)


def check_view(view):
    exactly(view, VIEW)
    assert all(isinstance(r, str) for r in view["reasons"])


def check_incident(incident, *, planned):
    exactly(incident, INCIDENT | HANDS | (PLANNED if planned else {}), runs=list)
    root = incident["root"]
    assert root["kind"] in ("service", "instance", "node", "zone")
    exactly(root, ROOT | {"instance": {"node": str, "instance": str}, "node": {"node": str}}.get(root["kind"], {}))
    assert 0 <= incident["confidence"] <= 1
    for member in incident["members"]:
        exactly(member, MEMBER)
        assert member["kind"] in ("service", "instance", "node")
        assert member["role"] in ("root_cause", "affected", "at_risk", "isolated")
        assert member["state"] in STATES
        assert datetime.fromisoformat(member["since"]).tzinfo is not None
    assert incident["why"]
    assert all(isinstance(sentence, str) for sentence in incident["why"])
    if planned:
        check_planned(incident)


def check_planned(incident):
    if incident["playbook"] is not None:
        exactly(incident["playbook"], {"name": str, "mode": str, "effective_mode": str})
    for considered in incident["considered"]:
        exactly(considered, {"playbook": str, "matched": bool, "because": str})
    for step in incident["steps"]:
        exactly(step, STEP)
        assert step["verdict"] in ("ALLOW", "WAIT", "ASK", "DENY")
        for guard in step["guards"]:
            exactly(guard, {"guard": str, "verdict": str, "reason": str})
            assert guard["verdict"] in ("ALLOW", "WAIT", "ASK", "DENY")


def check_topology(told):
    for service in told["services"]:
        exactly(service, SERVICE)
        assert service["kind"]
        assert service["state"] in STATES
        assert set(service["instances"]) <= STATES
        assert all(type(n) is int and n > 0 for n in service["instances"].values())
    for edge in told.get("edges", ()):
        exactly(edge, EDGE)
        assert 0 <= edge["trust"] <= 1


class TestContracts:
    def test_plan(self, seeing):
        done = seeing.with_config("plan", "-o", "json")
        assert (done.code, done.err) == (0, "")
        answer = done.json
        exactly(answer, {"at": str, "view": dict, "incidents": list})
        check_view(answer["view"])
        assert answer["view"]["trusted"] is True
        (incident,) = answer["incidents"]
        check_incident(incident, planned=True)
        assert incident["root"] == {
            "kind": "instance",
            "name": "c",
            "datacenter": "dc1",
            "node": "local",
            "instance": "c1",
        }
        assert incident["playbook"] == {"name": "drain", "mode": "auto", "effective_mode": "observe"}
        (step,) = incident["steps"]
        assert (step["uses"], step["target"]["instance"], step["target"]["node"]) == (
            "consul.maintenance",
            "c1",
            "local",
        )
        verdicts = {g["guard"]: g["verdict"] for g in step["guards"]}
        assert verdicts["hold_down"] == "WAIT"
        assert "PUT /v1/agent/service/maintenance/c1?enable=true" in step["would"]

    def test_topology(self, seeing):
        answer = seeing.with_config("topology", "-o", "json").json
        exactly(answer, {"as_of": str, "services": list, "edges": list})
        check_topology(answer)
        states = {s["name"]: (s["kind"], s["state"], s["instances"]) for s in answer["services"]}
        assert states["c"][2] == {"critical": 1, "passing": 2}
        assert states["a"] == ("service", "passing", {"passing": 1})
        assert {("a", "b"), ("b", "c")} <= {(e["from"], e["to"]) for e in answer["edges"]}

    def test_explain(self, seeing):
        head = {"at": str, "view": dict, "kind": str, "subject": str, "incidents": list}
        answer = seeing.with_config("explain", "c", "-o", "json").json
        exactly(answer, head | {"service": dict, "edges": list})
        assert (answer["kind"], answer["subject"]) == ("service", "c")
        check_topology({"services": [answer["service"]], "edges": answer["edges"]})
        (incident,) = answer["incidents"]
        check_incident(incident, planned=True)
        answer = seeing.with_config("explain", "drain", "-o", "json").json
        exactly(answer, head | {"playbook": dict})
        assert answer["playbook"]["priority"] == 0
        missing = seeing.with_config("explain", "nothing")
        assert (missing.code, missing.out) == (1, "")

    def test_status_and_incidents(self, seeing):
        answer = seeing.with_config("status", "-o", "json").json
        keys = {"at": str, "view": dict, "paused": list, "storm": dict, "services": list, "incidents": list}
        exactly(answer, keys)
        exactly(answer["storm"], {"on": bool, "reason": str})
        check_view(answer["view"])
        check_topology(answer)
        assert {s["name"] for s in answer["services"]} == {"c", "w"}
        for incident in answer["incidents"]:
            check_incident(incident, planned=False)
        listed = seeing.with_config("incident", "list", "-o", "json").json
        exactly(listed, {"at": str, "incidents": list})
        (incident,) = listed["incidents"]
        check_incident(incident, planned=False)
        one = seeing.with_config("status", "a", "-o", "json").json
        assert [(s["name"], s["state"]) for s in one["services"]] == [("a", "passing")]

    def test_yaml_says_the_same_as_json(self, seeing, tmp_path):
        kept = str(tmp_path / "snap")
        seeing.with_config("plan", "--save-snapshot", kept)
        for verb in ("plan", "topology", "explain c"):
            words = [*verb.split(), "--snapshot", kept]
            told = seeing.with_config(*words, "-o", "json").json
            assert YAML(typ="safe", pure=True).load(seeing.with_config(*words, "-o", "yaml").out) == told


class TestPeople:
    def test_every_line_about_what_would_be_done_says_dry_run(self, seeing):
        plan = seeing.with_config("plan").out
        assert re.search(r"^DRY-RUN  1\. \w+ drain \(consul\.maintenance\): PUT /v1/agent/", plan, re.MULTILINE)
        assert re.search(r"^DRY-RUN +WAIT hold_down: ", plan, re.MULTILINE)
        assert re.search(
            r"^inc-\w+ open  root cause: instance c c1 on local \(confidence \d+%\)$", plan, re.MULTILINE
        )
        for line in plan.splitlines():
            assert line.startswith("DRY-RUN") or not re.search(r"PUT|ALLOW|WAIT|ASK|DENY", line)
            assert line == line.rstrip()
        explained = seeing.with_config("explain", "c").out
        assert all(re.search(rf"^DRY-RUN +\w+ {g}: ", explained, re.MULTILINE) for g in ("pause", "mode", "role"))
        assert "\x1b" not in plan + explained
        assert not re.search(r":\d\d\.\d+", plan)  # times to the second

    def test_drawings(self, seeing):
        assert '"a" -> "b"' in seeing.with_config("topology", "-o", "dot").out
        assert seeing.with_config("topology", "a", "-o", "mermaid").out.startswith("flowchart LR\n")
        assert "stateDiagram" in seeing.with_config("topology", "--fsm").out
        assert seeing.with_config("plan", "-o", "dot").code == 2
        assert seeing.with_config("topology", "nothing").code == 1

    def test_colours_only_for_a_terminal_that_wants_them(self, seeing):
        def on_terminal(**env):
            ours, theirs = pty.openpty()
            argv = seeing.argv("status", "-c", str(seeing.config))
            env = seeing.env | {"TERM": "xterm-256color"} | env
            process = subprocess.Popen(argv, stdout=theirs, stderr=theirs, env=env, cwd=seeing.folder)
            os.close(theirs)
            text = b""
            while True:
                try:
                    chunk = os.read(ours, 65536)
                except OSError:  # the other end is closed
                    break
                text += chunk
            os.close(ours)
            assert process.wait(60) == 0
            return text.decode()

        assert "\x1b[33mwarning" in on_terminal()
        assert not re.search(r"\x1b\[3\dm", on_terminal(NO_COLOR="1"))

    def test_a_reader_that_goes_away(self, seeing):
        for words in (["plan"], ["plan", "-o", "json"], ["topology", "--fsm"]):
            argv = " ".join(seeing.argv(*words, "-c", str(seeing.config)))
            script = f"set -o pipefail; {argv} | head -n 1"
            done = subprocess.run(
                ["bash", "-c", script], env=seeing.env, capture_output=True, check=False, timeout=60
            )
            assert (done.returncode, done.stderr) == (0, b"")


class TestSnapshots:
    @pytest.fixture
    def kept(self, seeing, tmp_path):
        """A snapshot, and what plan said when it was taken."""
        path = tmp_path / "kept"
        done = seeing.with_config("plan", "-o", "json", "--save-snapshot", str(path))
        return path, done.out

    def test_the_plan_of_the_file_is_the_plan_of_then(self, cli, kept):
        path, then = kept
        assert cli.with_config("plan", "-o", "json", "--snapshot", str(path)).out == then
        assert cli.with_config("plan", "-o", "json", "--snapshot", "-", stdin=path.read_text()).out == then
        assert cli.with_config("explain", "c", "--snapshot", str(path)).code == 0

    def test_damage_is_noticed(self, cli, kept):
        path, _ = kept
        lines = path.read_text().splitlines()
        head = json.loads(lines[0])
        cases = {
            "": "not a snapshot",
            "{}\n": "not a snapshot",
            "mode: auto\n": "not a snapshot",
            '{"consulguard":"journal","version":1}\n': "not a snapshot",
            json.dumps(head | {"version": 99}) + "\n": "version 99",
            "\n".join(lines[:-1]) + "\n": f"{len(lines) - 2} of {len(lines) - 1} events",
            "\n".join(lines)[:-9]: f":{len(lines)}: this event cannot be read",
            "\n".join([*lines[:-1], '{"event":"Nothing"}']): f":{len(lines)}: this event cannot be read",
        }
        for text, told in cases.items():
            path.write_text(text)
            done = cli.with_config("plan", "--snapshot", str(path))
            assert (done.code, done.out) == (78, "")
            assert done.err.startswith(f"consulguard: {path}")
            assert told in done.err
            assert done.err.count("\n") == 1

    def test_where_it_cannot_be_written_or_read(self, cli, seeing, tmp_path):
        assert seeing.with_config("plan", "--save-snapshot", str(tmp_path)).code == 78
        assert cli.with_config("plan", "--snapshot", str(tmp_path / "none")).code == 78
        assert cli.with_config("plan", "--snapshot", "/dev/zero").code == 78

    def test_pauses_come_along(self, cli, seeing, tmp_path):
        """What guards need of the daemon's past is in the file too, so that both plans are the same."""
        seeing.with_config("pause", "--reason", "moving house")
        path = tmp_path / "paused"
        then = seeing.with_config("plan", "-o", "json", "--save-snapshot", str(path))
        assert '"moving house"' in path.read_text()
        assert "moving house" in then.out
        (seeing.folder / "state/journal.sqlite").rename(tmp_path / "gone")
        assert cli.with_config("plan", "-o", "json", "--snapshot", str(path)).out == then.out


class TestExitCodes:
    def test_actions_pending_is_10(self, seeing):
        assert seeing.with_config("plan", "--detailed-exitcode", CONSULGUARD_MODE="auto").code == 10
        (seeing.folder / "playbooks/drain.yaml").write_text(
            (seeing.folder / "playbooks/drain.yaml").read_text().replace("[abc]", "zzz")
        )
        assert seeing.with_config("plan", "--detailed-exitcode", CONSULGUARD_MODE="auto").code == 0

    @pytest.mark.parametrize(
        ("service", "code", "word"),
        [("a", 0, "OK"), ("w", 1, "WARNING"), ("c", 1, "WARNING"), ("none", 3, "UNKNOWN"), ("", 1, "WARNING")],
    )
    def test_nagios(self, seeing, service, code, word):
        done = seeing.with_config("status", "--nagios", *([service] if service else []))
        assert (done.code, done.out.split()[0]) == (code, word)
        assert done.out.count("\n") == 1

    def test_nagios_critical(self, seeing, mesh):
        register(mesh.address, "z", "critical")
        try:
            done = seeing.with_config("status", "--nagios")
        finally:
            send(mesh.address, "PUT", "/agent/service/deregister/z1")
        assert done.code == 2
        assert re.fullmatch(r"CRITICAL - z\|services=\d+ not_passing=\d+\n", done.out)

    @pytest.mark.parametrize("verb", ["plan", "topology", "status", "explain c", "incident list", "check"])
    def test_no_consul_is_exit_code_5_and_one_sentence(self, cli, verb):
        done = cli.with_config(*verb.split())
        assert done.code == 5
        told = done.err if verb != "check" else done.out.splitlines()[-1] + "\n"
        assert "http://127.0.0.1:1" in told
        assert told.count("\n") == 1

    def test_no_consul_is_nagios_unknown(self, cli):
        done = cli.with_config("status", "--nagios")
        assert (done.code, done.err) == (3, "")
        assert done.out.startswith("UNKNOWN - ")
        assert cli("status", "--nagios", "-c", "none").code == 3

    def test_a_silent_consul_ends_with_the_timeout(self, cli):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen(16)
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            done = cli.with_config("plan", "--timeout", "1", "--http-addr", address)
        assert done.code == 5
        assert "within 1 s" in done.err

    async def test_a_view_that_is_not_trusted_is_exit_code_5(self, cli, twin):
        twin.leaderless()
        for verb in ("plan", "status"):
            done = await cli.aside(verb, "--http-addr", twin.address)
            assert done.code == 5


HOSTILE = ["\x1b[2J", "\x07", "\u202e", "\u2028", "\x85", "\u200b"]


def test_hostile_names_are_shown_stripped_and_kept_whole(seeing, mesh, tmp_path):
    name = f"evil{''.join(HOSTILE)}|x"
    body = {
        "Node": "ext",
        "Address": "10.0.0.9",
        "Service": {"ID": f"{name}1", "Service": name},
        "Check": {
            "CheckID": "e",
            "Name": "e",
            "ServiceID": f"{name}1",
            "Status": "critical",
            "Output": "".join(HOSTILE),
        },
    }
    send(mesh.address, "PUT", "/catalog/register", body)
    try:
        path = tmp_path / "snap"
        outputs = [seeing.with_config("plan", "--save-snapshot", str(path)).out]
        saved = ["plan", "--snapshot", str(path)]
        outputs += [seeing.with_config(*saved, "-o", form).out for form in ("json", "yaml")]
        outputs += [seeing.with_config(*words).out for words in (["status"], ["status", "--nagios"], ["topology"])]
        outputs += [seeing.with_config("topology", "-o", form).out for form in ("dot", "mermaid")]
        outputs += [seeing.with_config("explain", name, "--snapshot", str(path)).out]
        errors = seeing.with_config("explain", "\x1b[2Jno", "--snapshot", str(path)).err
        for text in (*outputs, errors):
            assert not [c for c in HOSTILE if c in text]
            assert all(c.isprintable() or c == "\n" for c in text)
        roots = {i["root"]["name"] for i in json.loads(outputs[1])["incidents"]}
        assert name in roots
        assert json.loads(outputs[1])["view"]["trusted"] is True  # one bad name does not blind us for all others
        assert outputs[4].count("|") == 1  # the one that begins the figures
    finally:
        send(mesh.address, "PUT", "/catalog/deregister", {"Node": "ext"})
