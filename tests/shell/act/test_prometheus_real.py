"""``prometheus.query`` on a real Prometheus, and what is made of answers that no Prometheus should give."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from consulguard.act import ActContext, ActSettings, Prometheus
from consulguard.consulapi import TokenSource
from consulguard.model import Outcome, Result
from consulguard.plan import fill

from tests.shell.act.support import closed_address, context, do, intent, look, serve
from tests.support.prometheus import RealPrometheus

ERRORS = 'last_over_time(errors{service="web"}[5m])'


@asynccontextmanager
async def asking(address: str, **fields: Any) -> AsyncIterator[ActContext]:
    ctx = context("http://127.0.0.1:9", ActSettings(prometheus=Prometheus(address=address, **fields)))
    async with ctx.consul:
        yield ctx


async def ask(ctx: ActContext, query: str, expect: str = "< 0.05", **fields: Any) -> Result:
    return await do(intent("prometheus.query", {"query": query, "expect": expect}, **fields), ctx)


# ---- real


@pytest.mark.real
async def test_the_gate_opens_and_shuts_with_what_is_measured(prometheus: RealPrometheus) -> None:
    series = 'errors{service="web"}'
    async with asking(prometheus.address) as ctx:
        for value, outcome, told in ((0.31, Outcome.RETRY, "0.31 "), (0.01, Outcome.DONE, "0.01 ")):
            prometheus.exporter.samples[series] = value
            prometheus.shows(series, value)
            result = await ask(ctx, ERRORS)
            assert (result.outcome, result.detail.startswith(told)) == (outcome, True), result.detail
            assert 'service="web"' in result.detail


@pytest.mark.real
@pytest.mark.parametrize(
    ("query", "expect", "outcome", "told"),
    [
        ("vector(0.31)", "< 0.05", Outcome.RETRY, "0.31 is not < 0.05"),
        ("vector(0.01)", "< 0.05", Outcome.DONE, "0.01 is < 0.05"),
        ("scalar(vector(3))", ">= 3", Outcome.DONE, "3 is >= 3"),
        ("vector(-1e3)", "== -1000", Outcome.DONE, "-1000 is"),
        ("vector(1) / 0", "> 5", Outcome.DONE, "inf is > 5"),
        ("vector(0) / 0", "!= 5", Outcome.RETRY, "no data: NaN"),
        ("vector(0) / 0", "== 5", Outcome.RETRY, "no data: NaN"),
        ("no_such_metric", "< 0.05", Outcome.RETRY, "no data"),
        ("vector(1) > 5", "< 0.05", Outcome.RETRY, "no data"),
        ("ready[5m]", "< 0.05", Outcome.FAILED, "matrix"),
        ('"words"', "< 0.05", Outcome.FAILED, "string"),
        ("errors{", "< 0.05", Outcome.FAILED, "does not take the query"),
        ("rate(", "< 0.05", Outcome.FAILED, "does not take the query"),
        ("vector(1) + on() group_left() (up or vector(1))", "< 9", Outcome.FAILED, "does not take the query"),
    ],
)
async def test_every_kind_of_answer(
    prometheus: RealPrometheus, query: str, expect: str, outcome: Outcome, told: str
) -> None:
    async with asking(prometheus.address) as ctx:
        result = await ask(ctx, query, expect)
        assert (result.outcome, told in result.detail) == (outcome, True), result.detail


@pytest.mark.real
async def test_of_several_values_each_must_hold(prometheus: RealPrometheus) -> None:
    both = 'label_replace(vector(1), "zone", "a", "", "") or label_replace(vector(9), "zone", "b", "", "")'
    async with asking(prometheus.address) as ctx:
        assert (await ask(ctx, both, "< 10")).detail == "all 2 values are < 10"
        result = await ask(ctx, both, "< 5")
        assert (result.outcome, result.detail) == (Outcome.RETRY, '9 {zone="b"} is not < 5 (1 of 2 values)')
        with_nan = f"{both} or label_replace(vector(0)/0, 'zone', 'c', '', '')"
        assert (await ask(ctx, with_nan, "< 10")).detail.startswith("no data: NaN")
        assert (await ask(ctx, with_nan, "< 5")).detail.startswith('9 {zone="b"} is not')


HOSTILE = [
    'web"} or vector(1) or errors{service="',
    'web\\"} or vector(1) or errors{service=\\"',
    "web'} or vector(1) #",
    "web`} or vector(1) #",
    "web\\",
    ".*",
    "a|b",
    "$1 ${x}",
    "м\u0435ж [é] {}()*+?^.-",
]


def series_of(service: str) -> str:
    escaped = service.replace("\\", "\\\\").replace('"', '\\"')
    return f'errors{{service="{escaped}"}}'


@pytest.mark.real
@pytest.mark.parametrize("value", HOSTILE)
async def test_a_looked_up_value_stays_a_value(prometheus: RealPrometheus, value: str) -> None:
    """It finds the series that has exactly this label value, and no other."""
    prometheus.exporter.samples |= {'errors{service="web"}': 0.01} | {series_of(v): 7.0 for v in HOSTILE}
    prometheus.shows(series_of(value), 7.0)
    async with asking(prometheus.address) as ctx:
        for operator in ("=", "=~"):
            for quote in "\"'":
                query = f"last_over_time(errors{{service{operator}{quote}${{target.meta.k}}{quote}}}[5m])"
                filled = str(fill({"query": query}, {"target": {"meta": {"k": value}}})["query"])
                assert (await ask(ctx, filled, "== 7")).outcome is Outcome.DONE, filled
                assert (await ask(ctx, f"count({filled})", "== 1")).outcome is Outcome.DONE, filled


@pytest.mark.real
async def test_nobody_there_is_no_answer() -> None:
    async with asking(closed_address()) as ctx:
        result = await ask(ctx, "vector(1)")
        assert (result.outcome, "cannot be asked" in result.detail) == (Outcome.RETRY, True), result.detail


# ---- not real: what a Prometheus does only in trouble, or what stands in its place


def vector(value: str, *warnings: str) -> bytes:
    data = {"resultType": "vector", "result": [{"metric": {}, "value": [1, value]}]}
    return msgspec.json.encode({"status": "success", "data": data, "warnings": warnings})


ODD: list[tuple[int, bytes, Outcome, str]] = [
    (200, b"<html>", Outcome.RETRY, "not a query's result"),
    (200, b"\xff\xfe", Outcome.RETRY, "not a query's result"),
    (200, b'{"status":"success"}', Outcome.RETRY, "not a query's result"),
    (200, vector("x"), Outcome.RETRY, "not a query's result"),
    (200, vector("0").replace(b'"0"', b"0"), Outcome.RETRY, "not a query's result"),
    (200, vector("0", "a store is away"), Outcome.RETRY, "only in part: a store is away"),
    (200, vector("0", "PromQL warning: x"), Outcome.DONE, "0 is < 0.05"),
    (200, b" " * (5 * 1024 * 1024), Outcome.FAILED, "narrow the query"),
    (302, b"", Outcome.FAILED, "redirects are not followed"),
    (401, b"who are you", Outcome.FAILED, "refuses: 401 who are you"),
    (404, b"page not found", Outcome.FAILED, "refuses: 404"),
    (429, b"slow down", Outcome.RETRY, "cannot answer now"),
    (503, b'{"status":"error","errorType":"timeout","error":"query timed out"}', Outcome.RETRY, "query timed out"),
]


@pytest.mark.parametrize(("status", "body", "outcome", "told"), ODD)
async def test_odd_answers(status: int, body: bytes, outcome: Outcome, told: str) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, body=body, headers={"Location": "http://127.0.0.1:9/"})

    async with serve(answer) as address, asking(address) as ctx:
        result = await ask(ctx, "vector(1)")
        assert (result.outcome, told in result.detail) == (outcome, True), result.detail


async def test_silence_is_not_unknown_for_a_question() -> None:
    async def silent(request: web.BaseRequest) -> web.Response:
        await over.wait()
        return web.Response()

    over = asyncio.Event()
    async with serve(silent) as address, asking(address) as ctx:
        result = await ask(ctx, "vector(1)", timeout_s=0.5)
        over.set()
        assert (result.outcome, "no answer within 0.45 s" in result.detail) == (Outcome.RETRY, True), result.detail
        assert await look(intent("prometheus.query", {"query": "x", "expect": "> 1"}), ctx) is Outcome.RETRY


async def test_the_token_is_sent_and_followed_and_never_told(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2")
    seen = []

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append((request.method, request.path, request.headers.get("Authorization"), await request.text()))
        return web.Response(status=401, text="no")

    async with serve(answer) as address, asking(f"{address}/prom", token=TokenSource(file=file)) as ctx:
        result = await ask(ctx, "up == 1")
        file.write_text("other-word")
        await ask(ctx, "up == 1")
    assert seen == [
        ("POST", "/prom/api/v1/query", "Bearer hunter2", "query=up+%3D%3D+1"),
        ("POST", "/prom/api/v1/query", "Bearer other-word", "query=up+%3D%3D+1"),
    ]
    assert "hunter2" not in msgspec.json.encode(result).decode()


async def test_without_an_address_it_fails_and_says_what_to_set() -> None:
    ctx = context("http://127.0.0.1:9")
    async with ctx.consul:
        result = await ask(ctx, "up")
    assert (result.outcome, "actions.prometheus.address" in result.detail) == (Outcome.FAILED, True)
