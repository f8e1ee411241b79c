"""``consulguard run``: the daemon."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from consulguard.app import life
from consulguard.cli import doors
from consulguard.cli.options import Options
from consulguard.errors import ConsulUnavailable


class ModeFlag(StrEnum):
    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"


def run(
    options: Options,
    mode: Annotated[ModeFlag | None, typer.Option(help="The most any playbook may do.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Read the mesh once, tell what is new, and end.")] = False,
) -> int:
    """Watch, correlate, plan, guard, act, verify and tell, until stopped."""
    given = (("mode",), mode.value if mode else None, "--mode")
    loaded = options.load(given) if once else options.load_all(given)
    named = options.values["datacenter"] or options.values["partition"]
    if named and not once and loaded.config.coordinate.units:
        raise doors.UsageError("the replicas share coordinate.units out; name one only with --once")
    try:
        life.serve(loaded, once=once, within_s=options.timeout_s if once else None)
    except TimeoutError:
        timeout_s = options.timeout_s
        raise ConsulUnavailable(f"the mesh was not read within {timeout_s:g} s; see the log above") from None
    return doors.OK
