"""Settings in the environment: Consul's and Slack's own variables, and ``CONSULGUARD_<SECTION>_<KEY>``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from consulguard.config.schema import Config
from consulguard.errors import ConfigError
from consulguard.plan.strict import Strict

Path = tuple[str, ...]
Overlay = dict[Path, tuple[Any, str]]  # path -> value, where it came from

# Consul's own variables, taken without a prefix. Tokens themselves are not settings: see load.py.
FOREIGN: dict[str, Path] = {
    "CONSUL_HTTP_ADDR": ("consul", "http_addr"),
    "CONSUL_HTTP_TOKEN_FILE": ("consul", "token_file"),
    "CONSUL_CACERT": ("consul", "ca_file"),
    "CONSUL_CLIENT_CERT": ("consul", "client_cert"),
    "CONSUL_CLIENT_KEY": ("consul", "client_key"),
    "CONSUL_TLS_SERVER_NAME": ("consul", "tls_server_name"),
    "CONSUL_NAMESPACE": ("consul", "namespace"),
    "CONSUL_PARTITION": ("consul", "partition"),
}
# OpenTelemetry's own: the first is a whole URL, to the second the signal's path is added.
COLLECTOR = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "", "OTEL_EXPORTER_OTLP_ENDPOINT": "/v1/traces"}
PREFIX = "CONSULGUARD_"
NOT_SETTINGS = {
    f"{PREFIX}{name}" for name in ("CONFIG", "FAILPOINT", "CONSUL", "REQUIRE_REAL", "LOG_LEVEL", "LOG_FORMAT")
}
# Kubernetes gives every pod such variables for each service of its namespace, ours among them.
KUBERNETES = re.compile(r"CONSULGUARD_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_[A-Z]+(_[A-Z]+)?)")


def from_environment(env: Mapping[str, str]) -> Overlay:
    """Settings in the environment; an empty variable counts as none.

    Raises ConfigError for a CONSULGUARD_ variable that names no setting.
    """
    overlay: Overlay = {path: (env[name], f"${name}") for name, path in FOREIGN.items() if env.get(name)}
    for name, more in COLLECTOR.items():
        if env.get(name):
            overlay.setdefault(("tracing", "endpoint"), (env[name].rstrip("/") + more, f"${name}"))
    known = {f"{PREFIX}{'_'.join(path)}".upper(): (path, default) for path, default in _settings(Config())}
    for name in sorted(n for n in env if n.startswith(PREFIX) and n not in NOT_SETTINGS):
        if name not in known:
            if KUBERNETES.fullmatch(name) or (name.endswith("_PORT") and "://" in env[name]):
                continue
            near = difflib.get_close_matches(name, list(known), n=1)
            hint = f"did you mean {near[0]}?" if near else "see docs/configuration.md"
            raise ConfigError(f"no such setting; {hint}", where=f"${name}")
        path, default = known[name]
        if isinstance(default, dict):
            raise ConfigError("this setting can only be given in the file", where=f"${name}")
        if env[name]:
            overlay[path] = (_typed(default, env[name]), f"${name}")
    return overlay


def scheme(env: Mapping[str, str]) -> str:
    """For an address that names none."""
    return "https" if env.get("CONSUL_HTTP_SSL", "").lower() in ("1", "true") else "http"


def _settings(section: Strict, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, Strict):
            yield from _settings(value, (*above, key))
        else:
            yield (*above, key), value


def _typed(default: Any, text: str) -> Any:
    """A variable's text as YAML would read the same word, where the setting is not text itself."""
    if isinstance(default, bool):
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if isinstance(default, int) and text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    if isinstance(default, list):
        return [item.strip() for item in text.split(",") if item.strip()]
    return text
