"""From a message to Slack's blocks. Pure.

Everything is ``plain_text``, and ``& < >`` are escaped on top: no name or check output can mention anybody, link
anywhere or pass for markup. Limits are Slack's (50 blocks, 150 characters in a header, 3,000 in a section, 2,000
in a field, 10 fields, 10 context elements), and a total of 12,000 characters: beyond about 13,000 Slack refuses
the whole message with ``msg_blocks_too_long``, which no page of its documentation states.
Lengths are counted in UTF-16 units of the escaped text, the strictest of the ways Slack may count.

What may be pressed comes from the message's offers: at most three buttons, the rest in the menu beside them. A
button's ``action_id`` is the offer's verb and its ``value`` the offer's id, and so it is for the menu's options.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from consulguard.model import JsonObject, Message, Offer, OutboxRow
from consulguard.notify import text

HEADER, SECTION, FIELD, TOTAL = 150, 3000, 2000, 12_000
FIELDS = 10
FALLBACK = 300
THREAD = 2900  # one reply
BUTTONS, OPTIONS = 3, 5
BUTTON_TEXT, CONFIRM_TITLE, CONFIRM_TEXT, VALUE = 75, 100, 300, 150
URL = 3000

COLORS = {
    "critical": "#a30200",
    "warning": "#daa038",
    "acknowledged": "#daa038",
    "awaiting_approval": "#1264a3",
    "approval": "#1264a3",
    "resolved": "#2eb886",
}
GREY = "#dddddd"  # silenced, planned, dry run, and whatever has no colour of its own
SETTLED = ("resolved", "silenced")  # their colour says more than a question does

MENU = "more"  # the menu's own action id
DASHBOARD = "dashboard"
_BUTTONS = {
    "approve": "Approve",
    "deny": "Deny",
    "silence": "Silence",
    "ack": "Ack",
}  # the first three are buttons
_MENU = {"explain": "Explain", "topology": "Topology", DASHBOARD: "Dashboard", "timeline": "Timeline"}
_STYLES = {"approve": "primary", "deny": "danger"}

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def parent(message: Message, dashboard: str = "") -> JsonObject:
    """Arguments of ``chat.postMessage`` and ``chat.update`` for the message itself.

    ``dashboard``: an address, with ``{service}``, ``{node}``, ``{datacenter}`` and ``{incident}`` to be filled in.
    """
    room = _Room(TOTAL)
    blocks: list[JsonObject] = [{"type": "header", "text": room.plain(text.headline(message), HEADER)}]
    row = " · ".join(f"{label}: {value}" for label, value in text.context(message))
    blocks.append({"type": "context", "elements": [room.plain(row, FIELD)]})
    pressed = _actions(message, dashboard, room)  # counted early: words are cut for buttons, never the reverse
    for part in (text.body(message), text.evidence(message)):
        if part and room.left > 100:
            blocks.append(_section(part, room))
    pairs = _fitting(text.fields(message))
    if pairs and room.left > 100 * len(pairs):
        share = min(FIELD, room.left // len(pairs))
        fields = [room.plain(f"{label}: {value}", share) for label, value in pairs]
        blocks.insert(2, {"type": "section", "fields": fields})
    fallback = escape(text.headline(message), FALLBACK)
    return {
        "text": fallback,
        "blocks": [],  # an edit must also take away what an earlier plain line left there
        "attachments": [{"color": color(message), "fallback": fallback, "blocks": blocks + pressed}],
    }


def color(message: Message) -> str:
    """Never the only sign: headline and context row say the same in words."""
    asked = text.asks(message) and message.severity not in SETTLED
    return COLORS.get("awaiting_approval" if asked else message.severity, GREY)


def _actions(message: Message, dashboard: str, room: _Room) -> list[JsonObject]:
    """One block of buttons and a menu, or nothing."""
    offers: dict[str, Offer] = {}
    for offer in message.offers:
        if len(offer.id) <= VALUE:
            offers.setdefault(offer.verb, offer)
    first = [verb for verb in _BUTTONS if verb in offers]
    menu = [*first[BUTTONS:], *(verb for verb in _MENU if verb in offers or (verb == DASHBOARD and dashboard))]
    elements = [_button(offers[verb], room) for verb in first[:BUTTONS]]
    options = [_option(verb, offers.get(verb), _filled(dashboard, message), room) for verb in menu[:OPTIONS]]
    if options:
        elements.append({"type": "overflow", "action_id": MENU, "options": options})
    return [{"type": "actions", "elements": elements}] if elements else []


def _button(offer: Offer, room: _Room) -> JsonObject:
    name = _BUTTONS[offer.verb]
    made: JsonObject = {"type": "button", "action_id": offer.verb, "value": offer.id}
    made["text"] = room.plain(name, BUTTON_TEXT)
    if offer.verb in _STYLES:
        made["style"] = _STYLES[offer.verb]
    if offer.confirm:
        made["confirm"] = {
            "title": room.plain(f"{name}?", CONFIRM_TITLE),
            "text": room.plain(text.clean(offer.confirm, CONFIRM_TEXT), CONFIRM_TEXT),
            "confirm": room.plain(name, 30),
            "deny": room.plain("Cancel", 30),
        }
    return made


def _option(verb: str, offer: Offer | None, url: str, room: _Room) -> JsonObject:
    made: JsonObject = {"text": room.plain((_BUTTONS | _MENU)[verb], BUTTON_TEXT)}
    made["value"] = offer.id if offer is not None else verb
    if verb == DASHBOARD and url:
        made["url"] = url
    return made


def _filled(address: str, message: Message) -> str:
    """What Consul told, made harmless for an address; the configured one alone where that would be too long."""
    root = message.incident.root if message.incident is not None else None
    values = {
        "service": root.name if root is not None and root.kind in ("service", "instance") else "",
        "node": (root.node or (root.name if root.kind == "node" else "")) if root is not None else "",
        "datacenter": root.datacenter if root is not None else "",
        "incident": message.incident.id if message.incident is not None else "",
    }
    full = address
    for name, value in values.items():
        full = full.replace(f"{{{name}}}", quote(text.clean(value, 200), safe=""))
    return full if len(full) <= URL else address[:URL]


def plain(message: Message) -> JsonObject:
    """The same as one line, for when Slack does not take the blocks."""
    return {"text": escape(text.headline(message), FALLBACK), "blocks": [], "attachments": []}


def reply(row: OutboxRow) -> tuple[JsonObject, int]:
    """The next message for the thread, and how many of the row's lines it tells: at least one."""
    lines = text.thread(row.message.thread, row.skipped)
    notes = len(lines) - len(row.message.thread)
    taken, size = 0, 0
    for line in lines:
        size += _weight(escape(line, THREAD)) + 1
        if taken > notes and size > THREAD:
            break
        taken += 1
    said = lines[:taken]
    body = {"type": "section", "text": _Room(TOTAL).plain("\n".join(said), SECTION)}
    return {"text": escape(said[-1], FALLBACK), "blocks": [body]}, taken - notes


