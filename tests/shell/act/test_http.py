"""``http.request`` against real little servers on loopback."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from consulguard.act import ActSettings, HttpHost
from consulguard.act.http_door import admitted, place, why_not
from consulguard.errors import ActionRefused
from consulguard.model import Intent, Outcome, Result
from hypothesis import given
from hypothesis import strategies as st

from tests.shell.act.support import ACTIONS, closed_address, context, do, intent, look, serve


def request(url: str, **params: Any) -> Intent:
    timeout_s = params.pop("timeout_s", 10.0)
    return intent(
        "http.request", {"method": "POST", "url": url, "idempotent": False} | params, timeout_s=timeout_s
    )


async def send(wanted: Intent, *hosts: HttpHost) -> Result:
    ctx = context(closed_address(), ActSettings(allowed_hosts=hosts))
    async with ctx.consul:
        return await do(wanted, ctx)


async def test_what_is_sent() -> None:
    got: list[tuple[str, str, dict[str, str], bytes]] = []

    async def handler(asked: web.BaseRequest) -> web.Response:
        got.append((asked.method, asked.path_qs, dict(asked.headers), await asked.read()))
        return web.Response(text="started with sesame123")

    async with serve(handler) as address:
        host = HttpHost(url=address, private=True, headers={"Authorization": "Bearer sesame123"})
        wanted = request(f"{address}/jobs/a%2Fb/run?x=1", body={"node": "n1"}, headers={"X-Team": "sre"})
        result = await send(wanted, host)
    assert result.outcome is Outcome.DONE
    assert "sesame" not in result.detail
    assert "started" in result.detail
    [(method, path, headers, body)] = got
    assert (method, path, body) == ("POST", "/jobs/a%2Fb/run?x=1", b'{"node":"n1"}')
    expected = {
        "Authorization": "Bearer sesame123",
        "Idempotency-Key": wanted.id,
        "X-Consulguard-Epoch": str(wanted.epoch),
        "X-Team": "sre",
        "Content-Type": "application/json",
    }
    assert expected.items() <= headers.items()


@pytest.mark.parametrize(
    ("status", "expect", "outcome"),
    [
        (200, [], Outcome.DONE),
        (204, [], Outcome.DONE),
        (200, [202], Outcome.FAILED),
        (409, [409], Outcome.DONE),
        (404, [], Outcome.FAILED),
        (429, [], Outcome.RETRY),
        (408, [], Outcome.UNKNOWN),
        (500, [], Outcome.UNKNOWN),
        (503, [], Outcome.UNKNOWN),
    ],
)
async def test_what_an_answer_means(status: int, expect: list[int], outcome: Outcome) -> None:
    async def handler(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status)

    async with serve(handler) as address:
        result = await send(request(address, expect_status=expect), HttpHost(url=address, private=True))
    assert result.outcome is outcome


async def test_a_redirect_is_not_followed() -> None:
    paths: list[str] = []

    async def handler(asked: web.BaseRequest) -> web.Response:
        paths.append(asked.path)
        return web.Response(status=302, headers={"Location": "/other"})

    async with serve(handler) as address:
        result = await send(request(f"{address}/one"), HttpHost(url=address, private=True))
    assert (result.outcome, paths) == (Outcome.FAILED, ["/one"])


async def test_nobody_listens_is_not_sent() -> None:
    address = closed_address()
    assert (await send(request(address), HttpHost(url=address, private=True))).outcome is Outcome.RETRY


async def test_a_name_that_does_not_resolve_is_not_sent() -> None:
    host = HttpHost(url="http://nobody.invalid")
    assert (await send(request("http://nobody.invalid/x"), host)).outcome is Outcome.RETRY


async def test_no_answer_in_time_is_unknown_and_so_is_the_probe() -> None:
    asked, over = asyncio.Event(), asyncio.Event()

    async def handler(_: web.BaseRequest) -> web.Response:
        asked.set()
        await over.wait()
        return web.Response()

    async with serve(handler) as address:
        host = HttpHost(url=address, private=True)
        wanted = request(address, timeout_s=0.5)
        result = await send(wanted, host)
        over.set()
    assert asked.is_set()
    assert result.outcome is Outcome.UNKNOWN
    ctx = context(closed_address())
    assert await look(wanted, ctx) is Outcome.UNKNOWN


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST"])
async def test_a_broken_connection_is_unknown_and_nothing_is_sent_twice(method: str) -> None:
    asked = []

    async def handler(request: web.BaseRequest) -> web.Response:
        asked.append(request.method)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with serve(handler) as address:
        result = await send(request(address, method=method), HttpHost(url=address, private=True))
    assert (result.outcome, asked) == (Outcome.UNKNOWN, [method])


async def test_loopback_needs_private_and_other_hosts_need_an_entry() -> None:
    asked = []

    async def handler(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response()

    async with serve(handler) as address:
        port = place(address).port
        allowed = HttpHost(url=f"http://localhost:{port}", private=True)
        refused = [
            await send(request(address), HttpHost(url=address)),
            await send(request(address)),
            await send(request(address), HttpHost(url=closed_address(), private=True)),
            await send(request(f"http://127.1:{port}/"), HttpHost(url=f"http://127.1:{port}")),
            await send(request(f"http://2130706433:{port}/"), HttpHost(url=f"http://2130706433:{port}")),
            await send(
                request(f"http://[::ffff:127.0.0.1]:{port}/"), HttpHost(url=f"http://[::ffff:127.0.0.1]:{port}")
            ),
            await send(request(f"http://localhost@127.0.0.1:{port}/"), allowed),
            await send(request(f"http://localhost:{port}\\@127.0.0.1/"), allowed),
            await send(request(f"https://localhost:{port}/"), allowed),
        ]
        assert [r.outcome for r in refused] == [Outcome.FAILED] * len(refused)
        assert asked == []
        assert (await send(request(f"http://LOCALHOST:{port}/x"), allowed)).outcome is Outcome.DONE


@pytest.mark.parametrize(
    "url",
    [
        "http://ok@169.254.169.254/", "http://ok\\@evil/", "http://a:b@ok/", "//ok/", "ftp://ok/", "file:///etc/passwd",
        "http://ok/../x", "http://ok/a/%2e%2e/b", "http://ok/a/%2E./b", "http://ok/a%2f..%2fb", "http://ok/a%5c..%5cb",
        "http://ok/#x", "http://ok /", "http://ok/\n", "http://ok/a b", "http://ök/", "http://ok:0/", "http://ok:99999/",
        "http://ok:8x/", "http:///x", "http://-ok/", "http://ok//evil/", "", "http://[::1",
    ],
)  # fmt: skip
def test_tricky_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError):
        place(url)


@given(st.text(max_size=60))
def test_whatever_is_taken_has_the_allowed_host_and_no_other(tail: str) -> None:
    hosts = [HttpHost(name="jobs", url="https://jobs.example:8443")]
    try:
        to = place(f"https://jobs.example:8443{tail}")
        admitted(to, hosts)
    except (ValueError, ActionRefused):
        return
    assert to.url.startswith("https://jobs.example:8443/")
    assert not set(to.url) & set("\\\r\n #")


NEVER = [
    "169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "168.63.129.16", "100.100.100.200",
    "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "x",
]  # fmt: skip
PRIVATE = ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3", "192.168.0.1", "172.16.0.1",
           "100.64.0.1", "fd12::1", "64:ff9b::a00:1"]  # fmt: skip


@pytest.mark.parametrize("address", NEVER)
def test_metadata_and_the_like_are_barred_even_where_private_is_allowed(address: str) -> None:
    assert why_not(address, private=True)
    assert why_not(address, private=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_only_where_the_operator_says_so(address: str) -> None:
    assert why_not(address, private=False)
    assert not why_not(address, private=True)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_public_addresses_are_fine(address: str) -> None:
    assert not why_not(address, private=False)


def test_the_preview_is_exact_and_masked() -> None:
    params = {
        "method": "PUT",
        "url": "https://jobs.example/run?token=abc&n=1",
        "headers": {"X-Api-Key": "abc", "X-Team": "sre"},
        "body": {"password": "abc", "n": 1},
        "idempotent": True,
    }
    shown = ACTIONS["http.request"].preview(intent("http.request", params), params)
    assert "PUT https://jobs.example/run?token=***&n=1" in shown
    assert "abc" not in shown
    assert "X-Team: sre" in shown


async def test_an_undo_runs_its_own_params() -> None:
    paths: list[str] = []

    async def handler(asked: web.BaseRequest) -> web.Response:
        paths.append(asked.path)
        return web.Response()

    async with serve(handler) as address:
        host = HttpHost(url=address, private=True)
        params = {"method": "POST", "url": f"{address}/undo", "idempotent": True}
        result = await send(intent("http.request", params, undo=True), host)
    assert (result.outcome, paths) == (Outcome.DONE, ["/undo"])
