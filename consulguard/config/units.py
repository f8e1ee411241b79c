"""One configuration, several units: each unit's view of it is a configuration of its own.

Everything that works for one datacenter works for a unit with its view: the names of its lease, journal, mark and
socket are its own there, and its datacenter is the one that is watched.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from consulguard.config.chat import chat
from consulguard.config.load import Loaded
from consulguard.config.replicas import Unit as Given
from consulguard.config.schema import Config
from consulguard.config.settings import journal_path
from consulguard.coordinate import Unit
from consulguard.errors import ConfigError

WHERE = "coordinate.units"
SCHEMA = "consulguard"  # of a journal that has no unit


def views(loaded: Loaded) -> tuple[Loaded, ...]:
    """Each unit's view; the configuration itself where there are no units. Raises ConfigError."""
    units = loaded.config.coordinate.units
    if not units or loaded.unit is not None:
        return (loaded,)
    _refuse(loaded)
    found = tuple(_view(loaded, given) for given in units)
    _refuse_one_app(found)
    return found


def chosen(loaded: Loaded, datacenter: str = "", partition: str = "") -> Loaded:
    """The view of the unit that is meant; the only one where none is named. Raises ConfigError."""
    found = views(loaded)
    if len(found) == 1 and not datacenter and not partition:
        return found[0]
    named = [view for view in found if _meant(view.unit, datacenter, partition)]
    if len(named) == 1:
        return named[0]
    known = ", ".join(_flags(view.unit) for view in found if view.unit is not None)
    wrong = "there is no such unit" if datacenter or partition else "there are several units"
    raise ConfigError(f"{wrong}; name one: {known}", where=WHERE)


def whole(loaded: Loaded) -> Loaded:
    """What the lease's backend is reached by: the same for all units."""
    return loaded.whole or loaded


def unit_of(given: Given) -> Unit:
    """``default`` is what Consul calls the partition that has no name."""
    return Unit(datacenter=given.datacenter, partition="" if given.partition == "default" else given.partition)


def _view(loaded: Loaded, given: Given) -> Loaded:
    config, unit = loaded.config, unit_of(given)
    consul: dict[str, Any] = {"datacenter": unit.datacenter, "partition": unit.partition}
    if given.http_addr is not None:
        consul["http_addr"] = given.http_addr
    own_slack = {name: value for name, value in given.slack.model_dump().items() if value}
    update: dict[str, Any] = {
        "consul": config.consul.model_copy(update=consul),
        "slack": config.slack.model_copy(update=own_slack),
        "server": config.server.model_copy(update={"listen": ""}),  # one door for all units
    }
    if not given.continues:
        key = f"{config.coordinate.key}-{unit.name}"
        path = _beside(journal_path(loaded), unit)
        update["coordinate"] = config.coordinate.model_copy(update={"key": key})
        update["journal"] = config.journal.model_copy(update={"path": str(path)})
    token = "" if given.slack.bot_token_file else loaded.slack_token
    app_token = "" if given.slack.app_token_file else loaded.slack_app_token
    return replace(
        loaded,
        config=config.model_copy(update=update),
        unit=unit,
        whole=loaded,
        slack_token=token,
        slack_app_token=app_token,
    )


def schema(loaded: Loaded) -> str:
    """PostgreSQL's schema for the journal of a view."""
    unit = loaded.unit
    return SCHEMA if unit is None or _given(loaded, unit).continues else f"{SCHEMA}_{unit.name}"


def _given(loaded: Loaded, unit: Unit) -> Given:
    return next(g for g in whole(loaded).config.coordinate.units if unit_of(g) == unit)


def _beside(path: Path, unit: Unit) -> Path:
    return path.with_name(f"{path.stem}-{unit.name}{path.suffix}")


def _meant(unit: Unit | None, datacenter: str, partition: str) -> bool:
    if unit is None:
        return False
    wanted = "" if partition == "default" else partition
    return (not datacenter or unit.datacenter == datacenter) and (not partition or unit.partition == wanted)


def _flags(unit: Unit) -> str:
    partition = f" --partition {unit.partition}" if unit.partition else ""
    return f"--datacenter {unit.datacenter}{partition}"


def _refuse(loaded: Loaded) -> None:
    config = loaded.config
    units = [unit_of(given) for given in config.coordinate.units]
    names = Counter(unit.name.replace("_", "-") for unit in units)
    if twice := sorted(name for name, times in names.items() if times > 1):
        raise ConfigError(
            f"{', '.join(twice)} is named twice, or two differ in - and _ alone: their journals would be one",
            where=WHERE,
        )
    if sum(given.continues for given in config.coordinate.units) > 1:
        raise ConfigError("at most one unit goes on with what was there before (continues)", where=WHERE)
    if len(units) > 1:
        _refuse_alone(config)


def _refuse_alone(config: Config) -> None:
    if config.coordinate.backend == "single":
        raise ConfigError(
            "several units are shared out among replicas, and coordinate.backend is single: set it to consul,"
            " zookeeper or kubernetes",
            where=WHERE,
        )
    if config.journal.store != "postgresql":
        raise ConfigError(
            "several units need a journal that whoever leads one next can read: set journal.store: postgresql with"
            " journal.dsn_file",
            where=WHERE,
        )


def _refuse_one_app(found: tuple[Loaded, ...]) -> None:
    """Slack hands what is said to any one of an app's connections: the unit it is about might not hear it."""
    if len(found) < 2:
        return
    if found[0].config.slack.listen:
        raise ConfigError(
            "Slack calls one address for all that is said, and several units may be led by several replicas: with"
            " coordinate.units use Socket Mode with an app for each unit",
            where="slack.listen",
        )
    own = [view.config.slack for view in found if chat(view)]
    parts = [part for slack in own for part in (slack.app_id, slack.app_token_file, slack.bot_token_file)]
    if len(set(parts)) < len(parts):
        raise ConfigError(
            "Slack hands a command or a click to any one connection of an app, and so to a unit it is not about:"
            " give each of coordinate.units a slack.app_id, slack.app_token_file and slack.bot_token_file of its"
            " own, or set slack.socket_mode: false to tell only",
            where="slack",
        )
