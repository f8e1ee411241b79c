"""The labels of an incident, which matchers of silences and routes are held against: those of its root."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consulguard import correlate, plan
from consulguard.engine.state import EngineState
from consulguard.model import Incident, Matcher, Role, Root, State, own_meta

LABELS = (
    "service", "datacenter", "namespace", "partition", "peer", "node", "instance", "scope",
    "zone", "severity", "team",
)  # fmt: skip
_PLAIN = frozenset(LABELS[:8])  # the root itself tells


def of_incident(state: EngineState, incident: Incident) -> Mapping[str, tuple[str, ...]]:
    """All labels with a value, ``meta.*`` as far as it is known; ``team`` is of the meta ``team``.

    ``severity`` is ``critical``, or ``warning`` where the root only warns.
    """
    found = _of_root(incident.root)
    subject = correlate.root_subject(state.book, incident, state.troubles())
    if subject is not None:
        found["zone"] = subject.zone
        found |= {f"meta.{name}": value for name, value in subject.meta.items()}
        found["team"] = own_meta(subject.meta, "team") or subject.meta.get("team", "")
    warns = any(m.role is Role.ROOT_CAUSE and m.state is State.WARNING for m in incident.members)
    found["severity"] = "warning" if warns else "critical"
    return {name: (value,) for name, value in found.items() if value}


def fit(state: EngineState, matchers: Iterable[Matcher], incident: Incident) -> bool:
    """Whether all are true of the incident. What the root itself tells is looked at first: that costs nothing."""
    plain = {name: (value,) for name, value in _of_root(incident.root).items() if value}
    wanted = list(matchers)
    if not plan.matches([m for m in wanted if m.name in _PLAIN], plain):
        return False
    rest = [m for m in wanted if m.name not in _PLAIN]
    return not rest or plan.matches(rest, of_incident(state, incident))


def _of_root(root: Root) -> dict[str, str]:
    return {
        "service": root.name if root.kind in ("service", "instance") else "",
        "datacenter": root.datacenter,
        "namespace": root.namespace,
        "partition": root.partition,
        "peer": root.peer,
        "node": root.name if root.kind == "node" else root.node,
        "instance": root.instance,
        "scope": root.kind,
    }
