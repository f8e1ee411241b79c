"""The loader: safety.md section 3, items 1-15, and that nothing else than our error ever comes out."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from consulguard.errors import ConfigError, PlaybookError
from consulguard.plan import load_yaml
from consulguard.plan.yaml import MAX_BYTES, MAX_NODES
from hypothesis import given, settings
from hypothesis import strategies as st


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_yaml(text, "f.yaml")
    message = str(caught.value)
    assert message.startswith("f.yaml:")
    assert "\n" not in message
    assert message.isprintable()
    return message


def data(text: str) -> object:
    return load_yaml(text, "f.yaml").data


def test_good_yaml_and_its_lines() -> None:
    document = load_yaml('a: 1\nb:\n  - x\n  - {c: "d"}\nt: |\n  one\n  two\t.\n', "f.yaml")
    assert document.data == {"a": 1, "b": ["x", {"c": "d"}], "t": "one\ntwo\t.\n"}
    assert document.line_of(("b", 1, "c")) == 4
    assert document.line_of(("b", 1, "missing", 0)) == 4
    assert document.line_of(()) == 1
    assert document.where(("b", 1, "c")) == "f.yaml:4: b[1].c"


def test_the_caller_chooses_the_error() -> None:
    with pytest.raises(PlaybookError):
        load_yaml("", "f.yaml", error=PlaybookError)


BOMB = 'a: &a ["x"]\n' + "".join(
    f"{n}: &{n} [" + ",".join([f"*{p}"] * 9) + "]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{n}: &{n} {{<<: [" + ",".join([f"*{p}"] * 9) + "]}\n" for p, n in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(BOMB, "f.yaml:1: a: anchors", id="1-alias-bomb"),
        pytest.param("x: *a\n", "aliases", id="1-alias-alone"),
        pytest.param(MERGE_BOMB, "anchors", id="2-merge-bomb"),
        pytest.param("a: 1\n<<: {b: 1}\n", "f.yaml:2: merge keys", id="2-merge-key"),
        pytest.param('a: 1\n"<<": {b: 1}\n', "merge keys", id="2-merge-key-quoted"),
        pytest.param("a: " + "[" * 2000, "deeper than 32", id="3-deep-list"),
        pytest.param("a: " + "{a: " * 900, "deeper than 32", id="3-deep-mapping"),
        pytest.param("".join(" " * i + "a:\n" for i in range(90)), "deeper than 32", id="3-deep-block"),
        pytest.param("a: " + "x\n   " * 60_000, "larger than 256 KiB", id="4-large"),
        pytest.param("a: " + "é\n   " * 55_000, "larger than 256 KiB", id="4-large-in-bytes"),
        pytest.param("a: [\n" + "1,\n" * (MAX_NODES + 1) + "]", "more than 10000 values", id="4-many-values"),
        pytest.param("a: " + "x" * 5000, "longer than 4096 characters", id="4-long-line"),
        pytest.param("max: 1\nb: 2\nmax: 999\n", "f.yaml:3: max: the key stands twice, first on line 1", id="5"),
        pytest.param("a: {b: 1, b: 2}", "a.b: the key stands twice", id="5-nested"),
        pytest.param("1: x\n", "the key '1' is not text", id="6-number-key"),
        pytest.param("true: x\n", "the key 'true' is not text", id="6-bool-key"),
        pytest.param("? [a]\n: x\n", "a key must be plain text", id="6-list-key"),
        pytest.param("? {a: b}\n: x\n", "a key must be plain text", id="6-mapping-key"),
        pytest.param("a: 010\n", "f.yaml:1: a: '010' starts with a zero", id="7-octal"),
        pytest.param("a: [.nan]\n", "a[0]: .nan is not a usable number", id="8-nan"),
        pytest.param("a: -.inf\n", "not a usable number", id="8-inf"),
        pytest.param("a: 1e999\n", "too large", id="8-overflow"),
        pytest.param("a: " + "1" * 4000, "more than 18 digits", id="9-digits"),
        pytest.param("a: 0x" + "f" * 40, "more than 18 digits", id="9-hex"),
        pytest.param("a: !!python/object/apply:os.system [ls]", "tags", id="10-python-object"),
        pytest.param("a: &a [*a]\n", "anchors", id="11-recursive"),
        pytest.param("a: !!binary aGk=", "tags", id="12-binary"),
        pytest.param("a: !!set {x}", "tags", id="12-set"),
        pytest.param("a: !!omap [x: 1]", "tags", id="12-omap"),
        pytest.param("a: !!timestamp 2001-01-01", "tags", id="12-timestamp"),
        pytest.param("a: !!str 1", "tags", id="12-str"),
        pytest.param("a: ! 1", "tags", id="12-bare"),
        pytest.param("a: 1\n---\nb: 2\n", "f.yaml:2: a second document", id="14-two"),
        pytest.param("", "must not be empty", id="14-empty"),
        pytest.param("# nothing\n", "must not be empty", id="14-comment"),
        pytest.param("---\n...\n", "must hold a mapping", id="14-null-document"),
        pytest.param("{}", "must not be empty", id="14-empty-mapping"),
        pytest.param("- a\n", "must hold a mapping", id="14-list"),
        pytest.param("hello", "must hold a mapping", id="14-text"),
        pytest.param("null: 1\n", "is not text", id="14-null-key"),
        pytest.param("~: 1\n", "is not text", id="14-tilde-key"),
        pytest.param("? \n: 1\n", "is not text", id="14-no-key"),
        pytest.param('"": 1\n', "is empty", id="14-empty-key"),
        pytest.param("%YAML 1.1\n---\na: yes\n", "directives", id="14-directive"),
        pytest.param("%TAG ! tag:x,1:\n---\na: yes\n", "directives", id="14-tag-directive"),
        pytest.param('a: "\\u202e"\n', "U+202E", id="15-bidi-escape"),
        pytest.param("a: x\u202ey\n", "U+202E", id="15-bidi"),
        pytest.param("# x\u202ey\na: 1\n", "f.yaml:1: the invisible character U+202E", id="15-bidi-in-comment"),
        pytest.param('a: "x\\u200b"\n', "U+200B", id="15-zero-width"),
        pytest.param('a: "\\0"\n', "U+0000", id="15-nul-escape"),
        pytest.param("a: x\x00\n", "U+0000", id="15-nul"),
        pytest.param("a: \ud800\n", "U+D800", id="15-surrogate"),
        pytest.param('a: "\\ud800"\n', "U+D800", id="15-surrogate-escape"),
        pytest.param('"a\\u200b": 1\n', "invisible", id="15-in-key"),
        pytest.param('a: "web\\n"\n', "block (|)", id="15-line-break-in-quotes"),
        pytest.param('a: "x\\ty"\n', "block (|)", id="15-tab-in-quotes"),
        pytest.param("a: \x1b[2J\n", "U+001B", id="15-escape"),
        pytest.param("a: [1\nb: 2", "not valid YAML", id="broken-list"),
        pytest.param("a: b: c\n", "f.yaml:1: this is not valid YAML", id="broken-mapping"),
        pytest.param("a:\n\t- x\n", "not valid YAML", id="tab-indent"),
        pytest.param('a: "\\UFFFFFFFF"\n', "not valid YAML", id="impossible-escape"),
        pytest.param("%YAML 1." + "9" * 4000 + "\n---\na: 1\n", "f.yaml:1", id="directive-digits"),
        pytest.param("a: !<" + "%ff" * 9 + "> x", "f.yaml:1", id="tag-escapes"),
        pytest.param("a: 'x", "not valid YAML", id="open-quote"),
        pytest.param("a: @x", "not valid YAML", id="reserved"),
    ],
)
def test_refused(text: str, says: str) -> None:
    assert says in refused(text)


def test_items_6_and_7_are_text_in_yaml_1_2() -> None:
    text = "on: critical\nmode: off\nyes: no\nwindow: 12:30:00\nport: 22:22\nn: 1_000\nd: 2001-01-01\nk: Y\n"
    assert data(text) == {
        "on": "critical",
        "mode": "off",
        "yes": "no",
        "window": "12:30:00",
        "port": "22:22",
        "n": "1_000",
        "d": "2001-01-01",
        "k": "Y",
    }


def test_the_core_schema() -> None:
    text = "a: [0, -1, +2, 0o17, 0x1F, 1.5, .5, 1e3, true, FALSE, null, ~, , '1', \"true\"]".replace(", ,", ",")
    expected = [0, -1, 2, 15, 31, 1.5, 0.5, 1000.0, True, False, None, None, "1", "true"]
    read = data(text)
    assert read == {"a": expected}
    assert [type(v) for v in read["a"]] == [type(v) for v in expected]  # type: ignore[index]


def test_line_breaks_of_other_systems_and_a_byte_order_mark_are_fine() -> None:
    assert data("\ufeffa: 1\r\nb: |\r\n  x\r\n  y\r\n") == {"a": 1, "b": "x\ny\n"}


SLOW = {
    "comments": "a: 1\n" + "# x\n" * 60_000,
    "blank": "a: 1\n" + "\n" * 200_000,
    "plain": "a: x\n" + "  x\n" * 50_000,
    "folded": "a: >\n" + "  x\n" * 50_000,
    "quoted": 'a: "' + "x\n " * 50_000,
    "flow": "a: [" + "{a: b},\n" * 25_000,
    "keys": "".join(f"k{i}: 1\n" for i in range(20_000)),
    "no commas": "a: [" + "x y\n" * 50_000,
    "directives": "%A\n" * 60_000,
    "questions": "? ? ? ?\n" * 20_000,
    "colons": ": : :\n" * 30_000,
    "brackets": ("[" * 4000 + "\n") * 60,
    "dashes": ("- " * 1000 + "\n") * 100,
}


@pytest.mark.parametrize("name", SLOW)
def test_reading_takes_a_bounded_time(name: str) -> None:
    text = SLOW[name]
    assert len(text) <= MAX_BYTES
    start = time.perf_counter()
    with contextlib.suppress(ConfigError):
        load_yaml(text, "f.yaml")
    assert time.perf_counter() - start < 20  # about one second on an idle machine; quadratic would be minutes


PIECES = "a / b: / : / - / ? / [ / ] / { / } / , / ' / \" / \\ / &a / *a / !!x / << / # / 1 / 0x / .nan"
MORE = ["true", "~", "`", "|", "\n", "\n  ", "\t", "%YAML 1.2\n", "---\n", "...\n", "\\x", "\\U", "!<", "%ff", ">"]
FRAGMENTS = st.sampled_from([*PIECES.split("/"), *MORE])


@settings(max_examples=400)
@given(st.one_of(st.lists(FRAGMENTS, max_size=40).map("".join), st.text(max_size=60), st.binary().map(repr)))
def test_nothing_but_our_error_comes_out(text: str) -> None:
    failure = None
    try:
        document = load_yaml(text, "f.yaml")
    except ConfigError as caught:
        failure = str(caught)
    if failure is None:
        assert isinstance(document.data, dict)
        assert document.data
    else:
        assert failure.startswith("f.yaml:")
        assert "\n" not in failure


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text("abc xyz:#'\"[]{}&*!|>%@-?", max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc: #", min_size=1), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abcdef -:", min_size=1, max_size=8), JSON, min_size=1, max_size=4))
def test_all_json_is_read_as_json_means_it(value: dict[str, object]) -> None:
    assert data(json.dumps(value)) == value
