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
# what the list of verbs says: with it, the list needs nothing imported
HELP = {
    "run": "Watch, correlate, plan, guard, act, verify and tell, until stopped.",
    "demo": "A web shop of ten services, a fault, and what consulguard makes of it. Ends by itself.",
    "plan": "Dry run: what is wrong now, why, and what would be done. Only reads.",
    "explain": "Why: for a service its state and incidents, for an incident every guard,"
    " for a playbook every match.",
    "topology": "The dependency graph: who calls whom, how we know, and how each one is.",
    "check": "Say what works and what is missing, each with what to do.",
    "status": "How the mesh, or one service, is now.",
    "simulate": "On the present topology and health: what would be blamed, and what each guard"
    " would say of the cure.",
    "shards": "Units and replicas: who owns which by the ring, who holds each lease, and since which epoch.",
    "pause": "No new run starts; one that runs ends its step and verifies.",
    "resume": "Lift every pause, or those with one reason; while another is left, all stays paused.",
    "version": "The version.",
    "completion": "Print the completion script: source <(consulguard completion bash).",
    "playbook": "Look at, check, test and run playbooks.",
    "approval": "What people are asked before it is done.",
    "routes": "Who is told what.",
    "incident": "What failed, and what was done.",
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
        group = _app(HELP[name])
        for inner, function in what.items():
            verb(group, inner)(_function(function))
        app.add_typer(group, name=name)
    app.command("version")(version)
    if only in ("", "completion"):
        app.command("completion")(_function("completion:completion"))
    return app


def listed() -> typer.Typer:
    """The command line's first page: every verb and noun by its name, and nothing behind it."""
    app = _app(ABOUT)
    app.callback()(_top)
    for name, text in HELP.items():
        app.command(name, help=text)(_nothing)
    return app


def _nothing() -> None:
    pass


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
    words = sys.argv
    if os.environ.get(COMPLETING):
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
        words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()
    first = words[1].replace("--version", "version") if len(words) > 1 else ""
    try:
        app = build(only=first) if first in HELP else listed()
        app(prog_name="consulguard")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
