"""The docs are about the code that is there."""

import re
import tomllib
from pathlib import Path

import typer.main
from consulguard import registry
from consulguard.cli.main import build
from consulguard.config.schema import Config
from consulguard.plan.strict import Strict

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def headings(name: str) -> set[str]:
    text = (DOCS / name).read_text()
    return {h.strip().strip("`") for h in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def test_every_action_has_its_heading():
    assert set(registry.names(registry.ACTIONS)) <= headings("actions.md")


def test_every_guard_is_explained():
    text = (DOCS / "guards.md").read_text()
    named = headings("guards.md")
    assert [g for g in registry.names(registry.GUARDS) if f"`{g}`" not in text and g not in named] == []


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (DOCS / "dependencies.md").read_text().lower()
    names = [re.split(r"[<>=\[]", d)[0] for d in project["dependencies"]]
    assert [n for n in names if n.lower() not in text] == []


def test_every_verb_is_documented():
    text = (DOCS / "cli.md").read_text()
    group = typer.main.get_group(build())
    verbs = []
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        verbs += [f"{name} {n}" for n in inner] if inner else [name]
    assert [v for v in verbs if f"consulguard {v}" not in text] == []


def settings(section: Strict, above: str = "") -> list[tuple[str, bool]]:
    """Names of all settings, and whether each says what it means."""
    found = []
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        inner = settings(value, f"{above}{key}.") if isinstance(value, Strict) else None
        found += inner if inner is not None else [(f"{above}{key}", bool(field.description))]
    return found


def test_every_setting_is_documented():
    text = (DOCS / "configuration.md").read_text()
    assert [name for name, _ in settings(Config()) if f"`{name}`" not in text] == []
    assert [name for name, told in settings(Config()) if not told] == []


def test_links_in_the_docs_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} -> {link}"
