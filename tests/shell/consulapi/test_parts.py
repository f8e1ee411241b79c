import os
from urllib.parse import unquote

import pytest
from consulguard.consulapi import Answer, TokenSource, parse_index, segment
from consulguard.consulapi.path import checked
from consulguard.consulapi.route import PATIENCE_S, RETURN_S, Route, parse_address
from consulguard.errors import BadAnswer, ConfigError, ConsulRefused
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda s: s not in ("", ".", "..")))
def test_a_name_becomes_exactly_one_segment(name):
    encoded = segment(name)
    assert unquote(encoded) == name
    assert "/" not in encoded
    assert checked(f"/v1/health/service/{encoded}") == f"/v1/health/service/{encoded}"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_be_another_endpoint_is_refused(name):
    with pytest.raises(ConsulRefused):
        segment(name)


@pytest.mark.parametrize(
    "path", ["/v1/../agent/leave", "/ui", "http://evil/v1/x", "/v1/a b", "/v1/a?x", "/v1/a\r\nX: y", "/v1/ä"]
)
def test_a_path_outside_the_api_is_refused(path):
    with pytest.raises(ConsulRefused):
        checked(path)


@pytest.mark.parametrize("text", [None, "", "abc", "-1", "+1", "1_0", " 12 ", "1.0", "٣", str(2**64), "1" * 30])
def test_only_plain_digits_are_an_index(text):
    assert parse_index(text) is None


@given(st.integers(0, 2**64 - 1))
def test_every_index_is_read(index):
    assert parse_index(str(index)) == index


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[{", b"[NaN]", b'["a"]', b"{}", b"", b"[1e999]", b"[" * 100_000, b'[{"Node": 1}]', b"\xff"],
)
def test_a_body_that_is_not_the_expected_json_is_a_bad_answer(body):
    with pytest.raises(BadAnswer):
        Answer(status=200, body=body).json(list[int])


def test_a_token_file_is_read_again_when_it_changes(tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    token = TokenSource(file=file)
    assert token.get() == "first"
    file.write_text("second-one\n")
    assert token.get() == "second-one"
    file.unlink()
    assert token.get() == "second-one"
    file.write_text("not a token\nat all")
    os.utime(file, (1, 1))
    assert token.get() == "second-one"
    assert "second" not in repr(token)


@pytest.mark.parametrize("value", ["a b", "a\r\nX-Evil: 1", "ä"])
def test_a_token_that_would_break_the_header_is_refused(value, tmp_path):
    with pytest.raises(ConfigError):
        TokenSource(value)
    (tmp_path / "t").write_text(value, "latin-1")
    with pytest.raises(ConfigError):
        TokenSource(file=tmp_path / "t")


def test_a_missing_token_file_is_refused_at_start(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        TokenSource(file=tmp_path / "none")


@pytest.mark.parametrize(
    ("address", "base", "socket"),
    [
        ("http://127.0.0.1:8500", "http://127.0.0.1:8500", ""),
        ("https://consul.example", "https://consul.example:443", ""),
        ("http://[::1]:8500/", "http://[::1]:8500", ""),
        ("unix:///run/consul.sock", "http://localhost", "/run/consul.sock"),
    ],
)
def test_addresses(address, base, socket):
    assert parse_address(address) == (base, socket)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:8500", "ftp://x", "http://", "http://u:p@x", "http://x/y", "http://x:99999", "unix://run/x", ""],
)
def test_addresses_that_are_none_are_refused_in_words(address):
    with pytest.raises(ConfigError):
        parse_address(address)


def test_the_route_leaves_an_agent_that_is_gone_and_comes_back_to_the_preferred_one():
    route = Route(["http://a", "http://b", "http://c"])
    route.bad("http://a", 0.0, gone=True)
    assert (route.current, route.switches) == ("http://b", 1)
    assert route.candidates(1.0, may_return=True)[0] == "http://b"
    assert route.candidates(RETURN_S + 1, may_return=False)[0] == "http://b"
    assert route.candidates(RETURN_S + 1, may_return=True) == ["http://a", "http://b", "http://c"]
    assert route.candidates(RETURN_S + 2, may_return=True)[0] == "http://b"  # one trial a while
    route.good("http://a", RETURN_S + 2)
    assert (route.current, route.switches) == ("http://a", 2)


def test_the_route_bears_errors_for_a_while():
    route = Route(["http://a", "http://b"])
    route.bad("http://a", 0.0, gone=False)
    route.bad("http://a", PATIENCE_S - 1, gone=False)
    assert route.current == "http://a"
    route.good("http://a", PATIENCE_S)
    route.bad("http://a", PATIENCE_S + 1, gone=False)
    assert route.current == "http://a"
    route.bad("http://a", 2 * PATIENCE_S + 1, gone=False)
    assert route.current == "http://b"


def test_a_route_needs_an_address():
    with pytest.raises(ConfigError):
        Route([])
