"""Silences and incidents by hand, as people type them."""

from __future__ import annotations

import pytest

from tests.shell.cli.support import Cli
from tests.shell.cli.test_daemon import FAST, Daemon


def config(cli: Cli) -> tuple[str, str]:
    return "--config", str(cli.config)


def test_silences_without_a_daemon_are_for_the_next_one(tmp_path):
    cli = Cli(tmp_path)
    added = cli("silence", "add", "-a", "ann", "-d", "2h", "-c", "ticket 7", "service=pay", *config(cli))
    assert added.code == 0
    assert added.out.startswith("sil-1 until ")
    assert "no daemon runs here" in added.out
    (silence,) = cli.with_config("silence", "query", "-o", "json").json["silences"]
    assert silence | {"starts_at": "", "ends_at": ""} == {
        "id": "sil-1",
        "state": "active",
        "matchers": ['service="pay"'],
        "author": "ann (by tester (command line))",
        "comment": "ticket 7",
        "starts_at": "",
        "ends_at": "",
        "incidents": [],
    }
    assert silence["ends_at"] > silence["starts_at"]
    ended = cli.with_config("silence", "expire", "sil-1")
    assert ended.out.startswith("sil-1 is over")
    again = cli.with_config("silence", "expire", "sil-1")
    assert (again.code, "was over at" in again.err) == (1, True)
    assert cli.with_config("silence", "query", "-q", "--expired").out == "sil-1\n"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["-c", "x", "sevrice=pay"], 2, "did you mean service"),
        (["service=pay"], 1, "needs a comment"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, args, code, words):
    cli = Cli(tmp_path)
    done = cli("silence", "add", *args, *config(cli))
    assert done.code == code
    assert words in done.err


@pytest.mark.real
def test_an_incident_in_a_persons_hands(tmp_path, mesh):
    cli = Cli(tmp_path, mesh.address, **FAST)
    with Daemon(cli) as daemon:
        daemon.listening()
        incident = daemon.until(lambda: named(cli, "c"))
        done = cli.with_config("incident", "ack", incident["id"])
        assert (done.code, done.out) == (0, f"{incident['id']} is acknowledged\n")
        assert cli.with_config("incident", "assign", incident["id"], "bob").code == 0
        refused = cli.with_config("incident", "resolve", incident["id"])
        assert (refused.code, "needs a reason" in refused.err) == (1, True)
        assert cli.with_config("incident", "resolve", incident["id"], "--reason", "known").code == 0
        closed = named(cli, "c")
        assert (closed["state"], closed["acknowledged"]["by"]) == ("resolved", "tester (command line)")
        assert closed["resolved_by"] == {"who": "tester (command line)", "why": "known"}
        assert cli.with_config("incident", "reopen", incident["id"], "--reason", "not yet").code == 0
        opened = named(cli, "c")
        assert (opened["state"], opened["acknowledged"], opened["assigned_to"]) == ("open", None, "bob")
        added = cli("silence", "add", "-q", "-c", "quiet", "service=c", *config(cli))
        assert added.out == "sil-1\n"
        (silence,) = cli.with_config("silence", "query", "-o", "json").json["silences"]
        assert silence["incidents"] == [incident["id"]]
        daemon.until(lambda: "SILENCED" in daemon.text())


def named(cli: Cli, service: str):
    found = cli.with_config("incident", "list", "-o", "json").json["incidents"]
    return next((i for i in found if i["root"]["name"] == service), None)
