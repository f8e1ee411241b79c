"""The docs are about the code that is there."""

import re
import tomllib
from pathlib import Path

import typer.main

from consulguard import registry
from consulguard.cli.main import app
from consulguard.config.schema import Config

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def headings(name: str) -> set[str]:
    text = (DOCS / name).read_text()
    return {h.strip().strip("`") for h in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def test_every_action_has_its_heading():
    assert set(registry.names(registry.ACTIONS)) <= headings("actions.md")


def test_every_guard_is_explained():
    text = (DOCS / "guards.md").read_text()
    assert [g for g in registry.names(registry.GUARDS) if f"`{g}`" not in text and g not in headings("guards.md")] == []


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (DOCS / "dependencies.md").read_text().lower()
    names = [re.split(r"[<>=\[]", d)[0] for d in project["dependencies"]]
    assert [n for n in names if n.lower() not in text] == []


def test_every_verb_is_documented():
    text = (DOCS / "cli.md").read_text()
    group = typer.main.get_group(app)
    verbs = []
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        verbs += [f"{name} {n}" for n in inner] if inner else [name]
    assert [v for v in verbs if f"consulguard {v}" not in text] == []


def test_every_setting_is_documented():
    text = (DOCS / "configuration.md").read_text()
    missing = []
    for section, field in Config.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None) or {}
        missing += [f"{section}.{key}" for key in inner if f"`{section}.{key}`" not in text]
    assert missing == []


def test_links_in_the_docs_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} -> {link}"
