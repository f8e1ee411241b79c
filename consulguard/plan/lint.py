"""Findings over a set of playbooks: each is fine alone, or it would not have loaded."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from pydantic import BaseModel, ValidationError

from consulguard.model import ActionInfo, JsonObject, Mode, Playbook, Step, Value
from consulguard.plan.lookup import META, ROOTS, fill
from consulguard.plan.matcher import fits
from consulguard.plan.overlap import can_tie, conditions, contradict
from consulguard.plan.rules import PROTECTED, step_conditions

ParamsModels = Mapping[str, type[BaseModel]]


class Finding(Value, frozen=True, kw_only=True):
    where: str  # file:line
    playbook: str
    rule: str
    text: str


def lint(
    playbooks: Sequence[Playbook], actions: Sequence[ActionInfo], params: ParamsModels | None = None
) -> list[Finding]:
    """All findings, in the order of the playbooks. ``params``: each action's model, to check ``with`` against."""
    known = {a.name: a for a in actions}
    found: list[Finding] = []
    for playbook in playbooks:
        for rule, text in _alone(playbook, known, params or {}):
            found.append(_finding(playbook, rule, text))
    for playbook, rule, text in _together(playbooks):
        found.append(_finding(playbook, rule, text))
    order = {p.source: n for n, p in enumerate(playbooks)}
    return sorted(found, key=lambda f: order.get(f.where, 0))


def _finding(playbook: Playbook, rule: str, text: str) -> Finding:
    return Finding(where=playbook.source, playbook=playbook.id, rule=rule, text=text)


# ---- one playbook


def _alone(playbook: Playbook, known: Mapping[str, ActionInfo], params: ParamsModels) -> Iterator[tuple[str, str]]:
    if contradict(conditions(playbook.match)):
        yield "never-matches", "its matchers contradict one another, so it can never match: correct or remove one"
    for step in playbook.steps:
        yield from _step(playbook, step, known, params)
    if playbook.steps and playbook.verify is None and playbook.mode is not Mode.OBSERVE:
        yield "missing-verify", "it acts without checking whether that helped: add verify"
    if playbook.on_failure == "undo" and playbook.steps and not any(s.undo for s in playbook.steps):
        yield "nothing-to-undo", "on_failure is undo, but no step says how it is undone: add undo to a step"
    for matcher in playbook.match.matchers:
        if matcher.op == "=~" and matcher.name == "service" and playbook.steps and not playbook.match.match_all:
            for name in PROTECTED:
                if fits(matcher.value, name):
                    yield (
                        "protected",
                        f'service=~"{matcher.value}" also fits {name}, on which nothing is ever done',
                    )


def _step(
    playbook: Playbook, step: Step, known: Mapping[str, ActionInfo], params: ParamsModels
) -> Iterator[tuple[str, str]]:
    if step.when and contradict((*conditions(playbook.match), *step.when)):
        yield (
            "unreachable",
            f"step {step.name} is never done: when [{step_conditions(playbook, step)}] cannot be true",
        )
    yield from _use(f"step {step.name}", step.uses, step.params, known, params)
    info = known.get(step.uses)
    if step.undo:
        # An undo without parameters takes over those of its step: right only where the action itself can undo.
        taker = known.get(step.undo.uses)
        if taker is not None and not taker.undoable and not step.undo.params:
            yield "undo-repeats", f"the undo of step {step.name} would do the step again: give it its own with"
        yield from _use(
            f"undo of step {step.name}", step.undo.uses, step.undo.params or step.params, known, params
        )
    elif info and info.undoable and playbook.on_failure == "undo" and not _takes_back(step, playbook):
        yield "missing-undo", f"step {step.name} can be undone and on_failure is undo: add undo, or use hold"
    if info and info.destructive and not playbook.destructive:
        yield "destructive", f"step {step.name} uses {step.uses}, which destroys something: say destructive: true"


def _takes_back(step: Step, playbook: Playbook) -> bool:
    """Does the step do, as its regular work, what the undo of another one would do."""
    undos = [s.undo for s in playbook.steps if s.undo]
    return any(undo.uses == step.uses and undo.params == step.params for undo in undos)


def _use(
    what: str, uses: str, params: JsonObject, known: Mapping[str, ActionInfo], models: ParamsModels
) -> Iterator[tuple[str, str]]:
    if uses not in known:
        near = difflib.get_close_matches(uses, sorted(known), n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"
        yield "unknown-action", f"{what} uses {uses}, which does not exist; {hint}"
    elif uses in models:
        for text in _bad_params(params, models[uses]):
            yield "bad-params", f"{what}: {text}"


class _Anything(dict[str, Any]):
    """Data in which every meta key has a plausible value."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, "sample")


def _sample() -> JsonObject:
    data: JsonObject = {}
    for path in ROOTS:
        *parents, last = path.split(".")
        inner = data
        for name in parents:
            inner = inner.setdefault(name, {})
        inner[last] = "sample"
    data[META.split(".")[0]]["meta"] = _Anything()
    return data


def _bad_params(params: JsonObject, model: type[BaseModel]) -> Iterator[str]:
    """What the action itself says of the parameters, with sample values looked up."""
    try:
        model.model_validate(fill(params, _sample()))
    except ValidationError as failure:
        for detail in failure.errors(include_url=False):
            path = ".".join(str(part) for part in detail["loc"])
            yield f"with.{path}: {detail['msg']}" if path else f"with: {detail['msg']}"


# ---- the set


def _together(playbooks: Sequence[Playbook]) -> Iterator[tuple[Playbook, str, str]]:
    yield from _names(playbooks)
    yield from _ties(playbooks)
    yield from _escalations(playbooks)


def _names(playbooks: Sequence[Playbook]) -> Iterator[tuple[Playbook, str, str]]:
    first: dict[str, Playbook] = {}
    for playbook in playbooks:
        known = first.setdefault(playbook.id, playbook)
        if known is not playbook:
            yield playbook, "duplicate-name", f"the name is also used in {known.source}: choose another"


def _ties(playbooks: Sequence[Playbook]) -> Iterator[tuple[Playbook, str, str]]:
    for one, two in combinations(playbooks, 2):
        if can_tie(one, two):
            text = f"it and {one.id} both have priority {two.priority} and can match the same thing: change one"
            yield two, "tie", text


def _escalations(playbooks: Sequence[Playbook]) -> Iterator[tuple[Playbook, str, str]]:
    rungs = {p.id: [e.playbook for e in p.escalate if e.playbook] for p in playbooks}
    for playbook in playbooks:
        for name in rungs[playbook.id]:
            if name not in rungs:
                near = difflib.get_close_matches(name, sorted(rungs), n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                yield playbook, "unknown-playbook", f"it escalates to {name}, which does not exist{hint}"
        if playbook.id in _reached(playbook.id, rungs):
            yield playbook, "escalation-cycle", "its escalations lead back to itself: break the circle"


def _reached(start: str, rungs: Mapping[str, list[str]]) -> set[str]:
    """All playbooks escalation can reach from ``start``."""
    seen: set[str] = set()
    todo = list(rungs[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += rungs.get(name, [])
    return seen
