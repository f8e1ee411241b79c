"""Where settings come from: flag over environment over file over default, and whose fault an error is."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from consulguard.config.files import read_text
from consulguard.config.schema import SECRETS, Config
from consulguard.errors import ConfigError
from consulguard.plan.yaml import Document, load_yaml

Overlay = dict[tuple[str, ...], tuple[Any, str]]  # path -> value, where it came from

# Consul's and Slack's own variables, taken without a prefix.
FOREIGN = {
    "CONSUL_HTTP_ADDR": ("consul", "http_addr"),
    "CONSUL_HTTP_TOKEN_FILE": ("consul", "token_file"),
    "CONSUL_CACERT": ("consul", "ca_file"),
    "CONSUL_CLIENT_CERT": ("consul", "client_cert"),
    "CONSUL_CLIENT_KEY": ("consul", "client_key"),
    "CONSUL_TLS_SERVER_NAME": ("consul", "tls_server_name"),
    "CONSUL_NAMESPACE": ("consul", "namespace"),
    "CONSUL_PARTITION": ("consul", "partition"),
}
PREFIX = "CONSULGUARD_"
NOT_SETTINGS = {"CONSULGUARD_CONFIG", "CONSULGUARD_FAILPOINT", "CONSULGUARD_CONSUL", "CONSULGUARD_REQUIRE_REAL"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A valid configuration, where it came from, and the secrets the environment gave."""

    config: Config
    path: Path | None  # None: no file, defaults only
    consul_token: str = ""
    slack_token: str = ""

    @property
    def folder(self) -> Path:
        """What relative paths in the file are relative to."""
        return self.path.parent if self.path is not None else Path.cwd()

    def resolve(self, name: str) -> Path:
        """A path of the file, as an absolute one."""
        return self.folder / Path(name).expanduser()


def find(named: str | None, env: Mapping[str, str]) -> Path | None:
    """The configuration file: named, $CONSULGUARD_CONFIG, here, $XDG_CONFIG_HOME, /etc. None: there is none."""
    if named is not None:
        return Path(named)
    if env.get("CONSULGUARD_CONFIG"):
        return Path(env["CONSULGUARD_CONFIG"])
    home = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "/")) / ".config")
    places = (Path("consulguard.yaml"), home / "consulguard/config.yaml", Path("/etc/consulguard/config.yaml"))
    return next((p for p in places if p.exists()), None)


def load(named: str | None = None, flags: Overlay | None = None, env: Mapping[str, str] | None = None) -> Loaded:
    """Read, overlay and check. Raises ConfigError with the place and one sentence."""
    env = os.environ if env is None else env
    path = find(named, env)
    document = load_yaml(read_text(path, "the configuration file"), str(path)) if path is not None else None
    data: dict[str, Any] = dict(document.data) if document is not None else {}
    _refuse_secrets(document)
    overlay = {**from_environment(env), **(flags or {})}
    for keys, (value, where) in overlay.items():
        _put(data, keys, value, where)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise _explain(error, document, overlay) from None
    return Loaded(
        config=config,
        path=path.absolute() if path is not None else None,
        consul_token=env.get("CONSUL_HTTP_TOKEN", ""),
        slack_token=env.get("SLACK_BOT_TOKEN", ""),
    )


def from_environment(env: Mapping[str, str]) -> Overlay:
    """Settings in the environment. Raises ConfigError for a CONSULGUARD_ variable that names none."""
    overlay: Overlay = {path: (env[name], f"${name}") for name, path in FOREIGN.items() if env.get(name)}
    address = overlay.get(("consul", "http_addr"))
    if address is not None and "://" not in address[0]:
        scheme = "https" if env.get("CONSUL_HTTP_SSL", "").lower() in ("1", "true") else "http"
        overlay["consul", "http_addr"] = (f"{scheme}://{address[0]}", address[1])
    known = _scalar_paths()
    for name in sorted(env):
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            keys = known.get(name)
            if keys is None:
                raise ConfigError(f"no such setting{_near(name, known)}", where=f"${name}")
            overlay[keys] = (_typed(keys, env[name]), f"${name}")
    return overlay


def _scalar_paths() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for section, field in Config.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        if inner is None:
            found[f"{PREFIX}{section}".upper()] = (section,)
            continue
        for key in inner:
            found[f"{PREFIX}{section}_{key}".upper()] = (section, key)
    return found


def _typed(keys: tuple[str, ...], text: str) -> Any:
    """A variable's text as YAML would read the same word, where the setting is not text itself."""
    default: Any = Config()
    for key in keys:
        default = getattr(default, key)
    if isinstance(default, bool):
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if isinstance(default, int) and text.isascii() and text.isdigit():
        return int(text)
    if isinstance(default, list):
        return [item.strip() for item in text.split(",") if item.strip()]
    return text


def _put(data: dict[str, Any], keys: tuple[str, ...], value: Any, where: str) -> None:
    for key in keys[:-1]:
        inner = data.get(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"cannot set {'.'.join(keys)}: {key} is not a mapping in the file", where=where)
        data[key] = dict(inner)
        data = data[key]
    data[keys[-1]] = value


def _refuse_secrets(document: Document | None) -> None:
    if document is None:
        return
    for path in document.lines:
        if path and path[-1] in SECRETS:
            key = path[-1]
            raise ConfigError(
                f"a secret must not stand in this file; put it in a file of its own and set {key}_file",
                where=document.where(path),
            )


def _explain(error: ValidationError, document: Document | None, overlay: Overlay) -> ConfigError:
    """The first thing wrong, as one sentence with its place."""
    first = error.errors(include_url=False)[0]
    path = tuple(p for p in first["loc"] if not (isinstance(p, str) and p.startswith(("function", "constrained"))))
    keys = tuple(str(p) for p in path)
    where = next((origin for known, (_, origin) in overlay.items() if keys[: len(known)] == known), "")
    if not where and document is not None:
        where = document.where(path)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = f"unknown key{_near(str(path[-1]), _keys_at(path[:-1]))}"
    elif first["type"] not in ("value_error",):
        message = f"{message[0].lower()}{message[1:]}"
    return ConfigError(message, where=where or ".".join(keys))


def _keys_at(path: tuple[Any, ...]) -> list[str]:
    model: Any = Config
    for part in path:
        fields = getattr(model, "model_fields", {})
        model = fields[part].annotation if part in fields else None
    return list(getattr(model, "model_fields", {}))


def _near(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
