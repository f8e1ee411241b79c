"""The incident's state machine: every move an incident may make, whether time, the mesh or a person makes it.

``incident.py`` and ``hands.py`` move incidents; the tests hold every move they make against this table.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from consulguard.model import IncidentState


class Input(enum.StrEnum):
    FAILS = "fails"  # something of it fails, or flaps
    CALMS = "calms"  # nothing of it fails any more
    LASTED = "lasted"  # nothing of it has failed for ``resolve_s``
    ABSORBED = "absorbed"  # its root belongs to another incident by now
    RESOLVE = "resolve"  # a person closes it; while something fails only with a reason
    REOPEN = "reopen"  # a person opens it again, within ``reopen_s`` or while what it was closed with still fails


_S = IncidentState
INITIAL: Final = _S.OPEN
DELTA: Final[Mapping[IncidentState, Mapping[Input, IncidentState]]] = {
    _S.OPEN: {
        Input.FAILS: _S.OPEN,
        Input.CALMS: _S.RECOVERING,
        Input.LASTED: _S.RESOLVED,
        Input.ABSORBED: _S.MERGED,
        Input.RESOLVE: _S.RESOLVED,
    },
    _S.RECOVERING: {
        Input.FAILS: _S.OPEN,
        Input.CALMS: _S.RECOVERING,
        Input.LASTED: _S.RESOLVED,
        Input.ABSORBED: _S.MERGED,
        Input.RESOLVE: _S.RESOLVED,
    },
    _S.RESOLVED: {Input.FAILS: _S.OPEN, Input.LASTED: _S.RESOLVED, Input.REOPEN: _S.OPEN},
    _S.MERGED: {},
}
FINAL: Final = (_S.RESOLVED, _S.MERGED)


def after(state: IncidentState, given: Input) -> IncidentState | None:
    """The state it leads to; None: that cannot be done to an incident in this state."""
    return DELTA[state].get(given)


def to_mermaid() -> str:
    """The machine as a ``stateDiagram-v2``, without what changes nothing."""
    edges: dict[tuple[IncidentState, IncidentState], list[str]] = {}
    for state, row in DELTA.items():
        for given, then in row.items():
            if then is not state:
                edges.setdefault((state, then), []).append(given.value)
    lines = [
        "stateDiagram-v2",
        "    %% incident: inputs that change nothing are left out",
        f"    [*] --> {INITIAL}",
    ]
    lines += [f"    {was} --> {now}: {', '.join(inputs)}" for (was, now), inputs in edges.items()]
    lines += [f"    {state} --> [*]" for state in FINAL]
    return "\n".join(lines) + "\n"
