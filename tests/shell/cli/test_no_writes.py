"""The proof that looking never writes: by rights (a token that has none), and by counting what was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from tests.shell.cli.support import Cli, register_mesh
from tests.support.cluster import Cluster

pytestmark = [pytest.mark.real, pytest.mark.slow]

WATCH_ONLY = 'node_prefix "" {policy="read"} service_prefix "" {policy="read"} agent_prefix "" {policy="read"}'
PROBE = ("POST", "/v1/internal/acl/authorize")  # asks what we may do; changes nothing
VERBS = ("plan", "plan -o json", "plan --stale", "topology", "status", "status --nagios", "explain c", "check")


class Recorder:
    """A proxy before a Consul agent that writes down every request."""

    def __init__(self, to: str) -> None:
        self.requests: list[tuple[str, str]] = []
        self.queries: list[str] = []
        self._to = to

    async def __aenter__(self) -> Recorder:
        self._session = aiohttp.ClientSession(trust_env=False, auto_decompress=False)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _pass_on(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path))
        self.queries.append(request.query_string)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "content-length")}
        url = self._to + request.raw_path
        body = await request.read()
        async with self._session.request(request.method, url, headers=headers, data=body or None) as answer:
            kept = {k: v for k, v in answer.headers.items() if k.startswith("X-Consul") or k == "Content-Type"}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)


@pytest.fixture
async def watched(cluster: Cluster, tmp_path) -> AsyncIterator[tuple[Cli, Recorder]]:
    """The command line with the watch-only token, looking at a mesh with ACLs through the recorder."""
    secret = await cluster.make_token(WATCH_ONLY)
    (tmp_path / "token").write_text(secret)
    (tmp_path / "token").chmod(0o600)
    register_mesh(cluster.address(), cluster.root_token)
    async with Recorder(cluster.address()) as recorder:
        consul = {"http_addr": recorder.address, "token_file": str(tmp_path / "token")}
        yield Cli(tmp_path, mode="auto", consul=consul), recorder


async def everything(cluster: Cluster) -> list[object]:
    """What an action of ours could change, with the indexes of its last change."""
    paths = ["/agent/services", "/agent/checks", *(f"/catalog/service/{name}" for name in "abcw")]
    paths += [f"/config/service-{kind}" for kind in ("resolver", "splitter", "router", "defaults")]
    return [
        await cluster.request("GET", f"/v1{path}") for path in (*paths, "/session/list", "/connect/intentions")
    ]


async def test_no_reading_verb_sends_anything_but_reads(watched: tuple[Cli, Recorder], cluster: Cluster) -> None:
    cli, recorder = watched
    before = await everything(cluster)
    for verb in VERBS:
        recorder.requests.clear()
        recorder.queries.clear()
        done = await cli.aside(*verb.split())
        # 1 and 2: the nagios words for one critical instance; everything else is well
        assert done.code in ((1, 2) if "nagios" in verb else (0,)), (verb, done)
        sent = Counter(recorder.requests)
        others = {request: n for request, n in sent.items() if request[0] != "GET"}
        assert set(others) <= {PROBE}, verb
        assert sum(others.values()) <= 1, verb
        assert sent, verb
        if "--stale" in verb:
            assert any("stale" in query for query in recorder.queries)
    assert await everything(cluster) == before


async def test_what_plan_said_is_the_plan_of_an_all_powerful_token(
    watched: tuple[Cli, Recorder], cluster: Cluster
) -> None:
    """The watch-only token sees all that matters: the same root, members, playbook and step."""
    cli, _ = watched
    (cli.folder / "root").write_text(cluster.root_token)
    mine = (await cli.aside("plan", "-o", "json")).json
    roots = (await cli.aside("plan", "-o", "json", "--token-file", str(cli.folder / "root"))).json

    def essence(plan):
        return [
            (
                i["root"],
                [(m["name"], m["role"], m["state"]) for m in i["members"]],
                i["playbook"],
                i["steps"][0]["uses"],
            )
            for i in plan["incidents"]
            if i["steps"]
        ]

    assert mine["view"]["trusted"] is True
    assert essence(mine) == essence(roots)
    assert [root["instance"] for root, *_ in essence(mine)] == ["c1"]


async def test_check_names_the_right_that_is_missing(watched: tuple[Cli, Recorder], cluster: Cluster) -> None:
    cli, _ = watched
    (cli.folder / "token").write_text(await cluster.make_token('service_prefix "" {policy="read"}'))
    done = await cli.aside("check")
    assert done.code == 5
    assert 'node read is missing; add: node_prefix "" { policy = "read" }' in done.out
    for secret in ((cli.folder / "token").read_text(), cluster.root_token):
        assert secret not in done.out + done.err
