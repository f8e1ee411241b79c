"""How the machine is run: for so many stories, without a database, always the same ones or never."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import seed as seeded
from hypothesis.stateful import RULE_MARKER, run_state_machine_as_test

from tests.model.machine import Model, rooms_are_quiet
from tests.model.seams import Mutation


def machine(mutation: Mutation | None = None) -> type[Model]:
    """A machine of its own, which counts for itself; of a mutant, with the rules it is about."""
    mutation = mutation or Mutation()
    rules = [name for name in dir(Model) if hasattr(getattr(Model, name), RULE_MARKER)]
    others = [name for name in rules if mutation.focus and name not in mutation.focus]
    left_out = dict.fromkeys(others)
    return type("Model", (Model,), {"mutation": mutation, "counted": Counter(), **left_out})


def run(model: type[Model], *, stories: int, steps: int, seed: int | None = None, shrink: bool = False) -> None:
    """Raises what the first story that breaks an invariant raises; it is told in the error's notes."""
    rooms_are_quiet()
    test = model if seed is None else seeded(seed)(model)
    run_state_machine_as_test(
        test,
        settings=settings(
            max_examples=stories,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=False,
            report_multiple_bugs=False,
            print_blob=False,
            verbosity=Verbosity.normal,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        ),
    )
