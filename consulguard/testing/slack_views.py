"""Slack's published limits for modals, as ``views.open`` checks them."""

from __future__ import annotations

from typing import Any

from consulguard.testing import slack_blocks

BLOCKS_MAX = 100
_TITLES = ("title", "submit", "close")


def problems(view: Any) -> list[str]:
    """What Slack would complain about; empty when it is fine."""
    if not isinstance(view, dict) or view.get("type") not in ("modal", "home"):
        return ["unsupported type [json-pointer:/view/type]"]
    found = []
    for name in _TITLES:
        if name not in view and name != "title":
            continue
        found += [
            f"{text} [json-pointer:/view{at}]" for text, at in slack_blocks.text(view.get(name), f"/{name}", 24)
        ]
    for name, longest in (("private_metadata", 3000), ("callback_id", 255)):
        if len(str(view.get(name) or "")) > longest:
            found.append(f"must be less than {longest + 1} characters [json-pointer:/view/{name}]")
    blocks = view.get("blocks")
    if not isinstance(blocks, list) or not blocks:
        found.append("missing required field: blocks [json-pointer:/view/blocks]")
        blocks = []
    kinds = [block.get("type") for block in blocks if isinstance(block, dict)]
    if "input" in kinds and not view.get("submit"):
        found.append("submit is required with an input block [json-pointer:/view/submit]")
    return found + slack_blocks.problems(blocks, "/view/blocks", most=BLOCKS_MAX)
