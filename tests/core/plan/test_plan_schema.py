"""The published JSON Schema is the one of the code."""

from __future__ import annotations

import json
from pathlib import Path

from consulguard.plan import json_schema

FILE = Path(__file__).parents[3] / "docs" / "playbook.schema.json"


def test_the_published_schema_is_current() -> None:
    assert json.loads(FILE.read_text()) == json_schema(), "run make docs"


def test_it_helps_an_editor() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    assert {"name", "match", "steps"} <= set(schema["required"])
    match = schema["$defs"]["MatchModel"]["properties"]
    assert match["for"]["default"] == "1m"
    assert "with" in schema["$defs"]["StepModel"]["properties"]
