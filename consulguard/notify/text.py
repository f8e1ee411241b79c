"""A message in words, the same for every channel. Pure.

Whatever Consul told (names, outputs) may be hostile: here it loses its control, format and surrogate characters,
so it can neither move a terminal's cursor nor reorder a line. Each channel escapes its own markup on top.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime

from consulguard.model import Incident, Member, Message, Role, Root, State

AFFECTED_SHOWN = 5
EVIDENCE_SHOWN = 5
EVIDENCE_CHARS = 500
HEADLINE_CHARS = 150
BODY_LINES = 20
_ODD = (State.FLAPPING, State.VANISHED, State.UNKNOWN, State.MAINTENANCE)  # states the headline does not tell
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def clean(text: str, limit: int = 3000) -> str:
    """One line of at most ``limit`` characters in which every unsafe character has become visible or a space."""
    if text.isascii() and text.isprintable():
        return cut(text.strip(), limit)
    safe = [
        " " if char in "\t\n\r\u2028\u2029" else "\N{REPLACEMENT CHARACTER}" if _unsafe(char) else char
        for char in text[: limit + 1]
    ]
    return cut("".join(safe).strip(), limit)


def _unsafe(char: str) -> bool:
    return char < " " or char == "\x7f" or (not char.isascii() and unicodedata.category(char) in _UNSAFE)


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters; an ellipsis tells that there was more."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def some(names: Sequence[str], shown: int) -> str:
    """The first few, and how many more."""
    text = ", ".join(names[:shown])
    return f"{text} +{len(names) - shown} more" if len(names) > shown else text


def stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def headline(message: Message) -> str:
    """``[CRITICAL] pay-api: root cause (3 affected)``"""
    title = clean(message.title, HEADLINE_CHARS)
    if not title and message.incident is not None:
        title = incident_title(message.incident)
    if not title.startswith("["):
        title = f"[{clean(message.severity, 20).upper() or 'INFO'}] {title}"
    return cut(title.strip(), HEADLINE_CHARS)


def incident_title(incident: Incident) -> str:
    affected = len(members(incident, Role.AFFECTED))
    role = "root cause not known" if incident.unknown else "root cause"
    if affected:
        role += f" ({affected} affected)"
    return f"{clean(incident.root.name, 80)}: {role}"


def asks(message: Message) -> bool:
    """Whether people are asked to approve something."""
    return any(offer.verb == "approve" for offer in message.offers)


def context(message: Message) -> list[tuple[str, str]]:
    """Where and since when: the row under the headline."""
    pairs = [("Severity", clean(message.severity, 20))]
    incident = message.incident
    if incident is not None:
        pairs = [
            ("State", "awaiting approval" if asks(message) else incident.state.value),
            *pairs,
            ("Datacenter", clean(incident.root.datacenter, 60)),
            ("Since", stamp(incident.opened_at)),
            ("Id", clean(incident.id, 60)),
        ]
    return pairs


def fields(message: Message) -> list[tuple[str, str]]:
    """Label and text: the root cause and who suffers, then what the message itself states.

    A fact of the message takes the place of one we would have made under the same label.
    """
    stated = [(clean(label, 40), clean(text, 2000)) for label, text in message.facts]
    taken = {label.casefold() for label, _ in stated}
    made = _incident_fields(message.incident) if message.incident is not None else []
    return [pair for pair in made if pair[0].casefold() not in taken] + stated


def body(message: Message) -> list[str]:
    """What the message says in its own words."""
    return [clean(line, 1000) for line in message.text.splitlines()[:BODY_LINES] if line.strip()]


def evidence(message: Message) -> list[str]:
    """Why we think so: sentences, the strongest first."""
    why = message.incident.why if message.incident is not None else ()
    lines = [clean(line, EVIDENCE_CHARS) for line in why[:EVIDENCE_SHOWN]]
    return [*lines, f"+{len(why) - EVIDENCE_SHOWN} more"] if len(why) > EVIDENCE_SHOWN else lines


def thread(lines: Sequence[str], skipped: int = 0) -> list[str]:
    """Thread lines as people read them."""
    left_out = [f"({skipped} earlier lines left out)"] if skipped else []
    return left_out + [clean(line, 2900) or "-" for line in lines]


def members(incident: Incident, role: Role) -> list[Member]:
    return [member for member in incident.members if member.role is role]


def _incident_fields(incident: Incident) -> list[tuple[str, str]]:
    states = {member.state for member in members(incident, Role.ROOT_CAUSE)}
    odd = "".join(f", {state.value}" for state in _ODD if state in states)
    pairs = [("Root cause", f"{cause(incident.root, incident.unknown)}{odd} ({incident.confidence:.0%} sure)")]
    for label, role in (("Affected", Role.AFFECTED), ("At risk", Role.AT_RISK)):
        names = [clean(member.name, 80) for member in members(incident, role)]
        if names:
            pairs.append((label, some(names, AFFECTED_SHOWN)))
    if incident.alternatives:
        others = [f"{root_name(a.root)} ({a.confidence:.0%})" for a in incident.alternatives]
        pairs.append(("Also considered", some(others, AFFECTED_SHOWN)))
    return pairs


def cause(root: Root, unknown: bool) -> str:
    """The root, or that we do not know it."""
    return f"not known, most likely {root_name(root)}" if unknown else root_name(root)


def root_name(root: Root) -> str:
    """``instance pay-api-2 of pay-api on node-3``, ``service pay-api``, ``node n1``."""
    if root.kind == "instance":
        return f"instance {clean(root.instance, 80)} of {clean(root.name, 80)} on {clean(root.node, 80)}"
    return f"{clean(root.kind, 20)} {clean(root.name, 80)}"
