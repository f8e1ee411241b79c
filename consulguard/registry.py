"""Entry points: how actions, notifiers, stores, leases and guards are found. Built-ins register the same way."""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoints, PackageNotFoundError, distribution, entry_points
from typing import Any

from consulguard.errors import ConfigError

ACTIONS = "consulguard.actions"
NOTIFIERS = "consulguard.notifiers"
STORES = "consulguard.stores"
LEASES = "consulguard.leases"
MEMBERS = "consulguard.members"
GUARDS = "consulguard.guards"


@functools.cache
def _installed(group: str) -> EntryPoints:
    """Read once: that opens a file of every distribution, and a replica that takes over has no time for it."""
    return entry_points(group=group)


def names(group: str) -> list[str]:
    """Registered names of a group, sorted."""
    return sorted({e.name for e in _installed(group)})


def load(group: str, name: str) -> Any:
    """The object registered under a name.

    Raises ConfigError when nothing, or more than one thing, is registered, or when it cannot be imported.
    """
    found = {e.value: e for e in _installed(group).select(name=name)}
    if not found:
        known = ", ".join(names(group)) or "none"
        raise ConfigError(f"{name!r} is not known in {group}; known: {known}")
    if len(found) > 1:
        raise ConfigError(f"{name!r} is registered twice in {group}: {', '.join(sorted(found))}; uninstall one")
    entry = next(iter(found.values()))
    try:
        return entry.load()
    except ImportError as error:
        raise ConfigError(f"{name!r} ({entry.value}) cannot be imported: {error}") from error


def load_all(group: str) -> dict[str, Any]:
    """Every object of a group by name."""
    return {name: load(group, name) for name in names(group)}


def refuse_old_consul_client() -> None:
    """Raise ConfigError when the abandoned distribution ``python-consul`` is installed.

    It and its maintained fork ``py-consul`` install the same package; whichever came last wins, silently.
    """
    try:
        distribution("python-consul")
    except PackageNotFoundError:
        return
    raise ConfigError(
        "the distribution python-consul is installed beside its maintained fork py-consul and shares its files; "
        "run: pip uninstall -y python-consul && pip install --force-reinstall py-consul"
    )
