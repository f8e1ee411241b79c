"""Whether Slack sent a request: its v0 signature over the raw body, within five minutes. Pure.

Source: https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

WINDOW_S = 300
_STAMP = re.compile(rb"[0-9]{1,12}")
_SIGNATURE = re.compile(rb"v0=[0-9a-f]{64}")


def sign(secret: str, stamp: str, body: bytes) -> str:
    """The value of ``X-Slack-Signature`` for this body at this time (whole seconds since 1970, as text)."""
    base = b":".join((b"v0", stamp.encode(), body))
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


def problem(
    secrets: Sequence[str], *, stamps: Sequence[str], signatures: Sequence[str], body: bytes, now: float
) -> str:
    """Why the request is not Slack's; empty when it is.

    ``stamps`` and ``signatures`` are all values of the two headers: there must be one of each. ``secrets`` are
    those in force: the present one, and for a while after a change the one before.
    """
    if len(stamps) != 1 or len(signatures) != 1:
        return "one timestamp and one signature are needed"
    stamp, given = (text.encode("utf-8", "surrogateescape") for text in (stamps[0], signatures[0]))
    if _STAMP.fullmatch(stamp) is None:
        return "the timestamp is no number"
    if abs(now - int(stamp)) > WINDOW_S:
        return "the timestamp is too far from now"
    if _SIGNATURE.fullmatch(given) is None:
        return "the signature is none of version v0"
    wanted = [sign(secret, stamps[0], body).encode() for secret in secrets if secret]
    matches = [hmac.compare_digest(one, given) for one in wanted]  # every one, whichever matches
    return "" if any(matches) else "the signature does not match"