def escape(value: str, limit: int) -> str:
    """Slack's three characters escaped; at most ``limit`` long in the end, never cut within an escape."""
    parts: list[str] = []
    size = 0
    for char in value:
        part = _ESCAPES.get(char, char)
        size += _weight(part)
        if size > limit:
            return _ended(parts, limit)
        parts.append(part)
    return "".join(parts)


def _ended(parts: list[str], limit: int) -> str:
    size = sum(_weight(part) for part in parts)
    while parts and size + 1 > limit:
        size -= _weight(parts.pop())
    return "".join(parts) + "…"


def _weight(value: str) -> int:
    return len(value) + sum(char > "\uffff" for char in value)


class _Room:
    """What is left of a message's total length."""

    def __init__(self, total: int) -> None:
        self.left = total

    def plain(self, value: str, limit: int) -> JsonObject:
        """A ``plain_text`` object. Slack refuses empty ones."""
        told = escape(value, max(1, min(limit, self.left)))
        told = told if told.strip() else "-"
        self.left -= _weight(told)
        return {"type": "plain_text", "text": told, "emoji": False}


def _section(lines: Sequence[str], room: _Room) -> JsonObject:
    return {"type": "section", "text": room.plain("\n".join(lines), SECTION)}


def _fitting(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """At most ten; the last one tells how many more there are."""
    if len(pairs) <= FIELDS:
        return list(pairs)
    return [*pairs[: FIELDS - 1], ("More", f"+{len(pairs) - FIELDS + 1} more")]
