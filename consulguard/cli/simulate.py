"""``consulguard simulate``: what would be blamed and done if a service failed now. Touches nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from consulguard.app import actions, what_if
from consulguard.cli import contracts, doors, printing, reading
from consulguard.cli.options import Options
from consulguard.cli.plan import show


def simulate(
    options: Options,
    fail: Annotated[list[str], typer.Option("--fail", help="This service fails as a whole; may be repeated.")],
) -> int:
    """On the present topology and health: what would be blamed, and what each guard would say of the cure."""
    read = reading.look(options, options.load(), focus=fail)
    try:
        state = what_if.fail(read.state, fail)
    except LookupError as error:
        raise doors.NotFound(str(error)) from None
    answer = contracts.plan_of(state, actions()) | {"simulated": {"fail": fail}}
    if not printing.data(options, answer):
        out = printing.console(options)
        out.print(f"SIMULATED: {printing.safe(', '.join(fail))} failed, and it lasts")
        show(out, answer)
    return doors.OK if state.view.trusted else doors.CONSUL
