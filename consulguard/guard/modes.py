"""How far may we go by ourselves? The lowest of everybody's word, from observe over approve to auto."""

from __future__ import annotations

from collections.abc import Mapping

from consulguard.guard.empty_selection import narrows_nothing
from consulguard.model import Mode, Playbook, own_meta


def effective_mode(
    policy_mode: Mode, playbook: Playbook, meta: Mapping[str, str], *, braked: bool = False
) -> Mode:
    """The lowest mode of all that have a say, the storm brake's included: as people are told.

    The guard ``mode`` leaves the brake to the guard ``storm_brake``, which says wait and until when.
    """
    return Mode.OBSERVE if braked else lowest(policy_mode, playbook, meta)[0]


def lowest(policy_mode: Mode, playbook: Playbook, meta: Mapping[str, str]) -> tuple[Mode, str]:
    """The effective mode and, as a clause, whose word it is."""
    says = [(policy_mode, "the global mode says so"), (playbook.mode, f"the playbook {playbook.id} says so")]
    word = own_meta(meta, "mode")
    if word is not None:
        says.append(_of_service(word))
    if playbook.verify is None:
        says.append((Mode.APPROVE, f"the playbook {playbook.id} has no verify"))
    if playbook.match.match_all or narrows_nothing(playbook.match):
        says.append((Mode.APPROVE, f"the playbook {playbook.id} matches all"))
    if playbook.destructive:
        says.append((Mode.APPROVE, f"the playbook {playbook.id} is destructive"))
    return min(says, key=lambda said: said[0].rank)


def _of_service(value: str) -> tuple[Mode, str]:
    """A service may only lower the mode, and a word nobody understands is the lowest."""
    word = value.strip().lower()
    if word in list(Mode):
        return Mode(word), "the meta consulguard-mode says so"
    return Mode.OBSERVE, f"the meta consulguard-mode says {value!r}, which is no mode"
