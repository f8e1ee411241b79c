"""What Consul answered, with the headers that say how far it may be believed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, overload

import msgspec

from consulguard.errors import BadAnswer

T = TypeVar("T")

_DIGITS = re.compile(r"[0-9]{1,20}", re.ASCII)
_INDEX_MAX = 2**64 - 1


class Answer(msgspec.Struct, kw_only=True):
    """A 2xx (or, where asked for, a 404 that means "nothing there").

    ``index``, ``known_leader`` and ``last_contact_ms`` are None where the header is missing or not a number.
    """

    status: int
    body: bytes
    index: int | None = None
    known_leader: bool | None = None
    last_contact_ms: int | None = None
    filtered_by_acls: bool = False
    headers: Mapping[str, str] = {}
    address: str = ""  # of the agent that answered

    @overload
    def json(self) -> Any: ...
    @overload
    def json(self, type: type[T]) -> T: ...
    @overload
    def json(self, type: Any) -> Any: ...
    def json(self, type: Any = Any) -> Any:
        """The body as ``type``; raises ``BadAnswer`` for anything that is not exactly that."""
        try:
            return _decoder(type).decode(self.body)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            start = self.body[:60].decode("utf-8", "replace")
            raise BadAnswer(f"not the JSON that was expected ({error}): {start!r}") from error


@cache
def _decoder(type: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type)


def parse_index(text: str | None) -> int | None:
    """A number of plain digits below 2**64, else None (``int()`` would also take signs, spaces and ``1_0``)."""
    if text is None or not _DIGITS.fullmatch(text):
        return None
    value = int(text)
    return value if value <= _INDEX_MAX else None


def from_headers(status: int, body: bytes, headers: Mapping[str, str], address: str) -> Answer:
    """Call this for data only: error answers carry an index of 1 that means nothing."""
    leader = headers.get("X-Consul-KnownLeader")
    return Answer(
        status=status,
        body=body,
        index=parse_index(headers.get("X-Consul-Index")),
        known_leader=None if leader is None else leader.lower() == "true",
        last_contact_ms=parse_index(headers.get("X-Consul-LastContact")),
        filtered_by_acls=headers.get("X-Consul-Results-Filtered-By-ACLs", "").lower() == "true",
        headers=headers,
        address=address,
    )
