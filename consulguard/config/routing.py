"""Receivers and routes as people write them, and what becomes of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from consulguard import policy, routing
from consulguard.config.windows import Hours, WindowName, Zone
from consulguard.errors import ConfigError
from consulguard.model import Matcher
from consulguard.plan.duration import shorten
from consulguard.plan.matcher import parse_matcher
from consulguard.plan.strict import Duration, SomeDuration, Strict
from consulguard.policy import Window

if TYPE_CHECKING:
    from consulguard.config.schema import Config

NEEDS = {"slack": ("channel",), "apprise": ("url_file",), "alertmanager": ("url",), "none": ()}
MAY = {"alertmanager": ("token_file", "refresh")}
DEPTH = 10  # routes within routes
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~-]+)*/?")


def _wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{text}", {"text": sentence})


def _matcher(text: str) -> str:
    try:
        parse_matcher(text, routing.LABELS)
    except ValueError as error:
        raise _wrong(str(error).replace("docs/silences.md", "docs/notifications.md")) from None
    return text


def _file(value: str) -> str:
    """What looks like a secret address itself is refused, and not repeated."""
    if "://" in value:
        raise _wrong("this looks like an address, not like the name of a file that holds one")
    return value


def _url(value: str) -> str:
    if value and (_URL.fullmatch(value) is None or not urlsplit(value).hostname):
        raise _wrong("must be http(s)://host[:port], a path where Alertmanager has one, and nothing more")
    return value.rstrip("/")


class TimeInterval(Strict):
    zone: Zone = Field("UTC", description="IANA name of the zone in which its times are meant.")
    times: list[Hours] = Field(
        min_length=1, max_length=50, description="List of {days: [mon, ...], start: 22:00, end: 04:00}."
    )

    def build(self) -> Window:
        return Window(zone=self.zone, open=tuple(hours.build() for hours in self.times))


class Receiver(Strict):
    kind: Literal["slack", "apprise", "alertmanager", "none"] = Field(description="none: nobody is told.")
    channel: str = Field(
        "", description="slack: channel id (C...) or #name; the app and token are those of slack."
    )
    url_file: Annotated[str, AfterValidator(_file)] = Field(
        "", description="apprise: file with its URL (mailtos://..., pagerduty://...)."
    )
    url: Annotated[str, AfterValidator(_url)] = Field("", description="alertmanager: http(s)://host:port[/path].")
    token_file: str = Field("", description="alertmanager: file with a bearer token; read again when it changes.")
    refresh: SomeDuration = Field(
        60.0,
        description="alertmanager: what lasts is sent again this often; four times as long unheard resolves it.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Receiver:
        needs = NEEDS[self.kind]
        if missing := [key for key in needs if not getattr(self, key)]:
            raise _wrong(f"a receiver of kind {self.kind} also needs {' and '.join(missing)}")
        known = {"kind", *needs, *MAY.get(self.kind, ())}
        if strange := sorted(self.model_fields_set - known):
            raise _wrong(f"a receiver of kind {self.kind} has no {' and no '.join(strange)}")
        return self


class Route(Strict):
    receiver: str = Field("", description="console, slack, or one of receivers. Empty: of the route above.")
    matchers: list[Annotated[str, AfterValidator(_matcher)]] = Field(
        [], description='List of label="value", or with !=, =~, !~; all must fit.'
    )
    continue_: bool = Field(False, alias="continue", description="Look at the routes after it, too.")
    group_wait: Duration | None = Field(None, description="The first word waits this long. Empty: as above.")
    group_interval: Duration | None = Field(None, description="Every further one does. Empty: as above.")
    repeat_interval: Duration | None = Field(
        None, description="What still lasts is told again this often; 0s: never. Empty: as above."
    )
    mute_time_intervals: list[WindowName] = Field([], description="Names of time_intervals in which it is quiet.")
    routes: list[Route] = Field([], max_length=200, description="Routes below; the first that fits takes it.")


def build(config: Config) -> policy.Route | None:
    """The tree with everything a route has from above written out. Raises ConfigError."""
    if config.route is None:
        if config.receivers:
            raise ConfigError("nobody is told anything here without a route", where="receivers")
        return None
    if config.route.matchers or config.route.continue_ or config.route.mute_time_intervals:
        raise ConfigError("the top takes everything: no matchers, continue or mute_time_intervals", where="route")
    if not config.route.receiver:
        raise ConfigError("the top needs a receiver", where="route")
    return _Builder(config).build(config.route, policy.Route(receiver=""), "route", 0)


class _Builder:
    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, given: Route, above: policy.Route, where: str, depth: int) -> policy.Route:
        if depth > DEPTH:
            raise ConfigError(f"routes are more than {DEPTH} deep", where=where)
        receiver = name_of(self.config, given.receiver, where) if given.receiver else above.receiver
        kind, _, name = receiver.partition(":")
        own = policy.Route(
            receiver=receiver,
            matchers=tuple(_matchers(given)),
            more=given.continue_,
            group_wait_s=_first(given.group_wait, above.group_wait_s),
            group_interval_s=_first(given.group_interval, above.group_interval_s),
            repeat_s=_first(given.repeat_interval, above.repeat_s),
            refresh_s=self.config.receivers[name].refresh if kind == "alertmanager" else 0.0,
            mute=tuple(self._window(name, where) for name in given.mute_time_intervals),
        )
        inner = (self.build(r, own, f"{where}.routes[{n}]", depth + 1) for n, r in enumerate(given.routes))
        return msgspec.structs.replace(own, routes=tuple(inner))

    def _window(self, name: str, where: str) -> Window:
        found = self.config.time_intervals.get(name)
        if found is None:
            raise ConfigError(
                f"there is no {shorten(name)} in time_intervals", where=f"{where}.mute_time_intervals"
            )
        return found.build()


def name_of(config: Config, receiver: str, where: str) -> str:
    """A receiver's name among the notifiers: ``kind:name``. Raises ConfigError."""
    if receiver in config.receivers:
        return f"{config.receivers[receiver].kind}:{receiver}"
    on = {"console": config.notify.console, "slack": config.slack.enabled}
    if on.get(receiver):
        return receiver
    setting = {"console": "notify.console", "slack": "slack.enabled"}.get(receiver)
    why = f"{setting} is off" if setting else f"there is no {shorten(receiver)} in receivers"
    raise ConfigError(why, where=f"{where}.receiver")


def _matchers(given: Route) -> list[Matcher]:
    return [parse_matcher(text, routing.LABELS) for text in given.matchers]


def _first(given: float | None, above: float) -> float:
    return above if given is None else given
