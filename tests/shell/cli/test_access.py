"""Roles on the command line: at the running daemon's socket, and in the journal where none runs."""

import pytest

from tests.shell.cli.support import Cli
from tests.shell.cli.test_daemon import FAST, Daemon

pytestmark = pytest.mark.real


@pytest.fixture
def cli(tmp_path, mesh):
    roles = {"operator": {"users": ["tester"]}, "admin": {"users": ["boss"]}}
    return Cli(tmp_path, mesh.address, access=roles, **FAST)


def test_only_who_is_listed_and_only_so_far(cli):
    resume_refused(cli)  # no daemon runs
    with Daemon(cli) as daemon:
        daemon.listening()
        resume_refused(cli)
        stranger = cli.with_config("pause", "--reason", "r", USER="somebody")
        assert (stranger.code, stranger.err) == (6, "consulguard: pause needs the role operator; you have none\n")
        assert [p["who"] for p in cli.with_config("status", "-o", "json").json["paused"]] == [
            "tester (command line)"
        ]
        assert cli.with_config("resume", USER="boss").code == 0
    tail = cli.with_config("journal", "tail", "-n", "500", "-o", "json").json
    said = [e["body"] for e in tail if isinstance(e["body"], dict) and "command" in e["body"]]
    assert [s["command"] for s in said] == ["pause", "refused", "refused", "refused", "resume"]
    assert [(s["args"]["verb"], s["args"]["caller"]["user"]) for s in said[1:4]] == [
        ("resume", "tester"),
        ("resume", "tester"),
        ("pause", "somebody"),
    ]


def resume_refused(cli):
    """Whoever may pause may not, by that alone, undo it."""
    if cli.with_config("status", "-o", "json").json["paused"] == []:
        paused = cli.with_config("pause", "--reason", "r", "-o", "json")
        assert paused.code == 0
        assert paused.json["ok"]
    refused = cli.with_config("resume")
    assert (refused.code, refused.out) == (6, "")
    assert refused.err == "consulguard: resume needs the role admin; you have operator\n"


def test_a_name_where_an_id_belongs_is_refused(tmp_path):
    cli = Cli(tmp_path, access={"admin": {"slack_users": ["ann"]}})
    done = cli.with_config("check")
    assert done.code == 78
    assert "access.admin.slack_users" in done.err
    assert "is not the id of a Slack user" in done.err
