"""Slack's published limits for messages and blocks, as its server checks them.

Source: Slack's reference of Block Kit (blocks, composition objects, block elements) and of ``chat.postMessage``.
The total of 12,000 characters is not documented; Slack refuses from about 13,200 on. A colour Slack does not know
it ignores; the twin refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from consulguard.testing.slack_state import SlackRefusal

BLOCKS_MAX = 50
ATTACHMENTS_MAX = 100
TEXT_MAX = 40_000
TOTAL_MAX = 12_000  # all text of all blocks of one message together
METADATA_MAX = 16_000  # as JSON

Problem = str
_Found = Iterator[tuple[str, str]]
_OTHER_KINDS = {"file", "rich_text", "video", "markdown", "table"}
_COLOR = re.compile(r"#[0-9a-fA-F]{6}|good|warning|danger")


def refuse(args: dict[str, Any]) -> None:
    """Raise what Slack answers to a message it does not take."""
    words, blocks = args.get("text") or "", args.get("blocks") or []
    attachments = args.get("attachments") or []
    if not isinstance(words, str) or not isinstance(blocks, list) or not isinstance(attachments, list):
        raise SlackRefusal("invalid_arguments")
    if not (words or blocks or attachments):
        raise SlackRefusal("no_text")
    if len(words) > TEXT_MAX:
        raise SlackRefusal("msg_too_long")
    if len(attachments) > ATTACHMENTS_MAX:
        raise SlackRefusal("too_many_attachments")
    if not all(isinstance(a, dict) and _COLOR.fullmatch(str(a.get("color", "good"))) for a in attachments):
        raise SlackRefusal("invalid_attachments")
    _refuse_blocks(
        [("/blocks", blocks)]
        + [(f"/attachments/{n}/blocks", a.get("blocks") or []) for n, a in enumerate(attachments)]
    )
    _refuse_metadata(args.get("metadata"))


def _refuse_blocks(lists: list[tuple[str, Any]]) -> None:
    found = [problem for where, blocks in lists for problem in problems(blocks, where)]
    if found:
        raise SlackRefusal("invalid_blocks", [f"[ERROR] {problem}" for problem in found])
    if sum(len(blocks) for _, blocks in lists) > BLOCKS_MAX:
        raise SlackRefusal("invalid_blocks", [f"[ERROR] no more than {BLOCKS_MAX} items allowed"])
    if length([blocks for _, blocks in lists]) > TOTAL_MAX:
        raise SlackRefusal("msg_blocks_too_long")


def _refuse_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    named = isinstance(metadata, dict) and isinstance(metadata.get("event_type"), str) and metadata["event_type"]
    if not named or not isinstance(metadata.get("event_payload"), dict):
        raise SlackRefusal("invalid_metadata_format")
    if len(str(metadata)) > METADATA_MAX:
        raise SlackRefusal("metadata_too_large")


def problems(blocks: Any, where: str = "/blocks", *, most: int = BLOCKS_MAX) -> list[Problem]:
    """What Slack would complain about, in its own form ("... [json-pointer:/blocks/0]"); empty when it is fine."""
    if not isinstance(blocks, list):
        return [f"must be an array [json-pointer:{where}]"]
    found = [f"no more than {most} items allowed [json-pointer:{where}]"] if len(blocks) > most else []
    ids = [b["block_id"] for b in blocks if isinstance(b, dict) and "block_id" in b]
    if len(ids) != len(set(ids)):
        found.append(f"block_id must be unique [json-pointer:{where}]")
    for number, block in enumerate(blocks):
        found += [f"{problem} [json-pointer:{where}/{number}{at}]" for problem, at in _block(block)]
    return found


def length(value: Any) -> int:
    """Characters of all texts in blocks, however deep."""
    if isinstance(value, list):
        return sum(length(item) for item in value)
    if isinstance(value, dict):
        own = len(value["text"]) if isinstance(value.get("text"), str) else 0
        return own + sum(length(v) for v in value.values() if isinstance(v, dict | list))
    return 0


def text(value: Any, at: str, longest: int, *, plain: bool = True) -> _Found:
    """What is wrong with a text object."""
    if not isinstance(value, dict) or value.get("type") not in ("plain_text", "mrkdwn"):
        yield "must be a text object", at
    elif plain and value["type"] != "plain_text":
        yield "must be a plain_text object", at
    elif not isinstance(value.get("text"), str) or not value["text"]:
        yield "must be more than 0 characters", f"{at}/text"
    elif len(value["text"]) > longest:
        yield f"must be less than {longest + 1} characters", f"{at}/text"
    elif unknown := sorted(value.keys() - {"type", "text", "emoji", "verbatim"}):
        yield f"invalid additional property: {unknown[0]}", at


def _block(block: Any) -> _Found:
    if not isinstance(block, dict):
        yield "must be an object", ""
        return
    kind = block.get("type")
    yield from _short(block, "block_id", 255, "")
    if kind in _KINDS:
        yield from _KINDS[kind](block)
    elif kind not in _OTHER_KINDS:
        yield f"unsupported type: {kind}", "/type"


def _short(value: dict[str, Any], name: str, longest: int, at: str) -> _Found:
    """A string of at most that many characters, where it is there at all."""
    if name in value and not isinstance(value[name], str):
        yield "must be a string", f"{at}/{name}"
    elif len(value.get(name, "")) > longest:
        yield f"must be less than {longest + 1} characters", f"{at}/{name}"


def _header(block: dict[str, Any]) -> _Found:
    yield from text(block.get("text"), "/text", 150)


def _section(block: dict[str, Any]) -> _Found:
    fields = block.get("fields")
    if "text" not in block and not fields:
        yield "missing required field: text or fields", ""
    if "text" in block:
        yield from text(block["text"], "/text", 3000, plain=False)
    if fields is not None and not 1 <= len(fields) <= 10:
        yield "must have between 1 and 10 items", "/fields"
    for number, field in enumerate(fields or ()):
        yield from text(field, f"/fields/{number}", 2000, plain=False)
    if "accessory" in block:
        yield from _element(block["accessory"], "/accessory")


def _context(block: dict[str, Any]) -> _Found:
    elements = block.get("elements") or []
    if not 1 <= len(elements) <= 10:
        yield "must have between 1 and 10 items", "/elements"
    for number, element in enumerate(elements):
        if not isinstance(element, dict) or element.get("type") != "image":
            yield from text(element, f"/elements/{number}", 3000, plain=False)


def _actions(block: dict[str, Any]) -> _Found:
    elements = block.get("elements") or []
    if not 1 <= len(elements) <= 25:
        yield "must have between 1 and 25 items", "/elements"
    ids = [e["action_id"] for e in elements if isinstance(e, dict) and "action_id" in e]
    if len(ids) != len(set(ids)):
        yield "action_id must be unique", "/elements"
    for number, element in enumerate(elements):
        yield from _element(element, f"/elements/{number}")


def _image(block: dict[str, Any]) -> _Found:
    if "slack_file" not in block and not 1 <= len(block.get("image_url") or "") <= 3000:
        yield "must be between 1 and 3000 characters", "/image_url"
    if not 1 <= len(block.get("alt_text") or "") <= 2000:
        yield "must be between 1 and 2000 characters", "/alt_text"


def _input(block: dict[str, Any]) -> _Found:
    yield from text(block.get("label"), "/label", 2000)
    if "hint" in block:
        yield from text(block["hint"], "/hint", 2000)
    yield from _element(block.get("element"), "/element")


def _element(element: Any, at: str) -> _Found:
    if not isinstance(element, dict) or element.get("type") not in _ELEMENTS:
        yield "must be an element", at
        return
    yield from _short(element, "action_id", 255, at)
    if "confirm" in element:
        yield from _confirm(element["confirm"], f"{at}/confirm")
    if "placeholder" in element:
        yield from text(element["placeholder"], f"{at}/placeholder", 150)
    yield from _ELEMENTS[element["type"]](element, at)


def _button(element: dict[str, Any], at: str) -> _Found:
    yield from text(element.get("text"), f"{at}/text", 75)
    yield from _short(element, "value", 2000, at)
    yield from _short(element, "url", 3000, at)
    if element.get("style", "primary") not in ("primary", "danger"):
        yield "must be primary or danger", f"{at}/style"


def _overflow(element: dict[str, Any], at: str) -> _Found:
    yield from _options(element.get("options"), f"{at}/options", 5)


def _select(element: dict[str, Any], at: str) -> _Found:
    yield from _options(element.get("options"), f"{at}/options", 100)
    if "initial_option" in element and element["initial_option"] not in (element.get("options") or []):
        yield "must be one of the options", f"{at}/initial_option"


def _options(options: Any, at: str, most: int) -> _Found:
    if not isinstance(options, list) or not 1 <= len(options) <= most:
        yield f"must have between 1 and {most} items", at
        return
    for number, option in enumerate(options):
        here = f"{at}/{number}"
        if not isinstance(option, dict):
            yield "must be an option", here
            continue
        yield from text(option.get("text"), f"{here}/text", 75, plain=False)
        yield from _short(option, "value", 150, here)
        yield from _short(option, "url", 3000, here)
        if not isinstance(option.get("value"), str):
            yield "missing required field: value", here


def _confirm(confirm: Any, at: str) -> _Found:
    if not isinstance(confirm, dict):
        yield "must be a confirm object", at
        return
    yield from text(confirm.get("title"), f"{at}/title", 100)
    yield from text(confirm.get("text"), f"{at}/text", 300, plain=False)
    for name in ("confirm", "deny"):
        if name in confirm:
            yield from text(confirm[name], f"{at}/{name}", 30)
    if confirm.get("style", "primary") not in ("primary", "danger"):
        yield "must be primary or danger", f"{at}/style"


def _words(element: dict[str, Any], at: str) -> _Found:
    if not 1 <= int(element.get("max_length", 3000)) <= 3000:
        yield "must be between 1 and 3000", f"{at}/max_length"
    yield from _short(element, "initial_value", 3000, at)


def _anything(element: dict[str, Any], at: str) -> _Found:
    return iter(())


_ELEMENTS: dict[str, Callable[[dict[str, Any], str], _Found]] = {
    "button": _button,
    "overflow": _overflow,
    "static_select": _select,
    "radio_buttons": _select,
    "checkboxes": _select,
    "plain_text_input": _words,
    "datetimepicker": _anything,
    "image": _anything,
    "users_select": _anything,
}
_KINDS: dict[str, Callable[[dict[str, Any]], _Found]] = {
    "header": _header,
    "section": _section,
    "context": _context,
    "actions": _actions,
    "image": _image,
    "input": _input,
    "divider": lambda block: iter(()),
}
