"""What single values of the configuration may be: each check says in one sentence what is wrong."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from consulguard.consulapi import parse_address
from consulguard.errors import ConfigError
from consulguard.plan.duration import shorten
from consulguard.plan.strict import Share


def wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{text}", {"text": sentence})


def some_share(value: float) -> float:
    if value <= 0:
        raise wrong("must be more than 0%")
    return value


def addresses(value: object) -> object:
    """One address or a list of them; one without a scheme is taken as http, as Consul does."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value or not all(isinstance(a, str) for a in value):
        raise wrong("must be an address (http://host:port or unix:///path), or a list of them")
    found = [a if "://" in a else f"http://{a}" for a in value]
    for address in found:
        try:
            parse_address(address)
        except ConfigError as error:
            raise wrong(error.message) from None
    return found


def secret_file(value: str) -> str:
    """The name of a file. What looks like a secret itself is refused, and not repeated."""
    if _TOKEN.fullmatch(value):
        raise wrong("this looks like a secret, not like the name of a file that holds one")
    return value


def origin(value: str) -> str:
    try:
        parts = urlsplit(value)
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        plain = False
    if not plain or _ORIGIN.fullmatch(value) is None:
        raise wrong("must be scheme://host or scheme://host:port (http or https) and nothing more")
    return value


def base_url(value: str) -> str:
    """An address that paths can be put behind; empty stays empty."""
    if value:
        parts = urlsplit(value)
        if _BASE_URL.fullmatch(value) is None or {".", ".."} & set(parts.path.split("/")):
            raise wrong("must be http(s)://host[:port], a path where the API has one, and nothing more")
        origin(f"{parts.scheme}://{parts.netloc}")
    return value.rstrip("/")


def dashboard(value: str) -> str:
    """A web address whose host is fixed; empty stays empty."""
    if value and (_DASHBOARD.fullmatch(value) is None or len(value) > 2000):
        raise wrong("must be http(s)://host/path, with {service} and the like only behind the host")
    return value


def command(value: str) -> str:
    if not value.startswith("/"):
        raise wrong(f"{shorten(value)} is not an absolute path")
    return value


def namespace(value: str) -> str:
    if _NAMESPACE.fullmatch(value) is None:
        raise wrong(f"{shorten(value)} is not the name of a namespace")
    if value == "kube-system":
        raise wrong("kube-system is never acted upon: the cluster lives on it")
    return value


def listen(value: str) -> str:
    host, colon, port = value.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    if value and not (colon and host and 0 < number < 65_536):
        raise wrong(f"{shorten(value)} is not host:port; write 127.0.0.1:9415, or 0.0.0.0:9415 for everybody")
    return value


def app_id(value: str) -> str:
    if value and _APP_ID.fullmatch(value) is None:
        raise wrong(f"{shorten(value)} is not the id of a Slack app (A and capitals or digits)")
    return value


def ssh_host(value: str) -> str:
    try:
        split_host(value)
    except ValueError:
        raise wrong(f"{shorten(value)} is not host, host:port or [address]:port") from None
    return value


def split_host(value: str, port: int = 22) -> tuple[str, int]:
    """Host and port of ``host[:port]``; an IPv6 address stands in brackets. Raises ValueError."""
    found = _HOST.fullmatch(value)
    if found is None or not 0 < int(found[3] or port) < 65_536:
        raise ValueError(value)
    return found[1] or found[2], int(found[3] or port)


_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9][A-Za-z0-9.-]*))(?::([0-9]{1,5}))?")
_APP_ID = re.compile(r"A[A-Z0-9]{1,31}")
_TOKEN = re.compile(r"xox[a-z]-.*|xapp-.*|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.DOTALL)
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+")
_BASE_URL = re.compile(_ORIGIN.pattern + r"(/[A-Za-z0-9._~-]+)*/?")
_DASHBOARD = re.compile(_ORIGIN.pattern + r"([/?#][!-~]*)?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ADDRESSES = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
Count = Annotated[int, Field(ge=0, le=1_000_000)]
SomeCount = Annotated[int, Field(ge=1, le=1_000_000)]
SomeShare = Annotated[Share, AfterValidator(some_share)]
Addresses = Annotated[list[str], BeforeValidator(addresses), WithJsonSchema(_ADDRESSES)]
SecretFile = Annotated[str, AfterValidator(secret_file)]
Words = list[Annotated[str, Field(min_length=1)]]
