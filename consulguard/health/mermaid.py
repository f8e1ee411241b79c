"""The tables as pictures."""

from __future__ import annotations

from consulguard.health.tables import TABLES
from consulguard.model import State


def to_mermaid(level: str) -> str:
    """The machine of ``level`` (check, instance, service, node) as a ``stateDiagram-v2``.

    Inputs that change nothing are left out. Raises ValueError for a level that does not exist.
    """
    if level not in TABLES:
        raise ValueError(f"no such level: {level!r}; there are {', '.join(TABLES)}")
    machine = TABLES[level]
    edges: dict[tuple[State, State], list[str]] = {}
    for state in machine.states:
        for given, after in machine.delta[state].items():
            if after is not state:
                edges.setdefault((state, after), []).append(given)
    lines = ["stateDiagram-v2", f"    %% {level}: inputs that change nothing are left out"]
    lines.append(f"    [*] --> {machine.initial}")
    lines += [f"    {was} --> {now}: {', '.join(inputs)}" for (was, now), inputs in edges.items()]
    lines += [f"    {state} --> [*]" for state in machine.states if state in machine.accepting]
    return "\n".join(lines) + "\n"
