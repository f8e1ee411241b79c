"""The one way to Prometheus: instant queries, and what their answers say of a condition.

Only the configured address is talked to, redirects are not followed, and an answer is read up to a limit. Three
things can come of a query: every sample is as expected, some sample is not, or nobody can tell.
"""

from __future__ import annotations

import math
import ssl as tls
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
import msgspec

from consulguard.act.text import tidy
from consulguard.consulapi import TokenSource
from consulguard.errors import ActionRefused, NotSent
from consulguard.model import Query, Value

CONNECT_S = 5.0
MAX_BYTES = 4 * 1024 * 1024
LABELS_MAX = 120  # characters of a sample's labels that are shown
BUSY = (408, 429)
NO_RESULT = "Prometheus answers something that is not a query's result"
PROMQL_WARNING = "PromQL warning"  # about the query's style; any other warning says that data is missing


class Asked(Value, frozen=True, kw_only=True):
    """``ok`` None: nobody can tell (no data, NaN, a part of the data is missing)."""

    ok: bool | None
    text: str


class _Sample(msgspec.Struct):
    value: tuple[float, str]
    metric: dict[str, str] = {}


class _Data(msgspec.Struct):
    resultType: str
    result: msgspec.Raw


class _Body(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """A Prometheus, or what speaks its query API (Thanos, Mimir, VictoriaMetrics), at one address."""

    address: str  # http(s)://host[:port][/prefix], without a slash at the end
    token: TokenSource | None = None  # sent as a bearer token
    ssl: tls.SSLContext | Literal[True] = True
    timeout_s: float = 10.0

    async def ask(self, query: Query, *, within_s: float = math.inf) -> Asked:
        """Whether every sample of the answer is as expected, now. ``within_s`` shortens the configured time.

        Raises NotSent when Prometheus cannot be asked now, ActionRefused when it does not take the query or us.
        """
        return weigh(query, _samples(await self._answer(query.text, min(self.timeout_s, within_s))))

    async def series(self, text: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each sample of an instant query. Raises as ``ask`` does."""
        return [(s.metric, float(s.value[1])) for s in _vector(await self._answer(text, self.timeout_s))]

    async def _answer(self, text: str, limit_s: float) -> _Data:
        try:
            status, data = await self._post(text, limit_s)
        except TimeoutError as error:
            raise NotSent(f"Prometheus gave no answer within {limit_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NotSent(f"Prometheus cannot be asked: {tidy(str(error)) or type(error).__name__}") from error
        return _opened(status, data)

    async def _post(self, text: str, limit_s: float) -> tuple[int, bytes]:
        headers = {"Accept-Encoding": "identity", "User-Agent": "consulguard"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.get()}"
        connector = aiohttp.TCPConnector(ssl=self.ssl, force_close=True)
        timeout = aiohttp.ClientTimeout(total=limit_s, sock_connect=CONNECT_S)
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=False, auto_decompress=False) as session,
            session.post(
                f"{self.address}/api/v1/query",
                data={"query": text},
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as answer,
        ):
            data = bytearray()
            async for chunk in answer.content.iter_any():
                data += chunk
                if len(data) > MAX_BYTES:
                    raise ActionRefused(f"Prometheus answers with more than {MAX_BYTES} bytes: narrow the query")
            return answer.status, bytes(data)


def _opened(status: int, data: bytes) -> _Data:
    """The answer's data. Raises as ``Prometheus.ask`` does."""
    try:
        body = msgspec.json.decode(data, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = None
    if status == 200 and body is not None and body.status == "success" and body.data is not None:
        missing = [w for w in body.warnings if not w.startswith(PROMQL_WARNING)]
        if missing:
            raise NotSent(f"Prometheus answers only in part: {tidy(missing[0])}")
        return body.data
    said = tidy(body.error if body is not None and body.error else data[:300].decode("utf-8", "replace"))
    if status == 200:
        raise NotSent(NO_RESULT)
    if status in BUSY or status >= 500:
        raise NotSent(f"Prometheus cannot answer now: {status} {said}")
    if 300 <= status < 400:
        raise ActionRefused(f"Prometheus answers {status}: redirects are not followed")
    if status in (400, 422):
        raise ActionRefused(f"Prometheus does not take the query: {said}")
    raise ActionRefused(f"Prometheus refuses: {status} {said}")


def _samples(data: _Data) -> list[tuple[str, float]]:
    """Each sample's labels, as text, and its value. Raises ActionRefused for a query of another kind."""
    if data.resultType != "scalar":
        return [(_labels(s.metric), float(s.value[1])) for s in _vector(data)]
    try:
        return [("", float(msgspec.json.decode(data.result, type=tuple[float, str])[1]))]
    except (msgspec.DecodeError, ValueError):
        raise NotSent(NO_RESULT) from None


def _vector(data: _Data) -> list[_Sample]:
    """Raises ActionRefused for a query of another kind."""
    if data.resultType != "vector":
        kind = tidy(data.resultType, 20)
        raise ActionRefused(f"the query gives a {kind}, not numbers as of now: use an instant vector or a scalar")
    try:
        samples = msgspec.json.decode(data.result, type=list[_Sample])
        for sample in samples:
            float(sample.value[1])
    except (msgspec.DecodeError, ValueError):
        raise NotSent(NO_RESULT) from None
    return samples


def _labels(metric: dict[str, Any]) -> str:
    inner = ", ".join(f'{name}="{value}"' for name, value in sorted(metric.items()) if name != "__name__")
    return tidy(f"{{{inner}}}", LABELS_MAX) if inner else ""


def weigh(query: Query, samples: Sequence[tuple[str, float]]) -> Asked:
    """What the samples say of the condition. One that is not as expected decides, whatever the others are."""
    if not samples:
        return Asked(ok=None, text="no data: the query gives nothing")
    bad = [(labels, value) for labels, value in samples if not math.isnan(value) and not query.holds(value)]
    unknown = [(labels, value) for labels, value in samples if math.isnan(value)]
    if bad:
        return Asked(ok=False, text=f"{_told(bad[0])} is not {query.expect}{_more(len(bad), len(samples))}")
    if unknown:
        return Asked(ok=None, text=f"no data: {_told(unknown[0])}{_more(len(unknown), len(samples))}")
    told = f"all {len(samples)} values are" if len(samples) > 1 else f"{_told(samples[0])} is"
    return Asked(ok=True, text=f"{told} {query.expect}")


def _told(sample: tuple[str, float]) -> str:
    labels, value = sample
    shown = "NaN" if math.isnan(value) else f"{value:.6g}"
    return f"{shown} {labels}".rstrip()


def _more(some: int, of: int) -> str:
    return f" ({some} of {of} values)" if of > 1 else ""
