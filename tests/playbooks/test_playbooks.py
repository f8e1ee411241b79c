"""Every shipped playbook compiles, lints clean against the real actions, and tells its story."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import msgspec
import pytest
from consulguard import plan
from consulguard.app import stories
from consulguard.events import AnyEvent
from consulguard.model import ActionInfo, Incident, IncidentState, Mode, Playbook, Role, Root, State, View
from consulguard.policy import Policy

from tests.playbooks.stories import PLAYBOOKS, START, STORIES, facts_of, instance, subjects_of, text_of

FILES = sorted(PLAYBOOKS.glob("*.yaml"))
SHIPPED = [plan.parse_file(f.read_text(), f.name) for f in FILES]
ALL = [file.playbook for file in SHIPPED]
LATER = START.replace(hour=13)
TRUSTED = View(trusted=True, settled=True)


def an_incident() -> Incident:
    return Incident(
        id="INC-1",
        state=IncidentState.OPEN,
        root=Root(kind="service", name="payment", datacenter="dc1"),
        confidence=0.9,
        members=(),
        why=(),
        opened_at=START,
        updated_at=START,
        root_since=START,
    )


def actions() -> tuple[list[ActionInfo], dict[str, type]]:
    """The built-in actions as the package declares them, whether it is installed here or not."""
    project = tomllib.loads((PLAYBOOKS.parent / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"]["consulguard.actions"]
    found = {name: EntryPoint(name, value, "consulguard.actions").load() for name, value in declared.items()}
    infos = [action.info() for action in found.values()]
    return infos, {name: action.Params for name, action in found.items()}


def test_there_are_at_least_eight_and_each_is_named_after_its_file() -> None:
    assert len(ALL) >= 8
    assert [p.id for p in ALL] == [f.stem for f in FILES]


def test_together_they_lint_clean_against_the_actions_themselves() -> None:
    infos, params = actions()
    assert plan.lint(ALL, infos, params) == []


@pytest.mark.parametrize("playbook", ALL, ids=lambda p: p.id)
def test_none_acts_by_itself_or_on_who_did_not_ask_for_it(playbook: Playbook) -> None:
    assert playbook.mode is not Mode.AUTO
    opted_in = any(m.name.startswith("meta.consulguard-") for m in playbook.match.matchers)
    assert opted_in or not playbook.steps


@pytest.mark.parametrize("file", SHIPPED, ids=lambda f: f.playbook.id)
def test_each_has_a_story_whose_recording_is_there_and_is_current(file: plan.PlaybookFile) -> None:
    assert file.tests
    for story in file.tests:
        text = (PLAYBOOKS / story.given).read_text()
        assert text == text_of(STORIES[Path(story.given).stem]), "run python -m tests.playbooks.stories"
        decode = msgspec.json.Decoder(AnyEvent).decode
        assert [decode(line) for line in text.splitlines()]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda f: f.playbook.id)
def test_each_is_chosen_among_all_in_its_story_and_can_be_filled_in(file: plan.PlaybookFile) -> None:
    story = STORIES[file.playbook.id]
    subjects = subjects_of(story)
    choice, considered = plan.choose(ALL, subjects, TRUSTED, LATER, Policy())
    assert choice is not None
    assert choice.playbook.id == file.playbook.id
    assert len(considered) == len(ALL)
    for test in file.tests:
        assert test.matched
        assert test.role in ("", *(s.role for s in choice.subjects))
        assert test.steps == tuple(s.name for s in choice.playbook.steps)
    for subject in choice.subjects:
        incident = an_incident()
        for step in choice.playbook.steps:
            filled = plan.fill(step.params, plan.scope(incident, subject, choice.playbook))
            assert "${" not in msgspec.json.encode(filled).decode()


@pytest.mark.parametrize("file", SHIPPED, ids=lambda f: f.playbook.id)
def test_each_story_holds_in_the_engine(file: plan.PlaybookFile) -> None:
    infos, _ = actions()
    decode = msgspec.json.Decoder(AnyEvent).decode
    for story in file.tests:
        events = [decode(line) for line in (PLAYBOOKS / story.given).read_text().splitlines()]
        assert stories.problems(file.playbook, story, events, infos) == []


@pytest.mark.parametrize("name", [n for n in STORIES if n != "tell-people"])
def test_without_the_opt_in_people_are_told_and_nothing_else(name: str) -> None:
    subjects = tuple(msgspec.structs.replace(s, meta={}) for s in subjects_of(STORIES[name]))
    choice, _ = plan.choose(ALL, subjects, TRUSTED, LATER, Policy())
    assert choice is not None
    assert choice.playbook.id == "tell-people"
    assert choice.playbook.steps == ()


def test_the_affected_are_told_but_never_acted_upon() -> None:
    for name, story in STORIES.items():
        subjects = tuple(msgspec.structs.replace(s, role=Role.AFFECTED) for s in subjects_of(story))
        choice, _ = plan.choose(ALL, subjects, TRUSTED, LATER, Policy())
        assert choice is not None, name
        assert choice.playbook.steps == ()


def test_a_dead_proxy_is_not_mistaken_for_a_dead_service() -> None:
    (subject,) = subjects_of(STORIES["restart-dead-sidecar"])
    alias = msgspec.structs.replace(subject, checks=("service:cart-1", "service:cart-1-sidecar-proxy:2"))
    choice, _ = plan.choose(ALL, [alias], TRUSTED, LATER, Policy())
    assert choice is not None
    assert choice.playbook.id == "restart-instance"


def test_the_sample_mesh_is_what_it_says() -> None:
    for story in STORIES.values():
        assert len(facts_of(story)) >= 22
    assert instance("payment", 1).node != instance("payment", 2).node


def test_states_of_the_stories_are_states() -> None:
    assert {s.state for s in STORIES.values()} == {State.CRITICAL, State.FLAPPING}
