"""Slack's signature: what is believed, and all that is not."""

from __future__ import annotations

import pytest
from consulguard.serve.slack import problem, sign
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier

# Slack's published example: https://docs.slack.dev/authentication/verifying-requests-from-slack
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
STAMP = "1531420618"
BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
NOW = float(STAMP)


def check(**changed: object) -> str:
    given = {"stamps": [STAMP], "signatures": [SIGNATURE], "body": BODY, "now": NOW} | changed
    return problem([SECRET], **given)  # type: ignore[arg-type]


def test_slacks_published_example() -> None:
    assert sign(SECRET, STAMP, BODY) == SIGNATURE
    assert check() == ""


@pytest.mark.parametrize("late_s", [-300, -1, 0, 1, 299, 300])
def test_five_minutes_either_way(late_s: int) -> None:
    assert check(now=NOW + late_s) == ""


@pytest.mark.parametrize("late_s", [-301, -600, 301, 600, 10**6])
def test_no_more_than_five_minutes(late_s: int) -> None:
    assert check(now=NOW + late_s) != ""


@pytest.mark.parametrize("stamp", ["", "abc", "1e9", "-1", "+5", "1531420618 ", "1531420618.0", "９", "9" * 30])
def test_a_timestamp_is_digits(stamp: str) -> None:
    assert check(stamps=[stamp], signatures=[sign(SECRET, STAMP, BODY)]) != ""


@pytest.mark.parametrize(
    "signature",
    [
        "",
        SIGNATURE[3:],
        "v1=" + SIGNATURE[3:],
        SIGNATURE.upper(),
        SIGNATURE + "\n",
        "v0=\udcff",
    ],
)
def test_anything_else_than_a_v0_signature_is_refused_without_an_error(signature: str) -> None:
    assert check(signatures=[signature]) != ""


def test_one_signature_and_one_timestamp() -> None:
    second = "v1=" + "0" * 64
    assert check(signatures=[SIGNATURE, second]) != ""
    assert check(signatures=[f"{SIGNATURE},{second}"]) != ""
    assert check(signatures=[]) != ""
    assert check(stamps=[STAMP, STAMP]) != ""
    assert check(stamps=[]) != ""


@given(at=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_no_bit_of_the_body_may_differ(at: int, bit: int) -> None:
    changed = bytearray(BODY)
    changed[at] ^= 1 << bit
    assert check(body=bytes(changed)) != ""


def test_the_secret_before_counts_while_it_is_given() -> None:
    old = sign("old", STAMP, BODY)
    found = {"stamps": [STAMP], "signatures": [old], "body": BODY, "now": NOW}
    assert problem(["new", "old"], **found) == ""
    assert problem(["new"], **found) != ""
    assert problem([""], **found | {"signatures": [sign("", STAMP, BODY)]}) != ""


@given(text=st.text(max_size=300), stamp=st.integers(0, 10**10), secret=st.text("abcdef0123456789", min_size=1))
def test_we_sign_as_slacks_own_client_does(text: str, stamp: int, secret: str) -> None:
    body = text.encode()
    theirs = SignatureVerifier(secret).generate_signature(timestamp=str(stamp), body=body)
    assert sign(secret, str(stamp), body) == theirs
