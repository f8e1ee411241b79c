"""What a playbook may not say although each of its fields is well formed: found at load, before any use."""

from __future__ import annotations

from collections.abc import Iterator

from consulguard.model import JsonObject, Match, Mode, Playbook, State, Step
from consulguard.plan.lookup import check_kubernetes, check_paths
from consulguard.plan.matcher import format_matcher, named_values
from consulguard.plan.overlap import narrows
from consulguard.plan.yaml import Path

PROTECTED = ("consul", "consulguard")  # no playbook acts on these; configuration can add to them, never remove
IDENTITY = frozenset(("service", "instance", "node", "datacenter", "partition", "namespace"))
KUBERNETES = "kubernetes."  # what its actions are aimed at has names of its own
NAMED_PARAMS = ("service", "target", "node")  # parameters that name what is acted upon

Problem = tuple[Path, str]


def problems(playbook: Playbook) -> Iterator[Problem]:
    """Every broken rule: the path in the file and a sentence."""
    yield from _selection(playbook)
    yield from _states(playbook)
    yield from _mode(playbook)
    yield from _steps(playbook)
    yield from _escalation(playbook)
    yield from _protection(playbook)


def _selection(playbook: Playbook) -> Iterator[Problem]:
    match = playbook.match
    for index, matcher in enumerate(match.matchers):
        path: Path = ("match", "matchers", index)
        if matcher.op == "=" and matcher.value == "" and matcher.name in IDENTITY:
            yield path, f"{matcher.name} is never empty here, so this matches nothing: name one"
        if matcher.op in ("=", "!=") and "*" in matcher.value and not matcher.name.startswith("meta."):
            yield path, f'* is not a wildcard in a matcher: write {matcher.name}=~"..." with a regular expression'
    if not match.match_all and not any(narrows(m) for m in match.matchers):
        yield (
            ("match", "matchers") if match.matchers else ("match",),
            "this selects everything: add a matcher that names a service, tag or meta key, or say match_all: true",
        )
    if match.match_all and playbook.mode is Mode.AUTO:
        yield ("mode",), "a playbook with match_all can never be auto: use approve or observe"
    if match.scope == "any" and playbook.steps:
        yield ("match", "scope"), "scope any is only for playbooks without steps: name what is acted upon"


def _states(playbook: Playbook) -> Iterator[Problem]:
    match = playbook.match
    if State.FLAPPING in match.states and "flapping" in match.unless:
        yield (
            ("match", "states"),
            "flapping is asked for and excluded: set unless to [maintenance, untrusted_view]",
        )
    if State.MAINTENANCE in match.states and "maintenance" in match.unless:
        yield (
            ("match", "states"),
            "maintenance is asked for and excluded: set unless to [flapping, untrusted_view]",
        )
    if not playbook.steps:
        return
    for state, why in (
        (State.UNKNOWN, "what we cannot see"),
        (State.MAINTENANCE, "what a person took out of service"),
    ):
        if state in match.states:
            yield ("match", "states"), f"steps may not act on {why}: remove {state}, or have no steps"
    if "untrusted_view" not in match.unless:
        yield ("match", "unless"), "steps never run on a view that is not trusted: add untrusted_view"


def _mode(playbook: Playbook) -> Iterator[Problem]:
    if playbook.mode is Mode.AUTO and playbook.verify is None:
        yield ("mode",), "a playbook without verify can never be auto: add verify, or use approve"
    if playbook.mode is Mode.AUTO and playbook.limits.allow_last_instance:
        yield ("guards", "allow_last_instance"), "touching the last instance needs a person: use mode approve"
    verify = playbook.verify
    others = verify and (verify.prometheus or (verify.dependents_required and verify.dependents_depth))
    if verify and verify.passing_for == 0 and not others:
        yield (
            ("verify", "target"),
            "with passing_for 0 the dependents must decide, or a query: set dependents.required, or prometheus",
        )
    if verify and verify.dependents_required and not verify.dependents_depth:
        yield ("verify", "dependents", "depth"), "required dependents need a depth of 1 or more"

    if verify and verify.prometheus:
        yield from _params(
            ("verify", "prometheus"), "prometheus.query", {"query": verify.prometheus.text}, playbook.match
        )


def _steps(playbook: Playbook) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, step in enumerate(playbook.steps):
        if step.name in seen:
            yield ("steps", index, "name"), f"the step name {step.name} is used twice: choose another"
        seen.add(step.name)
        yield from _params(("steps", index, "with"), step.uses, step.params, playbook.match)
        if step.undo:
            yield from _params(("steps", index, "undo", "with"), step.undo.uses, step.undo.params, playbook.match)


def _params(path: Path, uses: str, params: JsonObject, match: Match) -> Iterator[Problem]:
    for inner, sentence in check_paths(params, match.scope):
        yield (*path, *inner), sentence
    aimed = uses.startswith(KUBERNETES)
    for inner, sentence in check_kubernetes(params) if aimed else ():
        yield (*path, *inner), sentence
    for name in NAMED_PARAMS:
        value = params.get(name)
        if value in PROTECTED:
            yield (*path, name), f"{value} is protected: no playbook may act on it"
        if not aimed and isinstance(value, str) and "${" in value and value != f"${{target.{name}}}":
            yield (
                (*path, name),
                f"a look-up may not choose what is acted upon: only ${{target.{name}}} may stand here",
            )


def _escalation(playbook: Playbook) -> Iterator[Problem]:
    before = 0.0
    for index, rung in enumerate(playbook.escalate):
        path: Path = ("escalate", index)
        if rung.playbook == playbook.id:
            yield (*path, "playbook"), "a playbook may not escalate to itself"
        if rung.after_s <= before:
            yield (*path, "after"), "each rung must come later than the one before"
        before = rung.after_s


def _protection(playbook: Playbook) -> Iterator[Problem]:
    if not playbook.steps:
        return
    for index, matcher in enumerate(playbook.match.matchers):
        named = named_values(matcher) if matcher.name == "service" else None
        hit = [name for name in PROTECTED if named and name in named]
        if hit:
            yield (
                ("match", "matchers", index),
                f"{format_matcher(matcher)} aims at {hit[0]}, which is protected: no playbook may act on it",
            )


def step_conditions(playbook: Playbook, step: Step) -> str:
    """The step's conditions on one line."""
    return ", ".join(format_matcher(m) for m in step.when)
