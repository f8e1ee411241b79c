"""``consulguard routes``: who would be told what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from consulguard import routing
from consulguard.cli import doors, printing
from consulguard.cli.options import Options
from consulguard.clock import SystemClock
from consulguard.config import Loaded, settings
from consulguard.plan.duration import format_duration
from consulguard.plan.matcher import check_label, format_matcher
from consulguard.policy import Route

EVERYBODY = "no route: everybody who is switched on is told everything"


def show(options: Options) -> int:
    """The routing tree, with what each route has from above."""
    route = settings.policy(options.load_all()).route
    if printing.data(options, {"route": _data(route) if route else None}):
        return doors.OK
    out = printing.console(options)
    for line in _tree(route) if route else [EVERYBODY]:
        out.print(printing.safe(line))
    return doors.OK


def try_(
    options: Options,
    labels: Annotated[list[str] | None, typer.Argument(help="LABEL=VALUE ...", show_default=False)] = None,
    expected: Annotated[
        str | None, typer.Option("--verify.receivers", help="Exit code 4 unless these, in this order: a,b")
    ] = None,
) -> int:
    """Who would be told of something with these labels."""
    loaded = options.load_all()
    given = _labels(labels or [])
    found = _chosen(loaded, given)
    if not printing.data(options, {"receivers": found}):
        for one in found:
            until = f" (muted until {one['muted_until']})" if one["muted_until"] else ""
            print(f"{one['receiver']}{until}")
    told = ",".join(one["receiver"] for one in found)
    if expected is not None and expected != told:
        raise Unexpected(f"expected {expected}, but {told} would be told")
    return doors.OK


class Unexpected(doors.NotFound):
    """Others than expected would be told."""

    exit_code = doors.EXPECTATION


def _chosen(loaded: Loaded, labels: routing.Labels) -> list[dict[str, Any]]:
    route, now = settings.policy(loaded).route, SystemClock().now()
    if route is None:
        on = {"console": loaded.config.notify.console, "slack": loaded.config.slack.enabled}
        return [{"receiver": name, "muted_until": None} for name, is_on in on.items() if is_on]
    return [
        {
            "receiver": plain(leaf.receiver),
            "group_wait_s": leaf.group_wait_s,
            "group_interval_s": leaf.group_interval_s,
            "repeat_interval_s": leaf.repeat_s,
            "muted_until": _stamp(routing.muted_until(leaf, now)),
        }
        for leaf in routing.chosen(route, labels)
    ]


def _stamp(at: datetime | None) -> str | None:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at is not None else None


def _labels(given: list[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise doors.UsageError("write LABEL=VALUE", where=text)
        try:
            check_label(name, routing.LABELS)
        except ValueError as error:
            raise doors.UsageError(str(error), where=text) from None
        found[name] = (*found.get(name, ()), value)
    return found


def plain(receiver: str) -> str:
    """As the configuration names it."""
    return receiver.rpartition(":")[2]


def _tree(route: Route, depth: int = 0) -> list[str]:
    fits = ", ".join(map(format_matcher, route.matchers)) or ("everything else" if depth == 0 else "everything")
    times = {
        "group_wait": route.group_wait_s,
        "group_interval": route.group_interval_s,
        "repeat_interval": route.repeat_s,
    }
    said = [f"{name} {format_duration(value)}" for name, value in times.items() if value]
    said += ["continue"] if route.more else []
    said += ["mute times"] if route.mute else []
    line = f"{'  ' * depth}{fits} -> {plain(route.receiver)}" + (f"  ({', '.join(said)})" if said else "")
    return [line, *(inner for below in route.routes for inner in _tree(below, depth + 1))]


def _data(route: Route) -> dict[str, Any]:
    return {
        "receiver": plain(route.receiver),
        "matchers": [format_matcher(m) for m in route.matchers],
        "continue": route.more,
        "group_wait_s": route.group_wait_s,
        "group_interval_s": route.group_interval_s,
        "repeat_interval_s": route.repeat_s,
        "mute_time_intervals": len(route.mute),
        "routes": [_data(inner) for inner in route.routes],
    }
