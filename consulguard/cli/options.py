"""What every verb understands, in Consul's own words where it has one."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consulguard.cli.doors import UsageError, finish

if TYPE_CHECKING:
    from consulguard.config import Loaded, Overlay


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    DOT = "dot"
    MERMAID = "mermaid"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    ECS = "ecs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The shared flags as they were given; ``values`` by flag name without dashes."""

    values: dict[str, Any]

    @property
    def output(self) -> Output:
        return Output(self.values["output"])

    @property
    def quiet(self) -> bool:
        return bool(self.values["quiet"])

    @property
    def color(self) -> bool:
        return not (self.values["no_color"] or os.environ.get("NO_COLOR"))

    @property
    def timeout_s(self) -> float:
        return float(self.values["timeout"])

    @property
    def stale(self) -> bool:
        return bool(self.values["stale"])

    def load(self, *more: tuple[tuple[str, ...], Any, str]) -> Loaded:
        """The configuration with the flags, and ``more`` settings of the verb, on top. Raises ConfigError.

        Where it has units: of the one that ``--datacenter`` and ``--partition`` name. Raises UsageError.
        """
        from consulguard.config import units
        from consulguard.errors import ConfigError

        loaded = self.load_all(*more)
        if not loaded.config.coordinate.units:
            return loaded
        units.views(loaded)
        try:
            return units.chosen(loaded, self.values["datacenter"] or "", self.values["partition"] or "")
        except ConfigError as error:
            raise UsageError(error.message) from None

    def load_all(self, *more: tuple[tuple[str, ...], Any, str]) -> Loaded:
        """The same, of all units. Raises ConfigError."""
        loaded = self._load(*more, leave_out=("datacenter", "partition"))
        named = {name: self.values[name] for name in ("datacenter", "partition") if self.values[name]}
        if loaded.config.coordinate.units or not named:
            return loaded
        if self.values["config"] != "-":
            return self._load(*more)
        consul = loaded.config.consul.model_copy(update=named)  # stdin is read once
        return replace(loaded, config=loaded.config.model_copy(update={"consul": consul}))

    def _load(self, *more: tuple[tuple[str, ...], Any, str], leave_out: tuple[str, ...] = ()) -> Loaded:
        from consulguard.config import load

        overlay: Overlay = {path: (value, flag) for path, value, flag in more if value is not None}
        for name, path in _SETTINGS.items():
            if self.values[name] and name not in leave_out:
                overlay[path] = (self.values[name], f"--{name.replace('_', '-')}")
        if self.values["token"] and self.values["token_file"]:
            raise UsageError("--token and --token-file exclude each other; give one of them")
        loaded = load(self.values["config"], overlay)
        return replace(loaded, consul_token=self.values["token"]) if self.values["token"] else loaded


_SETTINGS = {
    "http_addr": ("consul", "http_addr"),
    "token_file": ("consul", "token_file"),
    "ca_file": ("consul", "ca_file"),
    "client_cert": ("consul", "client_cert"),
    "client_key": ("consul", "client_key"),
    "tls_server_name": ("consul", "tls_server_name"),
    "datacenter": ("consul", "datacenter"),
    "namespace": ("consul", "namespace"),
    "partition": ("consul", "partition"),
}


def _flag(name: str, kind: Any, default: Any, *decls: str, **spec: Any) -> inspect.Parameter:
    panel = "Consul" if name in _SETTINGS or name in ("token", "stale") else "Shared"
    option = typer.Option(*(decls or (f"--{name.replace('_', '-')}",)), rich_help_panel=panel, **spec)
    annotation = Annotated[kind, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _shared() -> list[inspect.Parameter]:
    text = str | None
    return [
        _flag("config", text, None, "--config", "-c", help="Configuration file; - is stdin."),
        _flag("output", Output, Output.TABLE, "--output", "-o", help="How to print."),
        _flag("quiet", bool, False, "--quiet", "-q", help="Only what was asked for."),
        _flag("verbose", bool, False, "--verbose", "-v", help="Log more."),
        _flag("log_level", LogLevel, LogLevel.INFO, help="What to log.", envvar="CONSULGUARD_LOG_LEVEL"),
        _flag("log_format", LogFormat, LogFormat.TEXT, help="How to log.", envvar="CONSULGUARD_LOG_FORMAT"),
        _flag("no_color", bool, False, "--no-color", help="No colours (also NO_COLOR)."),
        _flag("timeout", float, 30.0, help="Seconds a reading verb may take.", min=0.1),
        _flag("http_addr", text, None, help="Address of the Consul agent."),
        _flag("token", text, None, help="ACL token; prefer --token-file.", show_default=False),
        _flag("token_file", text, None, help="File with the ACL token."),
        _flag("ca_file", text, None, help="CA certificate."),
        _flag("client_cert", text, None, help="Client certificate."),
        _flag("client_key", text, None, help="Client key."),
        _flag("tls_server_name", text, None, help="Name to expect in the server's certificate."),
        _flag("datacenter", text, None, help="Datacenter to look at; of several units, the one."),
        _flag("namespace", text, None, help="Namespace (Enterprise)."),
        _flag("partition", text, None, help="Admin partition (Enterprise)."),
        _flag("stale", bool, False, "--stale", help="Let any server answer a one-shot read."),
    ]


def _flags_of(parameter: inspect.Parameter) -> tuple[str, ...]:
    spec = getattr(parameter.annotation, "__metadata__", (None,))[0]
    return tuple(getattr(spec, "param_decls", None) or ())


def _without(shared: inspect.Parameter, taken: set[str]) -> inspect.Parameter:
    """A short flag the verb uses for something of its own, as amtool does ``-c``, is not the shared one there."""
    option = shared.annotation.__metadata__[0]
    option.param_decls = tuple(flag for flag in option.param_decls if flag not in taken)
    return shared


def verb(app: typer.Typer, name: str, **spec: Any) -> Callable[[Callable[..., int | None]], Callable[..., None]]:
    """Register a verb. Its function takes the shared ``Options`` first and returns the exit code."""

    def register(function: Callable[..., int | None]) -> Callable[..., None]:
        signature = inspect.signature(function, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name != "options"]
        taken = {flag for p in own for flag in _flags_of(p)}
        shared = [_without(p, taken) for p in _shared()]
        names = [p.name for p in shared]

        def call(**given: Any) -> None:
            options = Options(values={n: given.pop(n) for n in names})
            finish(options.values, lambda: function(options, **given))

        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + shared
        call.__name__, call.__doc__ = function.__name__, function.__doc__
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command(name, **spec)(call)
        return call

    return register
