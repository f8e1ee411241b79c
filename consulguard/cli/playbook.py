"""``consulguard playbook``: look at, check and test playbooks, without Consul."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from consulguard.app import actions, stories
from consulguard.cli import contracts, doors, printing
from consulguard.cli.options import Options
from consulguard.cli.reading import load_snapshot
from consulguard.config import Loaded, settings
from consulguard.config.files import read_text, yaml_files
from consulguard.errors import ConfigError, PlaybookError
from consulguard.plan import PlaybookFile, read
from consulguard.plan import lint as lint_rules

PathsArg = Annotated[list[Path] | None, typer.Argument(help="Files or folders; default: the configured folder.")]
Named = Annotated[str, typer.Argument(help="The playbook's name.", show_default=False)]


def _files(loaded: Loaded, paths: list[Path] | None) -> list[Path]:
    wanted = paths or [settings.playbook_dir(loaded)]
    found = [f for p in wanted for f in (yaml_files(p) if p.is_dir() else [p])]
    if not found:
        raise ConfigError("there is no playbook here", where=", ".join(map(str, wanted)))
    return found


def _read(files: list[Path]) -> Iterator[tuple[Path, PlaybookFile | tuple[PlaybookError, ...]]]:
    for path in files:
        try:
            yield path, read(read_text(path, "the playbook"), str(path))
        except ConfigError as error:
            yield path, (PlaybookError(error.message, where=error.where),)


def list_(options: Options) -> int:
    """All playbooks; a broken one stays visible, disabled, with its reason."""
    rows = []
    for path, found in _read(_files(options.load(), None)):
        if isinstance(found, PlaybookFile):
            book = found.playbook
            row = {"name": book.id, "mode": book.mode.value, "priority": book.priority, "state": "enabled"}
            rows.append(row | {"source": book.source, "description": book.description})
        else:
            row = {"name": path.stem, "mode": "", "priority": 0, "state": "disabled", "source": str(path)}
            rows.append(row | {"description": str(found[0])})
    if not printing.data(options, rows):
        cells = [(r["name"], r["state"], r["mode"], r["priority"], r["description"]) for r in rows]
        printing.console(options).print(
            printing.table(("NAME", "STATE", "MODE", "PRIORITY", "DESCRIPTION"), cells)
        )
    return doors.OK


def show(options: Options, name: Named) -> int:
    """One playbook as it was understood."""
    for _, found in _read(_files(options.load(), None)):
        if isinstance(found, PlaybookFile) and found.playbook.id == name:
            told = contracts.plain(found.playbook)
            if not printing.data(options, told):
                print(read_text(Path(found.playbook.source.rsplit(":", 1)[0]), "the playbook"), end="")
            return doors.OK
    raise ConfigError(f"there is no playbook named {name!r}; see: consulguard playbook list")


def lint(options: Options, paths: PathsArg = None) -> int:
    """Everything wrong or doubtful, with file and line. Exit code 3 when there is anything."""
    known = actions()
    findings, good = [], []
    for _, found in _read(_files(options.load(), paths)):
        if isinstance(found, PlaybookFile):
            good.append(found.playbook)
        else:
            findings += [{"where": e.where, "rule": "load", "text": e.message} for e in found]
    params = {name: action.Params for name, action in known.items()}
    for finding in lint_rules(good, [a.info() for a in known.values()], params):
        findings.append({"where": finding.where, "rule": finding.rule, "text": finding.text})
    if not printing.data(options, findings):
        for told in findings:
            print(f"{told['where']}: {told['text']} [{told['rule']}]")
        if not findings and not options.quiet:
            print(f"{len(good)} playbooks, no findings")
    return doors.LINT if findings else doors.OK


def test_(options: Options, paths: PathsArg = None) -> int:
    """Run the stories of playbooks through the engine. Exit code 4 when one does not end as it says."""
    known = [a.info() for a in actions().values()]
    told: list[dict[str, Any]] = []
    for path, found in _read(_files(options.load(), paths)):
        if not isinstance(found, PlaybookFile):
            raise found[0]
        for story in found.tests:
            recording = path.parent / story.given
            problems = stories.problems(found.playbook, story, load_snapshot(recording), known)
            told.append(
                {"playbook": found.playbook.id, "story": story.name, "ok": not problems, "problems": problems}
            )
    if not printing.data(options, told):
        for result in told:
            print(f"{'ok  ' if result['ok'] else 'FAIL'} {result['playbook']}: {result['story']}")
            for problem in result["problems"]:
                print(f"     {problem}")
    return doors.OK if all(r["ok"] for r in told) else doors.EXPECTATION
