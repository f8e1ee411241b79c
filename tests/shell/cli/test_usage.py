"""What every verb has: help, usage errors, completion, and a quick start."""

import shutil
import subprocess
import sys

import pytest
import typer.main
from consulguard.cli.main import VERBS, build, listed
from typer.testing import CliRunner

WORDS = [[verb] for verb in (*VERBS, "version", "completion")]
WORDS += [[noun, verb] for noun, verbs in VERBS.items() if isinstance(verbs, dict) for verb in verbs]


@pytest.fixture(scope="module")
def app():
    return build()


@pytest.mark.parametrize("words", [[], *WORDS], ids=" ".join)
def test_every_verb_has_help(app, words):
    done = CliRunner().invoke(app, [*words, "--help"], prog_name="consulguard")
    assert done.exit_code == 0
    assert f"Usage: {' '.join(['consulguard', *words])}" in done.output


def test_the_list_of_verbs_says_what_they_say_themselves(app):
    pages = [CliRunner().invoke(each, ["--help"], prog_name="consulguard").output for each in (listed(), app)]
    assert pages[0] == pages[1]


def test_every_option_of_every_verb_is_explained(app):
    def leaves(command):
        inner = getattr(command, "commands", None)
        return [leaf for c in inner.values() for leaf in leaves(c)] if inner else [command]

    silent = [f"{c.name} {p.name}" for c in leaves(typer.main.get_group(app)) for p in c.params if not p.help]
    assert [s for s in silent if not s.endswith(" help")] == []


WRONG = [
    ["plna"],
    ["plan", "--bogus"],
    ["plan", "-o", "xml"],
    ["plan", "--timeout", "0"],
    ["plan", "--timeout", "nan?"],
    ["plan", "--log-level", "loud"],
    ["plan", "superfluous"],
    ["run", "--mode", "AUTO"],
    ["demo", "--fault", "earthquake"],
    ["explain"],
    ["pause"],
    ["playbook", "remove"],
    ["journal", "tail", "-n", "0"],
    ["completion", "tcsh"],
    ["pause", "--reason", "x", "--for", "5"],
    ["plan", "--token", "t", "--token-file", "f"],
]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_wrong_command_line_is_exit_code_2(app, words):
    done = CliRunner().invoke(app, words, prog_name="consulguard")
    assert done.exit_code == 2
    assert done.exception is None or isinstance(done.exception, SystemExit)


def test_a_near_miss_is_named(cli):
    done = cli("plna")
    assert done.code == 2
    assert "plan" in done.err


@pytest.mark.parametrize("words", [["version"], ["--version"]])
def test_version(cli, words):
    done = cli(*words)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("consulguard 0.")


def imported(*words):
    """The modules a verb has imported when it ends."""
    code = (
        "import sys\nfrom consulguard.cli.main import main\n"
        "sys.argv[0] = 'consulguard'\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split("\n")[-2].split()}


def test_a_verb_imports_only_what_it_needs():
    heavy = {"aiohttp", "consul", "rich", "ruamel", "structlog", "slack_sdk", "apscheduler", "asyncio", "msgspec"}
    assert imported("version") & heavy == set()
    assert imported("--help") & heavy == {"rich"}
    assert imported("plan", "--snapshot", "none") & {"slack_sdk", "apscheduler", "prometheus_client"} == set()
    assert imported("pause", "--help") & {"slack_sdk", "apscheduler", "PIL"} == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cli, shell, tmp_path):
    done = cli("completion", shell)
    assert done.code == 0
    assert "_CONSULGUARD_COMPLETE" in done.out
    if shutil.which(shell):  # bash is everywhere; the others are read where they are
        script = tmp_path / "script"
        script.write_text(done.out)
        assert subprocess.run([shell, "-n", str(script)], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "offered"), [("consulguard pl", {"plan", "playbook"}), ("consulguard playbook l", {"list", "lint"})]
)
def test_bash_is_offered_verbs(cli, words, offered):
    env = {"_CONSULGUARD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert set(cli(**env).out.split()) == offered
