"""The effective mode is the lowest of everybody's word."""

from __future__ import annotations

import pytest
from consulguard.guard import effective_mode
from consulguard.model import Match, Matcher, Mode, Playbook, Verify
from hypothesis import given
from hypothesis import strategies as st

NARROW = Match(matchers=(Matcher(name="service", op="=", value="pay-api"),))


def playbook(mode: Mode = Mode.AUTO, **changes: object) -> Playbook:
    fields: dict[str, object] = {"match": NARROW, "verify": Verify(), **changes}
    return Playbook(id="p", digest="d", source="p.yaml:1", mode=mode, **fields)  # type: ignore[arg-type]


@given(
    st.sampled_from(Mode), st.sampled_from(Mode), st.sampled_from(Mode) | st.none(), st.booleans(), st.booleans()
)
def test_it_is_the_lowest_of_all(ours: Mode, its: Mode, services: Mode | None, verify: bool, braked: bool) -> None:
    meta = {} if services is None else {"consulguard.io/mode": services.value}
    words = [ours, its, services or Mode.AUTO, Mode.AUTO if verify else Mode.APPROVE]
    words += [Mode.OBSERVE] if braked else []
    found = effective_mode(ours, playbook(its, verify=Verify() if verify else None), meta, braked=braked)
    assert found.rank == min(w.rank for w in words)


@pytest.mark.parametrize(
    "changes",
    [
        {"verify": None},
        {"match": Match(matchers=NARROW.matchers, match_all=True)},
        {"match": Match()},
        {"match": Match(matchers=(Matcher(name="service", op="=~", value=".+"),))},
        {"match": Match(matchers=(Matcher(name="node", op="=~", value=".*"),))},
        {"match": Match(matchers=(Matcher(name="service", op="!=", value=""),))},
        {"destructive": True},
    ],
)
def test_what_is_never_done_without_a_person(changes: dict[str, object]) -> None:
    assert effective_mode(Mode.AUTO, playbook(**changes), {}) is Mode.APPROVE  # type: ignore[arg-type]


def test_a_matcher_on_meta_narrows() -> None:
    match = Match(matchers=(Matcher(name="meta.team", op="=~", value=".+"),))
    assert effective_mode(Mode.AUTO, playbook(match=match), {}) is Mode.AUTO


@given(st.text())
def test_a_word_nobody_understands_is_the_lowest(word: str) -> None:
    found = effective_mode(Mode.AUTO, playbook(), {"consulguard.io/mode": word})
    assert found is Mode.OBSERVE or word.strip().lower() in list(Mode)
