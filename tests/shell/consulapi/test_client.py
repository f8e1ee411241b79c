import asyncio
import gzip

import pytest
from aiohttp import web
from consulguard.consulapi import ConsulClient, TokenSource
from consulguard.errors import BadAnswer, ConsulRefused, ConsulUnavailable

from tests.shell.consulapi.stub import GOOD, Stub, answering

DEAD = "http://127.0.0.1:1"


async def test_an_answer_carries_its_headers():
    headers = {**GOOD, "X-Consul-LastContact": "12", "X-Consul-Results-Filtered-By-ACLs": "true"}
    async with Stub(answering('["x"]', headers=headers)) as stub, ConsulClient(addresses=[stub.address]) as client:
        answer = await client.get("/v1/catalog/services")
    assert (answer.index, answer.known_leader, answer.last_contact_ms) == (7, True, 12)
    assert answer.filtered_by_acls
    assert answer.json(list[str]) == ["x"]
    assert client.requests == {"GET": 1}


async def test_what_is_asked():
    token = TokenSource("secret")
    async with (
        Stub(answering()) as stub,
        ConsulClient(
            addresses=[stub.address], token=token, datacenter="dc2", namespace="team", partition="p1"
        ) as client,
    ):
        await client.get("/v1/health/state/any", params={"filter": 'Status != "a&b"'}, index=5, wait_s=55)
        await client.get("/v1/health/state/any", consistency="stale")
        await client.get("/v1/agent/self")
        await client.send("PUT", "/v1/kv/a%2Fb", params={"cas": "0"}, json={"x": 1})
    first, second, third, fourth = stub.seen
    scope = {"dc": "dc2", "ns": "team", "partition": "p1"}
    assert dict(first.query) == scope | {"filter": 'Status != "a&b"', "index": "5", "wait": "55000ms"}
    assert dict(second.query) == scope | {"stale": ""}
    assert dict(third.query) == {}
    assert dict(fourth.query) == scope | {"cas": "0"}
    assert fourth.raw_path.startswith("/v1/kv/a%2Fb?")
    assert {r.headers["X-Consul-Token"] for r in stub.seen} == {"secret"}
    assert {r.headers["Accept-Encoding"] for r in stub.seen} == {"identity"}


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_silence(status):
    async with (
        Stub(answering("No cluster leader\x1b[2J", status=status, headers={"X-Consul-Index": "1"})) as stub,
        ConsulClient(addresses=[stub.address]) as client,
    ):
        with pytest.raises(ConsulUnavailable, match="No cluster leader") as caught:
            await client.get("/v1/health/state/any")
    assert (caught.value.status, caught.value.sent) == (status, True)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_refusal(status):
    async with Stub(answering("no", status=status)) as stub, ConsulClient(addresses=[stub.address]) as client:
        with pytest.raises(ConsulRefused) as caught:
            await client.get("/v1/kv/x")
    assert caught.value.status == status


async def test_a_missing_key_may_be_an_answer():
    async with Stub(answering("", status=404)) as stub, ConsulClient(addresses=[stub.address]) as client:
        answer = await client.get("/v1/kv/x", missing_ok=True)
    assert (answer.status, answer.index) == (404, 7)


async def test_redirects_are_not_followed():
    async with (
        Stub(answering("", status=301, headers={"Location": "/v1/agent/leave"})) as stub,
        ConsulClient(addresses=[stub.address]) as client,
    ):
        with pytest.raises(BadAnswer, match="redirects"):
            await client.get("/v1/health/service/x")
    assert len(stub.seen) == 1


@pytest.mark.parametrize("declared", [True, False])
async def test_an_answer_that_is_too_large_is_not_read_to_its_end(declared):
    async def handler(request):
        response = web.StreamResponse(headers={"Content-Length": str(10**9)} if declared else {})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except ConnectionResetError:
            return response

    async with Stub(handler) as stub, ConsulClient(addresses=[stub.address]) as client:
        with pytest.raises(BadAnswer, match="larger"):
            await client.get("/v1/health/state/any", max_bytes=100_000)


async def test_a_compressed_answer_nobody_asked_for_is_refused():
    bomb = gzip.compress(b"0" * 10_000_000)
    async with (
        Stub(answering(bomb, headers={"Content-Encoding": "gzip"})) as stub,
        ConsulClient(addresses=[stub.address]) as client,
    ):
        with pytest.raises(BadAnswer, match="gzip"):
            await client.get("/v1/health/state/any")


