"""``routes show`` and ``routes test``, as a person calls them."""

import pytest

from tests.shell.cli.support import Cli


@pytest.fixture
def cli(tmp_path):
    return Cli(
        tmp_path,
        receivers={"payments": {"kind": "slack", "channel": "C1"}, "nobody": {"kind": "none"}},
        time_intervals={"always": {"times": [{"start": "00:00", "end": "24:00"}]}},
        route={
            "receiver": "console",
            "repeat_interval": "4h",
            "routes": [
                {"matchers": ['team="payments"'], "receiver": "payments", "continue": True},
                {"matchers": ['severity="warning"'], "receiver": "nobody", "mute_time_intervals": ["always"]},
            ],
        },
    )


def test_the_tree_and_who_would_be_told(cli):
    shown = cli.with_config("routes", "show")
    assert shown.out.splitlines() == [
        "everything else -> console  (repeat_interval 4h)",
        '  team="payments" -> payments  (repeat_interval 4h, continue)',
        '  severity="warning" -> nobody  (repeat_interval 4h, mute times)',
    ]
    labels = "team=payments", "severity=warning"
    told = cli.with_config("routes", "test", *labels, "--verify.receivers", "payments,nobody")
    assert told.code == 0
    assert told.out.startswith("payments\nnobody (muted until 2")
    other = cli.with_config("routes", "test", "--verify.receivers", "payments")
    assert (other.code, other.out) == (4, "console\n")
    assert "expected payments, but console would be told" in other.err
    wrong = cli.with_config("routes", "test", "teem=x")
    assert (wrong.code, "did you mean team?" in wrong.err) == (2, True)


def test_without_a_route(tmp_path):
    cli = Cli(tmp_path)
    told = cli.with_config("routes", "test", "team=x", "-o", "json").json
    assert told == {"receivers": [{"receiver": "console", "muted_until": None}]}
