"""All verbs, and the one way in."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from consulguard import __version__
from consulguard.cli.doors import INTERRUPTED
from consulguard.cli.options import verb

ABOUT = "Watches a Consul service mesh, names the root cause, and repairs it behind strict guards."
COMPLETING = "_CONSULGUARD_COMPLETE"

# verb -> function in consulguard.cli; a noun's verbs by name
VERBS: dict[str, str | dict[str, str]] = {
    "run": "run:run",
    "demo": "demo:demo",
    "plan": "plan:plan",
    "explain": "explain:explain",
    "topology": "topology:topology",
    "check": "check:check",
    "status": "status:status",
    "simulate": "simulate:simulate",
    "shards": "shards:shards",
    "pause": "brake:pause",
    "resume": "brake:resume",
    "playbook": {
        "list": "playbook:list_",
        "show": "playbook:show",
        "lint": "playbook:lint",
        "test": "playbook:try_stories",
        "run": "playbook:run",
        "rearm": "playbook:rearm",
    },
    "approval": {"list": "approval:list_", "approve": "approval:approve", "deny": "approval:deny"},
    "routes": {"show": "routes:show", "test": "routes:try_"},
    "incident": {
        "list": "incident:list_",
        "show": "incident:show",
        "ack": "hands:ack",
        "assign": "hands:assign",
        "resolve": "hands:resolve",
        "reopen": "hands:reopen",
    },
    "silence": {"add": "silence:add", "query": "silence:query", "expire": "silence:expire"},
    "journal": {
        "verify": "journal:verify",
        "tail": "journal:tail",
        "accept": "journal:accept",
        "export": "journal_export:export_",
        "template": "journal_export:template",
    },
}
NOUNS = {
    "playbook": "Look at, check, test and run playbooks.",
    "approval": "What people are asked before it is done.",
    "incident": "What failed, and what was done.",
    "routes": "Who is told what.",
    "silence": "What nobody is to hear of for a while.",
    "journal": "The record of every decision.",
}


def build(only: str = "") -> typer.Typer:
    """The command line. ``only`` a verb or noun: nothing but that, so that nothing else is imported."""
    app = _app(ABOUT)
    app.callback()(_top)
    for name, what in VERBS.items():
        if only and only != name:
            continue
        if isinstance(what, str):
            verb(app, name)(_function(what))
            continue
        group = _app(NOUNS[name])
        for inner, function in what.items():
            verb(group, inner)(_function(function))
        app.add_typer(group, name=name)
    app.command("version")(version)
    if only in ("", "completion"):
        app.command("completion")(_function("completion:completion"))
    return app


def _app(help_text: str) -> typer.Typer:
    return typer.Typer(help=help_text, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _function(place: str) -> Callable[..., int | None]:
    module, _, name = place.partition(":")
    function: Callable[..., int | None] = getattr(importlib.import_module(f"consulguard.cli.{module}"), name)
    return function


def version() -> None:
    """The version."""
    print(f"consulguard {__version__}")


def _version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    pass


_top.__doc__ = ABOUT


def main() -> None:
    """Entry point. An interrupt is an exit code, not a traceback."""
    first = sys.argv[1].replace("--version", "version") if len(sys.argv) > 1 else ""
    if os.environ.get(COMPLETING):
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
        first = ""
    try:
        build(only=first if first in {*VERBS, "version", "completion"} else "")(prog_name="consulguard")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
