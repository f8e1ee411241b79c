"""``consulguard playbook`` and the exit codes of a wrong configuration."""

import os
import shutil
from pathlib import Path

import pytest

SHIPPED = Path(__file__).parents[3] / "playbooks"
STORY = """
tests:
  - {name: drains it, given: recording.jsonl, expect: {matched: true, steps: [other]}}
"""


def states(done):
    return {row["name"]: row["state"] for row in done.json}


def test_a_broken_one_stays_visible_and_disabled(cli):
    cli.book("broken", "name: broken\nstepz: []\n")
    cli.book("typo", (cli.folder / "playbooks/drain.yaml").read_text().replace("consul.m", "consul.n"))
    (cli.folder / "playbooks/typo.yaml").write_text(
        (cli.folder / "playbooks/typo.yaml").read_text().replace("name: drain\nmode", "name: typo\nmode")
    )
    done = cli.with_config("playbook", "list", "-o", "json")
    assert done.code == 0
    assert states(done) == {"drain": "enabled", "broken": "disabled", "typo": "disabled"}
    told = {row["name"]: row["description"] for row in done.json}
    assert "broken.yaml:2: stepz: unknown key 'stepz'; did you mean steps?" in told["broken"]
    assert "consul.naintenance" in told["typo"]
    table = cli.with_config("playbook", "list").out
    assert "disabled" in table
    assert "broken.yaml:2: stepz" in table
    assert cli.with_config("playbook", "show", "broken").code == 78


def test_two_of_one_name_are_disabled(cli):
    shutil.copy(cli.folder / "playbooks/drain.yaml", cli.folder / "playbooks/twin.yaml")
    done = cli.with_config("playbook", "list", "-o", "json")
    assert states(done) == {"drain": "disabled", "twin": "disabled"}


def test_show(cli):
    assert cli.with_config("playbook", "show", "drain").out == (cli.folder / "playbooks/drain.yaml").read_text()
    understood = cli.with_config("playbook", "show", "drain", "-o", "json").json
    assert (understood["id"], understood["priority"], understood["mode"]) == ("drain", 0, "auto")
    assert understood["match"]["for_s"] == 30
    missing = cli.with_config("playbook", "show", "nothing")
    assert missing.code == 1
    assert "playbook list" in missing.err


class TestLint:
    def test_nothing_to_say(self, cli):
        done = cli.with_config("playbook", "lint")
        assert (done.code, done.out) == (0, "1 playbooks, no findings\n")

    def test_findings_are_exit_code_3_with_their_place(self, cli):
        path = cli.book("broken", "name: broken\nstepz: []\n")
        done = cli.with_config("playbook", "lint", str(path))
        assert done.code == 3
        assert f"{path}:2: stepz: unknown key" in done.out
        found = cli.with_config("playbook", "lint", "-o", "json")
        assert found.code == 3
        assert {"where", "rule", "text"} == set(found.json[0])

    def test_stdin(self, cli):
        done = cli("playbook", "lint", "-", stdin="name: [\n")
        assert done.code == 3
        assert done.out.startswith("stdin:")

    def test_files_of_anybody_are_looked_at_but_not_used(self, cli):
        """Lint decides nothing, so a checkout others may write is fine; the daemon's folder is not."""
        path = cli.folder / "playbooks/drain.yaml"
        path.chmod(0o666)
        assert cli("playbook", "lint", str(path)).code == 0
        refused = cli.with_config("playbook", "list")
        assert refused.code == 78
        assert f"chmod o-w {path}" in refused.err


class TestStories:
    def test_the_shipped_ones_hold(self, cli):
        done = cli("playbook", "test", str(SHIPPED))
        assert done.code == 0, done.out
        assert done.out.count("ok  ") >= 8

    def test_one_that_does_not_is_exit_code_4(self, cli):
        shutil.copy(SHIPPED / "fixtures/restart-instance.jsonl", cli.folder / "playbooks/recording.jsonl")
        text = (cli.folder / "playbooks/drain.yaml").read_text().replace("[abc]", "payment")
        path = cli.book("drain", text + STORY)
        done = cli("playbook", "test", str(path))
        assert done.code == 4
        assert "FAIL drain: drains it" in done.out
        assert "expected steps ['other'], got ['drain']" in done.out

    @pytest.mark.parametrize("text", ["", "{}\n", '{"event":"Looked"}\n', "[" * 20_000 + "\n", "\x1b[2J\n"])
    def test_a_damaged_recording(self, cli, text):
        (cli.folder / "playbooks/recording.jsonl").write_text(text)
        path = cli.book("drain", (cli.folder / "playbooks/drain.yaml").read_text() + STORY)
        done = cli("playbook", "test", str(path))
        assert done.code == 78
        assert f"{cli.folder}/playbooks/recording.jsonl" in done.err
        assert done.err.count("\n") == 1
        assert "\x1b" not in done.err


class TestConfiguration:
    @pytest.fixture
    def wrong(self, tmp_path):
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "open").write_text("mode: auto\n")
        (tmp_path / "open").chmod(0o666)
        (tmp_path / "typo").write_text("moed: auto\n")
        (tmp_path / "esc").write_text('mode: "\\e[2J"\n')
        return {n: str(tmp_path / n) for n in ("none", "fifo", "open", "typo", "esc")} | {
            "folder": str(tmp_path),
            "device": "/dev/zero",
        }

    @pytest.mark.parametrize("kind", ["none", "fifo", "open", "typo", "esc", "folder", "device"])
    def test_a_wrong_file_is_exit_code_78_and_one_sentence(self, cli, wrong, kind):
        done = cli("playbook", "list", "-c", wrong[kind])
        assert (done.code, done.out) == (78, "")
        assert done.err.startswith(f"consulguard: {wrong[kind]}:")
        assert done.err.count("\n") == 1
        assert "\x1b" not in done.err

    def test_the_daemon_as_well(self, cli, wrong):
        assert cli("run", "-c", wrong["typo"]).code == 78
        assert cli.with_config("run", CONSULGUARD_GUARDS_MAX_OPN="1").code == 78

    def test_stdin(self, cli):
        text = f"playbooks: {{dir: {cli.folder}/playbooks}}\n"
        assert cli("playbook", "list", "-q", "-c", "-", stdin=text).code == 0
        done = cli("playbook", "list", "-c", "-", stdin="moed: auto\n")
        assert done.code == 78
        assert "stdin:1: moed" in done.err

    def test_flag_over_environment_over_file(self, cli):
        def asked(*flags, **env):
            return cli.with_config("check", *flags, **env).out

        assert "127.0.0.1:1:" in asked()
        assert "127.0.0.1:2:" in asked(CONSUL_HTTP_ADDR="127.0.0.1:2")
        assert "127.0.0.1:3:" in asked("--http-addr", "127.0.0.1:3", CONSUL_HTTP_ADDR="127.0.0.1:2")
