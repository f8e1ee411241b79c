"""The HTTP client: every read and write that needs headers, check-and-set or exact errors goes through here."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Required, Self, TypedDict, Unpack
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from yarl import URL

from consulguard.consulapi.answer import Answer, from_headers
from consulguard.consulapi.once import Once
from consulguard.consulapi.path import checked
from consulguard.consulapi.route import Route, parse_address
from consulguard.consulapi.token import TokenSource
from consulguard.errors import BadAnswer, ConsulguardError, ConsulRefused, ConsulUnavailable

MIB = 1024 * 1024
CONNECT_S = 3.0  # an agent on this host or network answers a connect at once, or is not there
Consistency = Literal["default", "stale", "consistent"]


class ClientOptions(TypedDict, total=False):
    """How to reach Consul. The first address is preferred, the others are fall-back agents."""

    addresses: Required[Sequence[str]]  # http://host:port, https://host:port, unix:///path
    token: TokenSource | None
    ssl: tls.SSLContext | None
    datacenter: str
    namespace: str
    partition: str
    timeout_s: float  # of a call that does not block; 10
    consistency: Consistency  # of reads that do not say their own


class ReadOptions(TypedDict, total=False):
    """How to read. A read with ``index`` blocks at the server for up to ``wait_s``."""

    params: Mapping[str, str] | None
    index: int | None
    wait_s: float | None
    consistency: Consistency
    timeout_s: float | None  # None: the client's, or what ``wait_s`` needs
    max_bytes: int  # larger answers are bad answers; 8 MiB
    address: str | None  # ask this agent and no other
    missing_ok: bool  # a 404 is an answer with status 404 (KV), not a refusal


class WriteOptions(TypedDict, total=False):
    params: Mapping[str, str] | None
    json: Any
    data: bytes | None
    timeout_s: float | None
    address: str | None


class _Request(msgspec.Struct, kw_only=True, frozen=True):
    method: str
    path: str
    query: dict[str, str]
    data: bytes | None
    timeout_s: float
    max_bytes: int = 8 * MIB
    missing_ok: bool = False


class ConsulClient:
    """Reads and writes against one agent, with fall-back agents.

    Every method raises ``ConsulUnavailable`` (5xx, 429, timeout, connection), ``ConsulRefused`` (other 4xx) or
    ``BadAnswer``; nothing of aiohttp leaks. ``requests`` counts what was sent, by method; ``asked`` is
    called after each with whether Consul answered, and how many seconds it took unless it waited for a change.
    """

    def __init__(self, **options: Unpack[ClientOptions]) -> None:
        self._route = Route(options["addresses"])
        self._bases = {address: parse_address(address) for address in self._route.addresses}
        self._token = options.get("token")
        self._ssl = options.get("ssl")
        self._timeout_s = options.get("timeout_s", 10.0)
        self._consistency: Consistency = options.get("consistency", "default")
        scope = {"dc": "datacenter", "ns": "namespace", "partition": "partition"}
        self._scope = {short: str(options[name]) for short, name in scope.items() if options.get(name)}  # type: ignore[literal-required]
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self.requests: Counter[str] = Counter()
        self.asked: Callable[[bool, float | None], None] = lambda answered, took_s: None

    @property
    def address(self) -> str:
        """The agent that is asked now."""
        return self._route.current

    @property
    def switches(self) -> int:
        """How often another agent has taken over."""
        return self._route.switches

    @property
    def datacenter(self) -> str:
        """The one that is asked for in every call; empty: the agent's own."""
        return self._scope.get("dc", "")

    @property
    def namespace(self) -> str:
        return self._scope.get("ns", "")

    @property
    def partition(self) -> str:
        return self._scope.get("partition", "")

    async def get(self, path: str, **options: Unpack[ReadOptions]) -> Answer:
        """Read. Tries the fall-back agents when nobody listens or the connection breaks."""
        query = dict(options.get("params") or {})
        wait_s = options.get("wait_s") or 60.0
        index = options.get("index")
        if index:
            query |= {"index": str(index), "wait": f"{max(1, round(wait_s * 1000))}ms"}
        if (consistency := options.get("consistency", self._consistency)) != "default":
            query[consistency] = ""
        # The server adds up to a sixteenth of the wait as jitter.
        patience = wait_s * 17 / 16 + 5 if index else self._timeout_s
        request = _Request(
            method="GET",
            path=checked(path),
            query=self._scoped(path) | query,
            data=None,
            timeout_s=options.get("timeout_s") or patience,
            max_bytes=options.get("max_bytes", 8 * MIB),
            missing_ok=options.get("missing_ok", False),
        )
        only = options.get("address")
        return await self._ask(only, request) if only else await self._first(request, may_return=not index)

    async def send(self, method: str, path: str, **options: Unpack[WriteOptions]) -> Answer:
        """Write (PUT, POST, DELETE), at most once.

        Another agent is tried only if the request certainly did not leave; an agent's own endpoint
        (``/v1/agent/``) means that agent and no other.
        """
        data = options.get("data")
        if (body := options.get("json")) is not None:
            data = msgspec.json.encode(body)
        request = _Request(
            method=method,
            path=checked(path),
            query=self._scoped(path) | dict(options.get("params") or {}),
            data=data,
            timeout_s=options.get("timeout_s") or self._timeout_s,
        )
        only = options.get("address") or (self.address if path.startswith("/v1/agent/") else None)
        return await self._ask(only, request) if only else await self._first(request, may_return=False)

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ---- one request

    def _scoped(self, path: str) -> dict[str, str]:
        """Datacenter, namespace and partition; an agent's own endpoints and the status ones take none."""
        return {} if path.startswith(("/v1/agent/", "/v1/status/")) else dict(self._scope)

    async def _first(self, request: _Request, *, may_return: bool) -> Answer:
        """The answer of the first agent that listens."""
        now = asyncio.get_running_loop().time
        last: ConsulUnavailable | None = None
        for address in self._route.candidates(now(), may_return=may_return):
            try:
                answer = await self._ask(address, request)
            except ConsulUnavailable as error:
                gone = not error.status and (not error.sent or isinstance(error.__cause__, aiohttp.ClientError))
                trial = address != self.address  # not the one in charge: its trouble is not the caller's
                self._route.bad(address, now(), gone=gone)
                if not (gone or trial) or (error.sent and request.method != "GET"):
                    raise
                last = error
            except (ConsulRefused, BadAnswer):
                self._route.good(address, now())
                raise
            else:
                self._route.good(address, now())
                return answer
        assert last is not None
        raise last

    async def _ask(self, address: str, request: _Request) -> Answer:
        """One agent, one request."""
        self.requests[request.method] += 1
        now = asyncio.get_running_loop().time
        began = now()

        def asked(answered: bool) -> None:
            self.asked(answered, None if "index" in request.query else now() - began)

        try:
            answer = await self._told(address, request)
        except (ConsulUnavailable, ConsulRefused, BadAnswer) as error:
            asked(not isinstance(error, ConsulUnavailable))
            raise
        asked(True)
        return answer

    async def _told(self, address: str, request: _Request) -> Answer:
        """Its answer, foreign errors translated."""
        timeout = aiohttp.ClientTimeout(total=request.timeout_s, sock_connect=CONNECT_S)
        headers = {"Accept-Encoding": "identity"}
        if self._token and (token := self._token.get()):
            headers["X-Consul-Token"] = token
        try:
            base, session = self._session(address)
            query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
            async with session.request(
                request.method,
                URL(base + request.path + query, encoded=True),
                data=request.data,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                middlewares=() if request.method == "GET" else (Once(),),
            ) as response:
                body = await _body(response, request.max_bytes)
                return _judge(request, response, body, address)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ConsulUnavailable(f"{address}: cannot connect: {_words(error)}", sent=False) from error
        except TimeoutError as error:
            raise ConsulUnavailable(f"{address}: no answer within {request.timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            raise ConsulUnavailable(f"{address}: the connection broke: {_words(error)}") from error
        except OSError as error:
            raise ConsulUnavailable(f"{address}: {_words(error)}") from error

    def _session(self, address: str) -> tuple[str, aiohttp.ClientSession]:
        base, socket = self._bases.get(address) or parse_address(address)
        session = self._sessions.get(address)
        if session is None:
            connector: aiohttp.BaseConnector
            if socket:
                connector = aiohttp.UnixConnector(path=socket, limit=0)
            else:  # no pool limit: a plain call must not queue behind blocked watches
                connector = aiohttp.TCPConnector(limit=0, ssl=self._ssl or True)
            session = aiohttp.ClientSession(
                connector=connector, trust_env=False, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
            self._sessions[address] = session
        return base, session


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    declared = response.content_length or 0
    chunks: list[bytes] = []
    size = 0
    if declared <= max_bytes:
        async for chunk in response.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > max_bytes:
                break
    if max(size, declared) > max_bytes:
        response.close()
        raise BadAnswer(f"{response.url.path}: the answer is larger than {max_bytes} bytes")
    return b"".join(chunks)


def _judge(request: _Request, response: aiohttp.ClientResponse, body: bytes, address: str) -> Answer:
    """Data, refusal or silence. Headers are looked at for data only."""
    status = response.status
    if 200 <= status < 300 or (status == 404 and request.missing_ok):
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise BadAnswer(f"{request.path}: encoded as {encoding!r}, which was not asked for")
        return from_headers(status, body, response.headers, address)
    raise _refusal(f"{address}: {request.method} {request.path}", status, body)


def _refusal(what: str, status: int, body: bytes) -> ConsulguardError:
    text = "".join(c if c.isprintable() else " " for c in body[:200].decode("utf-8", "replace")).strip()
    message = f"{what}: HTTP {status}{f': {text}' if text else ''}"
    if status >= 500 or status == 429:  # 429: this agent or server is busy, not a no
        return ConsulUnavailable(message, status=status)
    if 400 <= status < 500:
        return ConsulRefused(message, status=status)
    return BadAnswer(f"{message}; redirects are not followed")


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
