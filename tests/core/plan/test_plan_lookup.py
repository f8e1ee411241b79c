"""Look-ups at run time: once, plain, and safe where the value goes. Items 23, 24, 26, 31 and 32 of safety.md."""

from __future__ import annotations

import pytest
from consulguard.plan import fill, scope
from consulguard.plan.lookup import ROOTS, look_up
from hypothesis import given
from hypothesis import strategies as st

from tests.core.plan.helpers import incident, playbook, subject


def filled(params: dict[str, object], **meta: str) -> dict[str, object]:
    return fill(params, scope(incident(), subject(meta=meta), playbook()))


def test_values_are_looked_up_anywhere_in_the_parameters() -> None:
    params = {"a": "x ${incident.id} y ${target.service}", "b": [{"c": "${target.meta.k}"}], "d": 1, "e": True}
    assert filled(params, k="v") == {"a": "x INC-7 y pay-api", "b": [{"c": "v"}], "d": 1, "e": True}


def test_every_documented_path_exists() -> None:
    made = scope(incident(), subject(tags=("t", "u"), zone="z1"), playbook())
    for path in ROOTS:
        try:
            assert look_up(made, path)
        except LookupError:
            assert path in ("incident.root.node", "incident.root.instance", "target.peer")
    assert look_up(made, "target.tags") == "t,u"


def test_meta_keys_may_have_dots_and_slashes() -> None:
    assert filled({"a": "${target.meta.consulguard.io/restart}"}, **{"consulguard.io/restart": "v"}) == {"a": "v"}


@given(
    st.sampled_from(["${incident.id}", "{{7*7}}", "${target.meta.k}", "$${x}", "${${x}}", "%s", "\\1", "\\g<0>"])
)
def test_item_24_a_value_is_never_rendered_again(value: str) -> None:
    assert filled({"a": "<${target.meta.k}>"}, k=value) == {"a": f"<{value}>"}


@pytest.mark.parametrize(
    "path", ["target.meta.none", "target.peer", "a.b", "target", "target.meta", "incident.root"]
)
def test_no_value_is_a_lookup_error(path: str) -> None:
    with pytest.raises(LookupError, match="has no value"):
        filled({"a": f"${{{path}}}"})


def test_an_empty_value_is_no_value() -> None:
    with pytest.raises(LookupError):
        filled({"a": "${target.meta.k}"}, k="")


def test_the_parameters_themselves_stay_as_they_were() -> None:
    params = {"a": ["${incident.id}"]}
    filled(params)
    assert params == {"a": ["${incident.id}"]}


@pytest.mark.parametrize(
    "value", ["web;rm -rf /", "$(id)", "`id`", "-rf", "--config=x", "a b", "", "../x", "a" * 129, "é"]
)
def test_items_31_and_32_unsafe_values_are_held_out_of_commands(value: str) -> None:
    with pytest.raises(LookupError):
        filled({"argv": ["/bin/x", "${target.meta.k}"]}, k=value)


def test_safe_values_are_one_item_each() -> None:
    assert filled({"argv": ["/bin/x", "--", "${target.meta.k}"]}, k="a_b-1.c") == {
        "argv": ["/bin/x", "--", "a_b-1.c"]
    }


@pytest.mark.parametrize("where", ["url", "path"])
def test_values_in_urls_are_encoded(where: str) -> None:
    made = filled({where: "https://ops/x/${target.meta.k}?a=${target.meta.k}"}, k="a/b?c=1&d#@é")
    assert made == {where: "https://ops/x/a%2Fb%3Fc%3D1%26d%23%40%C3%A9?a=a%2Fb%3Fc%3D1%26d%23%40%C3%A9"}


@pytest.mark.parametrize(
    ("param", "text"), [("url", "https://ops/x/${target.meta.k}/y"), ("key", "a/${target.meta.k}")]
)
@pytest.mark.parametrize("value", [".", ".."])
def test_values_never_step_out_of_a_path(param: str, text: str, value: str) -> None:
    with pytest.raises(LookupError):
        filled({param: text}, k=value)
    with pytest.raises(LookupError):
        filled({param: text.replace("${target.meta.k}", "${target.meta.k}${target.meta.l}")}, k=".", l=".")


def test_a_value_in_a_key_is_one_segment() -> None:
    assert filled({"key": "a/${target.meta.k}/b"}, k="x y") == {"key": "a/x y/b"}
    with pytest.raises(LookupError):
        filled({"key": "a/${target.meta.k}"}, k="x/../../y")


def test_control_characters_go_nowhere() -> None:
    with pytest.raises(LookupError):
        filled({"headers": {"X-A": "${target.meta.k}"}}, k="a\r\nHost: evil")


@given(st.text(), st.sampled_from(["argv", "url", "key", "body"]))
def test_any_value_is_filled_in_or_refused_in_a_sentence(value: str, param: str) -> None:
    params = {"argv": ["/x", "${target.meta.k}"], "url": "http://h/${target.meta.k}", "key": "${target.meta.k}"}
    try:
        made = filled({param: params.get(param, "${target.meta.k}")}, k=value)
    except LookupError as failure:
        assert "\n" not in failure.args[0]  # noqa: PT017
    else:
        assert made
