"""What the bot says in Slack: plain text only, escaped, within Slack's limits. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consulguard.notify import text
from consulguard.notify.slack.render import escape

LINE = 600
SECTION = 2800
SECTIONS = 4  # 11,200 characters: below what Slack takes in one message
TITLE, LABEL = 24, 75
LENGTHS = (("30m", "30 minutes"), ("1h", "1 hour"), ("4h", "4 hours"), ("1d", "1 day"), ("7d", "7 days"))
REASON_MAX = 500


def said(lines: Sequence[str]) -> dict[str, Any]:
    """``text`` and ``blocks`` for a list of lines; what does not fit is counted."""
    parts: list[list[str]] = [[]]
    size = shown = 0
    clean = [escape(text.clean(line, LINE) or " ", LINE * 2) for line in lines] or ["-"]
    for line in clean:
        length = len(line.encode("utf-16-le")) // 2 + 1
        if size + length > SECTION:
            if len(parts) == SECTIONS:
                break
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += length
        shown += 1
    if shown < len(clean):
        parts[-1].append(f"+{len(clean) - shown} more lines")
    blocks = [_section("\n".join(part)) for part in parts]
    return {"text": clean[0][:300] if clean[0].strip() else "-", "blocks": blocks}


def deny_form(metadata: str, about: str) -> dict[str, Any]:
    reason = {
        "type": "plain_text_input",
        "action_id": "reason",
        "multiline": True,
        "max_length": REASON_MAX,
        "min_length": 1,
    }
    blocks = [_section(_told(about)), _input("reason", "Why not?", reason)]
    return _modal("deny", "Deny", "Deny", metadata, blocks)


def silence_form(metadata: str, about: str) -> dict[str, Any]:
    options = [{"text": _plain(label), "value": value} for value, label in LENGTHS]
    choice = {
        "type": "static_select",
        "action_id": "for",
        "options": options,
        "initial_option": options[1],
    }
    comment = {
        "type": "plain_text_input",
        "action_id": "comment",
        "max_length": REASON_MAX,
        "min_length": 1,
    }
    blocks = [
        _section(_told(about)),
        _input("for", "For how long?", choice),
        _input("comment", "Why?", comment),
    ]
    return _modal("silence", "Silence", "Silence", metadata, blocks)


def _modal(kind: str, title: str, submit: str, metadata: str, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": kind,
        "private_metadata": metadata,
        "title": _plain(title),
        "submit": _plain(submit),
        "close": _plain("Cancel"),
        "blocks": blocks,
    }


def _input(block: str, label: str, element: dict[str, Any]) -> dict[str, Any]:
    return {"type": "input", "block_id": block, "label": _plain(label), "element": element}


def _section(value: str) -> dict[str, Any]:
    return {"type": "section", "text": _plain(value)}


def _plain(value: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": value if value.strip() else "-", "emoji": False}


def _told(about: str) -> str:
    return escape(text.clean(about, 1500) or "-", 2900)