async def test_nobody_listens():
    async with ConsulClient(addresses=[DEAD]) as client:
        with pytest.raises(ConsulUnavailable) as caught:
            await client.send("PUT", "/v1/kv/x", data=b"1")
    assert not caught.value.sent


async def test_a_slow_answer_is_silence():
    async def handler(request):
        await asyncio.sleep(30)
        return web.Response()

    async with Stub(handler) as stub, ConsulClient(addresses=[stub.address], timeout_s=0.1) as client:
        with pytest.raises(ConsulUnavailable, match=r"within 0\.1 s") as caught:
            await client.send("PUT", "/v1/kv/x", data=b"1")
    assert caught.value.sent


def breaking(then):
    """The first connection breaks without an answer, the others get ``then``."""
    broken = []

    async def handler(request):
        if not broken:
            broken.append(True)
            request.transport.abort()
            await asyncio.sleep(30)
        return await then(request)

    return handler


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
async def test_a_write_is_never_sent_twice(method):
    async with Stub(breaking(answering("true"))) as stub, ConsulClient(addresses=[stub.address]) as client:
        with pytest.raises(ConsulUnavailable) as caught:
            await client.send(method, "/v1/kv/x", data=b"1")
    assert caught.value.sent
    assert len(stub.seen) == 1


async def test_a_fall_back_agent_takes_over_when_nobody_listens():
    async with Stub(answering()) as stub, ConsulClient(addresses=[DEAD, stub.address]) as client:
        assert client.address == DEAD
        answer = await client.get("/v1/health/state/any")
        assert (answer.address, client.address, client.switches) == (stub.address, stub.address, 1)
        await client.send("PUT", "/v1/kv/x", data=b"1")
        assert client.switches == 1


async def test_a_fall_back_agent_takes_over_when_the_connection_breaks():
    async def broken(request):
        request.transport.abort()
        await asyncio.sleep(30)

    async with (
        Stub(broken) as bad,
        Stub(answering()) as good,
        ConsulClient(addresses=[bad.address, good.address]) as client,
    ):
        assert (await client.get("/v1/health/state/any")).address == good.address


async def test_a_broken_write_is_not_repeated_at_another_agent():
    async def broken(request):
        request.transport.abort()
        await asyncio.sleep(30)

    async with (
        Stub(broken) as bad,
        Stub(answering("true")) as good,
        ConsulClient(addresses=[bad.address, good.address]) as client,
    ):
        with pytest.raises(ConsulUnavailable):
            await client.send("PUT", "/v1/kv/x", data=b"1")
    assert not good.seen


async def test_an_agents_own_endpoint_means_that_agent():
    async with Stub(answering("true")) as stub, ConsulClient(addresses=[DEAD, stub.address]) as client:
        with pytest.raises(ConsulUnavailable):
            await client.send("PUT", "/v1/agent/maintenance", params={"enable": "true"})
        with pytest.raises(ConsulUnavailable):
            await client.get("/v1/agent/self", address=DEAD)
    assert not stub.seen


async def test_an_error_is_not_a_reason_to_change_the_agent():
    async with (
        Stub(answering("No cluster leader", status=500)) as bad,
        Stub(answering()) as good,
        ConsulClient(addresses=[bad.address, good.address]) as client,
    ):
        with pytest.raises(ConsulUnavailable):
            await client.get("/v1/health/state/any")
    assert not good.seen


async def test_a_unix_socket(tmp_path):
    path = str(tmp_path / "consul.sock")
    app = web.Application()
    app.router.add_get("/v1/status/leader", answering('"x"'))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, path).start()
    async with ConsulClient(addresses=[f"unix://{path}"]) as client:
        assert (await client.get("/v1/status/leader")).json(str) == "x"
    await runner.cleanup()


async def test_the_environment_names_no_proxy(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", DEAD)
    monkeypatch.setenv("http_proxy", DEAD)
    async with Stub(answering()) as stub, ConsulClient(addresses=[stub.address]) as client:
        assert (await client.get("/v1/health/state/any")).status == 200


async def test_a_block_that_ends_is_an_answer(consul_server):
    async with ConsulClient(addresses=[consul_server.address]) as client:
        await client.send("PUT", "/v1/kv/still", data=b"1")  # nobody else writes it, as agents do their nodes
        first = await client.get("/v1/kv/still")
        again = await client.get("/v1/kv/still", index=first.index, wait_s=0.2)
        assert first.index == again.index
        assert first.body == again.body
        wrong = client.get("/v1/health/state/any", params={"wait": "1500", "index": "1"})
        with pytest.raises(ConsulRefused):
            await wrong
