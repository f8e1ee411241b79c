"""``consulguard playbook``: look at, check and test playbooks, without Consul."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from consulguard.app import actions, configured, ordered, stories
from consulguard.cli import approval, contracts, doors, printing, reading, snapshots, word
from consulguard.cli.options import Options
from consulguard.cli.plan import show_incident, show_steps
from consulguard.clock import SystemClock
from consulguard.config import Loaded, settings
from consulguard.config.files import read_text, yaml_files
from consulguard.errors import ConfigError, PlaybookError
from consulguard.plan import PlaybookFile, read
from consulguard.plan import lint as lint_rules

PathsArg = Annotated[
    list[Path] | None, typer.Argument(help="Files or folders; default: the configured folder. - is stdin.")
]
Named = Annotated[str, typer.Argument(help="The playbook's name.", show_default=False)]


def _files(loaded: Loaded, paths: list[Path] | None) -> list[Path]:
    wanted = paths or [settings.playbook_dir(loaded)]
    found = [f for p in wanted for f in (yaml_files(p) if p.is_dir() or not paths else [p])]
    if not found and not loaded.config.playbooks.allow_empty:
        raise ConfigError("there is no playbook here", where=", ".join(map(str, wanted)))
    return found


def _read(files: list[Path], *, anybodys: bool) -> Iterator[tuple[Path, PlaybookFile | tuple[PlaybookError, ...]]]:
    for path in files:
        try:
            source = "stdin" if str(path) == "-" else str(path)
            yield path, read(read_text(path, "the playbook", anybodys=anybodys), source)
        except ConfigError as error:
            yield path, (PlaybookError(error.message, where=error.where),)


def list_(options: Options) -> int:
    """All playbooks; a broken one stays visible, disabled, with its reason."""
    given, disabled = configured(options.load_all(), SystemClock().now())
    rows: list[dict[str, Any]] = [
        {"name": p.id, "mode": p.mode.value, "priority": p.priority, "state": "enabled"}
        | {"source": p.source, "description": p.description}
        for p in given.playbooks
    ]
    rows += [
        {"name": Path(e.where.partition(":")[0]).stem, "mode": "", "priority": 0, "state": "disabled"}
        | {"source": e.where, "description": str(e)}
        for e in disabled
    ]
    rows.sort(key=lambda row: str(row["name"]))
    if not printing.data(options, rows):
        cells = [(r["name"], r["state"], r["mode"], r["priority"], r["description"]) for r in rows]
        columns = ("NAME", "STATE", "MODE", "PRIORITY", "DESCRIPTION")
        printing.table(printing.console(options), columns, cells)
    return doors.OK


def show(options: Options, name: Named) -> int:
    """One playbook: its file, or with -o json or yaml as it was understood."""
    for path, found in _read(_files(options.load_all(), None), anybodys=False):
        if isinstance(found, PlaybookFile) and found.playbook.id == name:
            if not printing.data(options, contracts.whole(found.playbook)):
                print(read_text(path, "the playbook"), end="")
            return doors.OK
        if not isinstance(found, PlaybookFile) and path.stem == name:
            raise found[0]
    raise doors.NotFound(f"there is no playbook named {name!r}; see: consulguard playbook list")


def run(
    options: Options,
    name: Named,
    service: Annotated[str, typer.Option(help="The service in which something fails.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> int:
    """Put a playbook in charge of what fails in a service, now. Every guard is asked all the same."""
    if not dry_run:
        return approval.ask_daemon(options, "run", {"playbook": name, "service": service}, word.user())
    state, reply = ordered(reading.look(options, options.load()).state, name, service)
    if not reply.incident:
        raise doors.NotFound(reply.text)
    incident = state.book.incidents[reply.incident]
    answer = contracts.incident_of(incident) | contracts.planned_of(state.plans.get(incident.id), actions())
    if not printing.data(options, answer):
        out = printing.console(options)
        show_incident(out, answer)
        show_steps(out, answer)
    return doors.OK if reply.ok else doors.BLOCKED


def rearm(options: Options, name: Named) -> int:
    """Trust a playbook again that had to ask a person because its last runs did not help."""
    return word.done(options, "rearm", {"playbook": name})


def lint(options: Options, paths: PathsArg = None) -> int:
    """Everything wrong or doubtful, with file and line. Exit code 3 when there is anything."""
    known = actions()
    findings: list[dict[str, Any]] = []
    good = []
    for _, found in _read(_files(options.load_all(), paths), anybodys=bool(paths)):
        if isinstance(found, PlaybookFile):
            good.append(found.playbook)
        else:
            findings += [{"where": e.where, "rule": "load", "text": e.message} for e in found]
    params = {name: action.Params for name, action in known.items()}
    for finding in lint_rules(good, [a.info() for a in known.values()], params):
        findings.append({"where": finding.where, "rule": finding.rule, "text": finding.text})
    if not printing.data(options, findings):
        for told in findings:
            print(doors.stripped(f"{told['where']}: {told['text']} [{told['rule']}]"))
        if not findings and not options.quiet:
            print(f"{len(good)} playbooks, no findings")
    return doors.LINT if findings else doors.OK


def try_stories(options: Options, paths: PathsArg = None) -> int:
    """Run the stories of playbooks through the engine. Exit code 4 when one does not end as it says."""
    known = [a.info() for a in actions().values()]
    told: list[dict[str, Any]] = []
    for path, found in _read(_files(options.load_all(), paths), anybodys=bool(paths)):
        if not isinstance(found, PlaybookFile):
            raise found[0]
        for story in found.tests:
            events = snapshots.load_recording(path.parent / story.given)
            problems = stories.problems(found.playbook, story, events, known)
            told.append(
                {"playbook": found.playbook.id, "story": story.name, "ok": not problems, "problems": problems}
            )
    if not printing.data(options, told):
        for result in told:
            mark = "ok  " if result["ok"] else "FAIL"
            for line in (
                f"{mark} {result['playbook']}: {result['story']}",
                *(f"     {p}" for p in result["problems"]),
            ):
                print(doors.stripped(line))
        if not told and not options.quiet:
            print("no playbook here has a story")
    return doors.OK if all(r["ok"] for r in told) else doors.EXPECTATION
