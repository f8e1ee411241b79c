"""Where settings come from: flag over environment over file over default, and whose fault an error is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from consulguard.config.environment import Overlay, from_environment, scheme
from consulguard.config.files import exists, read_text
from consulguard.config.schema import SECRETS, Config
from consulguard.coordinate import Unit
from consulguard.errors import ConfigError
from consulguard.plan.strict import explain
from consulguard.plan.yaml import Document, load_yaml
from consulguard.plan.yaml import Path as Keys

ADDRESS = ("consul", "http_addr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A valid configuration, where it came from, and the secrets that beat the file's.

    A token given as a value is empty where a ``*_file`` of the same or a higher rank was given.
    """

    config: Config
    path: Path | None  # None: no file, defaults only
    consul_token: str = field(default="", repr=False)
    slack_token: str = field(default="", repr=False)
    slack_app_token: str = field(default="", repr=False)
    slack_signing_secret: str = field(default="", repr=False)
    unit: Unit | None = None  # what this view of the configuration is about; None: all of it
    whole: Loaded | None = field(default=None, repr=False, compare=False)  # what this is a view of
    reread: Callable[[], Loaded] | None = field(default=None, repr=False, compare=False)

    def again(self) -> Loaded:
        """The same file, flags and environment as they are now. Raises ConfigError."""
        return self.reread() if self.reread is not None and self.path is not None else self

    @property
    def folder(self) -> Path:
        """What relative paths in the file are relative to."""
        return self.path.parent if self.path is not None else Path.cwd()

    def resolve(self, name: str) -> Path:
        """A path of the file, as an absolute one."""
        try:
            return self.folder / Path(name).expanduser()
        except RuntimeError:  # ~user of nobody
            return self.folder / name


@dataclass(frozen=True, slots=True)
class Sources(Document):
    """A document, and what lies over it: for errors to name the right place."""

    overlay: Overlay = field(default_factory=dict)

    def where(self, path: Keys) -> str:
        origin = self._origin(path)
        if origin or self.source:
            return origin or Document.where(self, path)
        return ".".join(map(str, path))

    def line_of(self, path: Keys) -> int:
        return 0 if self._origin(path) else Document.line_of(self, path)

    def _origin(self, path: Keys) -> str:
        return next((o for known, (_, o) in self.overlay.items() if tuple(path[: len(known)]) == known), "")


def find(named: str | None, env: Mapping[str, str]) -> Path | None:
    """The configuration file: named, $CONSULGUARD_CONFIG, here, $XDG_CONFIG_HOME, /etc. None: there is none."""
    if named is not None:
        return Path(named)
    if env.get("CONSULGUARD_CONFIG"):
        return Path(env["CONSULGUARD_CONFIG"])
    home = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "/")) / ".config")
    places = (Path("consulguard.yaml"), home / "consulguard/config.yaml", Path("/etc/consulguard/config.yaml"))
    return next((p for p in places if exists(p)), None)


def load(named: str | None = None, flags: Overlay | None = None, env: Mapping[str, str] | None = None) -> Loaded:
    """Read, overlay and check. Raises ConfigError with the place and one sentence."""
    env = os.environ if env is None else env
    path = find(named, env)
    document = _read(path)
    overlay = {**from_environment(env), **(flags or {})}
    if ADDRESS in overlay:
        overlay[ADDRESS] = (_with_scheme(overlay[ADDRESS][0], scheme(env)), overlay[ADDRESS][1])
    data: dict[str, Any] = dict(document.data)
    for keys, (value, where) in overlay.items():
        _put(data, keys, value, where)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        sources = Sources(document.source, document.data, document.lines, overlay)
        raise explain(error, sources)[0] from None
    return Loaded(
        config=config,
        path=path.absolute() if path is not None and document.source != "stdin" else None,
        consul_token="" if ("consul", "token_file") in overlay else env.get("CONSUL_HTTP_TOKEN", ""),
        slack_token=_value(env, "SLACK_BOT_TOKEN", "bot_token_file", overlay),
        slack_app_token=_value(env, "SLACK_APP_TOKEN", "app_token_file", overlay),
        slack_signing_secret=_value(env, "SLACK_SIGNING_SECRET", "signing_secret_file", overlay),
        reread=lambda: load(str(path.absolute()) if path is not None else None, flags, env),
    )


def _value(env: Mapping[str, str], name: str, setting: str, overlay: Overlay) -> str:
    """One of Slack's secrets in the environment, unless a file for it was given there or as a flag."""
    return "" if ("slack", setting) in overlay else env.get(name, "")


def _read(path: Path | None) -> Document:
    if path is None:
        return Document("", {}, {(): 0})
    source = "stdin" if str(path) == "-" else str(path)
    document = load_yaml(read_text(path, "the configuration file"), source)
    _refuse_secrets(document)
    return document


def _with_scheme(given: Any, scheme: str) -> Any:
    if isinstance(given, list):
        return [_with_scheme(one, scheme) for one in given]
    return f"{scheme}://{given}" if isinstance(given, str) and "://" not in given else given


def _put(data: dict[str, Any], keys: tuple[str, ...], value: Any, where: str) -> None:
    for key in keys[:-1]:
        inner = data.get(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"cannot set {'.'.join(keys)}: {key} is not a mapping in the file", where=where)
        data[key] = dict(inner)
        data = data[key]
    data[keys[-1]] = value


def _refuse_secrets(document: Document) -> None:
    for path in document.lines:
        if path and path[-1] in SECRETS and not isinstance(_at(document.data, path), dict):
            raise ConfigError(
                f"a secret must not stand in this file; put it in a file of its own and set {path[-1]}_file",
                where=document.where(path),
            )


def _at(data: Any, path: Keys) -> Any:
    for key in path:
        data = data[key]
    return data
