"""Slack's published limits for messages and blocks, as its server checks them.

Source: Slack's reference of Block Kit (blocks, composition objects, block elements) and of ``chat.postMessage``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

BLOCKS_MAX = 50
TEXT_MAX = 40_000
TOTAL_MAX = 12_000  # all text of all blocks of one message together

Problem = str
_OTHER_KINDS = {"input", "file", "rich_text", "video", "markdown", "table"}


def problems(blocks: Any, where: str = "/blocks") -> list[Problem]:
    """What Slack would complain about, in its own form ("... [json-pointer:/blocks/0]"); empty when it is fine."""
    if not isinstance(blocks, list):
        return [f"must be an array [json-pointer:{where}]"]
    found = [f"no more than {BLOCKS_MAX} items allowed [json-pointer:{where}]"] if len(blocks) > BLOCKS_MAX else []
    ids = [b["block_id"] for b in blocks if isinstance(b, dict) and "block_id" in b]
    if len(ids) != len(set(ids)):
        found.append(f"block_id must be unique [json-pointer:{where}]")
    for number, block in enumerate(blocks):
        found += [f"{text} [json-pointer:{where}/{number}{at}]" for text, at in _block(block)]
    return found


def length(value: Any) -> int:
    """Characters of all texts in blocks, however deep."""
    if isinstance(value, list):
        return sum(length(item) for item in value)
    if isinstance(value, dict):
        own = len(value["text"]) if isinstance(value.get("text"), str) else 0
        return own + sum(length(v) for v in value.values() if isinstance(v, dict | list))
    return 0


_Found = Iterator[tuple[str, str]]


def _block(block: Any) -> _Found:
    if not isinstance(block, dict):
        yield "must be an object", ""
        return
    kind = block.get("type")
    if len(str(block.get("block_id", ""))) > 255:
        yield "must be less than 256 characters", "/block_id"
    if kind in _KINDS:
        yield from _KINDS[kind](block)
    elif kind not in _OTHER_KINDS:
        yield f"unsupported type: {kind}", "/type"


def _text(value: Any, at: str, longest: int, *, plain: bool = False) -> _Found:
    if not isinstance(value, dict) or value.get("type") not in ("plain_text", "mrkdwn"):
        yield "must be a text object", at
    elif plain and value["type"] != "plain_text":
        yield "must be a plain_text object", at
    elif not isinstance(value.get("text"), str) or not value["text"]:
        yield "must be more than 0 characters", f"{at}/text"
    elif len(value["text"]) > longest:
        yield f"must be less than {longest + 1} characters", f"{at}/text"


def _header(block: dict[str, Any]) -> _Found:
    yield from _text(block.get("text"), "/text", 150, plain=True)


def _section(block: dict[str, Any]) -> _Found:
    fields = block.get("fields")
    if "text" not in block and not fields:
        yield "missing required field: text or fields", ""
    if "text" in block:
        yield from _text(block["text"], "/text", 3000)
    if fields is not None and not 1 <= len(fields) <= 10:
        yield "must have between 1 and 10 items", "/fields"
    for number, field in enumerate(fields or ()):
        yield from _text(field, f"/fields/{number}", 2000)
    if "accessory" in block:
        yield from _element(block["accessory"], "/accessory")


def _context(block: dict[str, Any]) -> _Found:
    elements = block.get("elements") or []
    if not 1 <= len(elements) <= 10:
        yield "must have between 1 and 10 items", "/elements"
    for number, element in enumerate(elements):
        if element.get("type") != "image":
            yield from _text(element, f"/elements/{number}", 3000)


def _actions(block: dict[str, Any]) -> _Found:
    elements = block.get("elements") or []
    if not 1 <= len(elements) <= 25:
        yield "must have between 1 and 25 items", "/elements"
    ids = [e["action_id"] for e in elements if "action_id" in e]
    if len(ids) != len(set(ids)):
        yield "action_id must be unique", "/elements"
    for number, element in enumerate(elements):
        yield from _element(element, f"/elements/{number}")


def _image(block: dict[str, Any]) -> _Found:
    for name, longest in (("image_url", 3000), ("alt_text", 2000)):
        if not 1 <= len(block.get(name) or "") <= longest:
            yield f"must be between 1 and {longest} characters", f"/{name}"


def _element(element: Any, at: str) -> _Found:
    if not isinstance(element, dict) or not element.get("type"):
        yield "must be an element", at
        return
    if len(element.get("action_id", "")) > 255:
        yield "must be less than 256 characters", f"{at}/action_id"
    if element["type"] == "button":
        yield from _text(element.get("text"), f"{at}/text", 75, plain=True)
        if len(element.get("value", "")) > 2000:
            yield "must be less than 2001 characters", f"{at}/value"
        if element.get("style", "primary") not in ("primary", "danger"):
            yield "must be primary or danger", f"{at}/style"
        if len(element.get("url", "")) > 3000:
            yield "must be less than 3001 characters", f"{at}/url"
    elif element["type"] == "overflow":
        options = element.get("options") or []
        if not 1 <= len(options) <= 5:
            yield "must have between 1 and 5 items", f"{at}/options"
        for number, option in enumerate(options):
            yield from _text(option.get("text"), f"{at}/options/{number}/text", 75, plain=True)
            if len(option.get("value", "")) > 150:
                yield "must be less than 151 characters", f"{at}/options/{number}/value"


_KINDS: dict[str, Callable[[dict[str, Any]], _Found]] = {
    "header": _header,
    "section": _section,
    "context": _context,
    "actions": _actions,
    "image": _image,
    "divider": lambda block: iter(()),
}
