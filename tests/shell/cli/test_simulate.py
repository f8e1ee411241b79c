"""``simulate`` and ``playbook run --dry-run`` on a real Consul: what would be, and nothing done."""

import pytest

from tests.shell.cli.support import send
from tests.shell.cli.test_daemon import FAST, Cli, Daemon

pytestmark = pytest.mark.real


def roles(incident):
    return {member["name"]: member["role"] for member in incident["members"] if member["kind"] == "service"}


def test_a_service_fails_on_the_present_topology(seeing, mesh):
    before = send(mesh.address, "GET", "/health/state/any")
    done = seeing.with_config("simulate", "--fail", "c", "-o", "json")
    assert done.code == 0
    assert done.json["simulated"] == {"fail": ["c"]}
    (incident,) = [i for i in done.json["incidents"] if i["root"]["name"] == "c"]
    assert incident["root"]["kind"] == "service"
    assert any(sentence.startswith("3 of 3 instances of c fail") for sentence in incident["why"]), incident["why"]
    assert {"a", "b"} <= roles(incident).keys()
    assert {roles(incident)[name] for name in "ab"} <= {"affected", "at_risk"}
    assert send(mesh.address, "GET", "/health/state/any") == before
    told = seeing.with_config("simulate", "--fail", "c").out
    assert told.startswith("SIMULATED: c failed, and it lasts\n")


def test_guards_that_wait_for_time_have_had_it(seeing):
    seeing.book("drain", (seeing.folder / "playbooks/drain.yaml").read_text().replace("[abc]", "b"))
    done = seeing.with_config("simulate", "--fail", "b", "-o", "json")
    (incident,) = [i for i in done.json["incidents"] if i["root"]["name"] == "b"]
    guards = {g["guard"]: g["verdict"] for g in incident["steps"][0]["guards"]}
    assert (guards["hold_down"], guards["settled"], guards["mode"]) == ("ALLOW", "ALLOW", "DENY")


def test_a_service_nobody_knows(seeing):
    done = seeing.with_config("simulate", "--fail", "zz")
    assert done.code == 1
    assert done.err == "consulguard: Consul knows no service 'zz' with instances\n"


def test_a_playbook_by_hand_is_planned_and_blocked_as_ever(seeing):
    done = seeing.with_config("playbook", "run", "drain", "--service", "c", "--dry-run")
    assert done.code == 6
    assert "DRY-RUN  1. " in done.out
    for args, sentence in (
        (("nothing", "--service", "c"), "there is no playbook 'nothing'"),
        (("drain", "--service", "zz"), "nothing fails in 'zz'"),
    ):
        missing = seeing.with_config("playbook", "run", *args, "--dry-run")
        assert missing.code == 1
        assert sentence in missing.err


def test_the_daemon_says_which_guard_is_against_it(tmp_path, mesh):
    cli = Cli(tmp_path, mesh.address, **FAST)
    assert "no daemon runs here" in cli.with_config("playbook", "run", "drain", "--service", "c").err
    with Daemon(cli) as daemon:
        daemon.listening()
        daemon.until(lambda: "inc-" in daemon.text())
        done = cli.with_config("playbook", "run", "drain", "--service", "c")
        assert done.code == 6
        assert done.err.startswith("consulguard: not now: ")
