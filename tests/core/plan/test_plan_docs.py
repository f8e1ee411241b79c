"""docs/playbooks.md is about the language that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from consulguard import plan
from consulguard.plan.lookup import ROOTS
from consulguard.plan.matcher import LABELS
from consulguard.plan.schema import PlaybookModel

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "playbooks.md").read_text()


def test_its_example_is_a_good_playbook() -> None:
    example = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)[0]
    assert plan.parse(example, "docs").id == "restart-payment"


@pytest.mark.parametrize("word", [*LABELS, *ROOTS, "meta.<key>", "target.meta.<key>"])
def test_every_label_and_path_is_documented(word: str) -> None:
    assert f"`{word}`" in TEXT


def test_every_rule_is_documented() -> None:
    source = (ROOT / "consulguard" / "plan" / "lint.py").read_text()
    rules = set(re.findall(r'yield\s+\(?\s*(?:\w+, )?"([a-z-]+)",', source))
    assert len(rules) == 14
    assert [r for r in sorted(rules) if f"`{r}`" not in TEXT] == []


def test_every_key_is_documented() -> None:
    for name, field in PlaybookModel.model_fields.items():
        assert f"`{field.alias or name}" in TEXT, name


def test_every_shipped_playbook_is_documented() -> None:
    assert [f.stem for f in (ROOT / "playbooks").glob("*.yaml") if f"`{f.stem}`" not in TEXT] == []
