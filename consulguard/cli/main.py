"""All verbs, and the one way in."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from consulguard import __version__
from consulguard.cli import (
    brake,
    check,
    completion,
    demo,
    explain,
    incident,
    journal,
    plan,
    playbook,
    run,
    status,
    topology,
)
from consulguard.cli.doors import INTERRUPTED, OK
from consulguard.cli.options import Options, verb

ABOUT = "Watches a Consul service mesh, names the root cause, and repairs it behind strict guards."


def _app(help_text: str) -> typer.Typer:
    return typer.Typer(help=help_text, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


app = _app(ABOUT)
VERBS: dict[str, Callable[..., int | None]] = {
    "run": run.run,
    "demo": demo.demo,
    "plan": plan.plan,
    "explain": explain.explain,
    "topology": topology.topology,
    "check": check.check,
    "status": status.status,
    "pause": brake.pause,
    "resume": brake.resume,
}
for name, function in VERBS.items():
    verb(app, name)(function)

NOUNS: dict[str, tuple[str, dict[str, Callable[..., int | None]]]] = {
    "playbook": (
        "Look at, check and test playbooks.",
        {"list": playbook.list_, "show": playbook.show, "lint": playbook.lint, "test": playbook.test_},
    ),
    "incident": ("What failed, and what was done.", {"list": incident.list_, "show": incident.show}),
    "journal": ("The record of every decision.", {"verify": journal.verify, "tail": journal.tail}),
}
for noun, (about, verbs) in NOUNS.items():
    group = _app(about)
    for name, function in verbs.items():
        verb(group, name)(function)
    app.add_typer(group, name=noun)


@verb(app, "version")
def version(options: Options) -> int:
    """The version."""
    print(f"consulguard {__version__}")
    return OK


app.command("completion")(completion.completion)


def main() -> None:
    """Entry point. An interrupt is an exit code, not a traceback."""
    try:
        app(prog_name="consulguard")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
