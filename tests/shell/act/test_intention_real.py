"""``consul.intention``: by rows on a real 1.8.7, by the config entry on the twin of a later version."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
from aiohttp import web
from consulguard.act import ActContext
from consulguard.model import Outcome, Result, Target
from consulguard.testing import ConsulTwin
from consulguard.testing.real_consul import RealConsul

from tests.shell.act.support import context, do, intent, look, raw, serve, undo_of
from tests.shell.act.test_faults_real import before as proxied
from tests.shell.act.test_faults_real import lost_answer

TARGET = Target(dc="dc1", service="db")
DENY = {"source": "batch"}
LATER = "1.12.0"


@dataclass
class Old:
    """The rows of 1.8, as a person would use them."""

    address: str

    def read(self) -> Any:
        """The row without what the server computes; None when there is none."""
        rows = raw(self.address, "GET", "/v1/connect/intentions")
        found = [r for r in rows if (r["SourceName"], r["DestinationName"]) == ("batch", "db")]
        return (
            {k: v for k, v in found[0].items() if k not in ("UpdatedAt", "Hash", "ModifyIndex")} if found else None
        )

    def meta(self) -> dict[str, str]:
        return dict(self.read()["Meta"])

    def by_hand(self, action: str = "allow", **fields: Any) -> Any:
        row = {"SourceName": "batch", "DestinationName": "db", "SourceType": "consul", "Action": action} | fields
        present = self.read()
        path = f"/v1/connect/intentions/{present['ID']}" if present else "/v1/connect/intentions"
        raw(self.address, "PUT" if present else "POST", path, row)
        return self.read()

    def delete(self) -> None:
        present = self.read()
        if present:
            raw(self.address, "DELETE", f"/v1/connect/intentions/{present['ID']}")

    def allowed(self, source: str = "batch") -> bool:
        answer = raw(self.address, "GET", f"/v1/connect/intentions/check?source={source}&destination=db")
        return bool(answer["Allowed"])


@dataclass
class New:
    """The config entry of 1.9 and later. The twin does not judge connections; the entry's own words do."""

    twin: ConsulTwin

    @property
    def address(self) -> str:
        return self.twin.address

    def read(self) -> Any:
        entry = self.twin.world.entries.get("service-intentions", "db")
        return entry and {k: v for k, v in entry.items() if k not in ("CreateIndex", "ModifyIndex")}

    def meta(self) -> dict[str, str]:
        return dict(self.read()["Meta"])

    def by_hand(self, action: str = "allow", **fields: Any) -> Any:
        others = [{"Name": "web", "Action": "allow"}, {"Name": "*", "Action": "deny"}]
        sources = [{"Name": "batch", "Action": action}, *others]
        meta = {k: v for k, v in fields.items() if k == "Meta"}
        self.twin.world.entries.put({"Kind": "service-intentions", "Name": "db", "Sources": sources} | meta, None)
        return self.read()

    def delete(self) -> None:
        self.twin.world.entries.delete("service-intentions", "db", None)

    def allowed(self, source: str = "batch") -> bool:
        entry = self.read() or {"Sources": []}
        return next((s["Action"] == "allow" for s in entry["Sources"] if s["Name"] == source), True)


Consul = Old | New


@pytest.fixture(params=[pytest.param("1.8.7", marks=pytest.mark.real), LATER])
async def consul(request: pytest.FixtureRequest) -> AsyncIterator[Consul]:
    if request.param == LATER:
        async with ConsulTwin(version=LATER) as twin:
            yield New(twin)
        return
    server: RealConsul = request.getfixturevalue("real_consul_module")
    old = Old(server.address)
    old.delete()
    yield old
    old.delete()


@pytest.fixture
async def ctx(consul: Consul) -> AsyncIterator[ActContext]:
    given = context(consul.address)
    async with given.consul:
        yield given


def deny(**fields: Any) -> Any:
    return intent("consul.intention", DENY, target=TARGET, **fields)


def lost(result: Result) -> Result:
    """The process died before the result was written down."""
    return msgspec.structs.replace(result, saved=None)


async def test_denied_where_there_was_none_and_deleted_again(consul: Consul, ctx: ActContext) -> None:
    assert consul.allowed()
    assert await look(deny(), ctx) is Outcome.RETRY
    result = await do(deny(), ctx)
    assert (result.outcome, consul.allowed(), consul.allowed("web")) == (Outcome.DONE, False, True), result.detail
    assert (consul.meta()["consulguard"], result.index > 0) == (deny().id, True)
    assert await look(deny(), ctx) is Outcome.DONE
    undo = undo_of(deny(), result)
    assert await look(undo, ctx) is Outcome.RETRY
    assert (await do(undo, ctx)).outcome is Outcome.DONE
    assert (consul.read(), consul.allowed()) == (None, True)
    assert await look(undo, ctx) is Outcome.DONE
    assert (await do(undo, ctx)).outcome is Outcome.DONE


@pytest.mark.parametrize("crashed", [False, True], ids=["saved", "crashed"])
async def test_an_earlier_one_comes_back_exactly(consul: Consul, ctx: ActContext, crashed: bool) -> None:
    theirs = consul.by_hand("allow", Description="agreed with ann", Meta={"team": "sre"})
    result = await do(deny(), ctx)
    assert (result.outcome, consul.allowed()) == (Outcome.DONE, False)
    assert consul.meta()["team"] == "sre"
    undone = await do(undo_of(deny(), lost(result) if crashed else result), ctx)
    assert (undone.outcome, consul.read()) == (Outcome.DONE, theirs), undone.detail


async def test_an_undo_needs_no_params_of_its_own(consul: Consul, ctx: ActContext) -> None:
    result = await do(deny(), ctx)
    undo = undo_of(deny(), result, {"source": "somebody-else"})
    assert (await do(undo, ctx)).outcome is Outcome.DONE
    assert consul.read() is None


async def test_the_second_try_writes_nothing_and_keeps_the_undo(consul: Consul, ctx: ActContext) -> None:
    theirs = consul.by_hand()
    await do(deny(), ctx)
    written = consul.read()
    requests = ctx.consul.requests["PUT"]
    again = await do(deny(), ctx)
    assert (again.outcome, consul.read(), ctx.consul.requests["PUT"]) == (Outcome.DONE, written, requests)
    assert (await do(undo_of(deny(), again), ctx)).outcome is Outcome.DONE
    assert consul.read() == theirs


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("gone", [False, True])
async def test_a_change_between_read_and_write_wins(
    consul: Consul, ctx: ActContext, existed: bool, gone: bool
) -> None:
    if existed:
        consul.by_hand()

    def meanwhile(name: str) -> None:
        if name == "act.before_send":
            consul.by_hand(Meta={"team": "web"})
            if gone:
                consul.delete()

    result = await do(deny(), replace(ctx, failpoint=meanwhile))
    if gone and not existed:  # it came and went: there is none, as there was
        assert result.outcome is Outcome.DONE
        return
    assert (result.outcome, "someone else" in result.detail) == (Outcome.FAILED, True), result.detail
    assert (consul.read() is None, consul.allowed()) == (gone, True)


@pytest.mark.parametrize("keep_mark", [False, True])
@pytest.mark.parametrize("existed", [False, True])
async def test_what_somebody_changed_after_us_is_not_undone(
    consul: Consul, ctx: ActContext, keep_mark: bool, existed: bool
) -> None:
    if existed:
        consul.by_hand()
    result = await do(deny(), ctx)
    theirs = consul.by_hand("deny", Meta={"team": "web"} | ({"consulguard": deny().id} if keep_mark else {}))
    undone = await do(undo_of(deny(), result), ctx)
    assert (undone.outcome, consul.read()) == (Outcome.FAILED, theirs), undone.detail


async def test_a_change_while_it_is_undone_wins(consul: Consul, ctx: ActContext) -> None:
    result = await do(deny(), ctx)

    def meanwhile(name: str) -> None:
        if name == "act.before_send":
            consul.by_hand("deny", Meta={"team": "web"})

    undone = await do(undo_of(deny(), result), replace(ctx, failpoint=meanwhile))
    assert (undone.outcome, consul.meta()) == (Outcome.FAILED, {"team": "web"})


async def test_what_somebody_deleted_after_us_stays_deleted(consul: Consul, ctx: ActContext) -> None:
    consul.by_hand()
    result = await do(deny(), ctx)
    consul.delete()
    assert (await do(undo_of(deny(), result), ctx)).outcome is Outcome.FAILED
    assert consul.read() is None


async def test_allow_lets_one_caller_in(consul: Consul, ctx: ActContext) -> None:
    consul.by_hand("deny")
    result = await do(intent("consul.intention", DENY | {"action": "allow"}, target=TARGET), ctx)
    assert (result.outcome, consul.allowed()) == (Outcome.DONE, True)


async def test_nothing_is_sent_dry_or_without_the_lease(consul: Consul, ctx: ActContext) -> None:
    for fields in ({"dry_run": True}, {"epoch": 1}):
        await do(deny(**fields), ctx)
    assert consul.read() is None


# ---- only where it can happen


@pytest.mark.real
async def test_a_lost_answer_is_seen_by_the_probe_and_by_the_second_try(real_consul_module: RealConsul) -> None:
    old = Old(real_consul_module.address)
    try:
        async with proxied(real_consul_module) as (proxy, ctx):
            proxy.faults["POST"] = lost_answer
            assert (await do(deny(), ctx)).outcome is Outcome.UNKNOWN
            assert await look(deny(), ctx) is Outcome.DONE
            again = await do(deny(), ctx)
            assert (again.outcome, proxy.passed["POST"], old.allowed()) == (Outcome.DONE, 1, False)
            proxy.faults["DELETE"] = lost_answer
            undo = undo_of(deny(), again)
            assert (await do(undo, ctx)).outcome is Outcome.UNKNOWN
            assert await look(undo, ctx) is Outcome.DONE
            assert ((await do(undo, ctx)).outcome, proxy.passed["DELETE"]) == (Outcome.DONE, 1)
    finally:
        old.delete()


@pytest.mark.real
async def test_what_consul_refuses_fails_with_its_sentence(real_consul_module: RealConsul) -> None:
    """A row made by hand with all the meta a row may have leaves no room for our marks."""
    old = Old(real_consul_module.address)
    ctx = context(real_consul_module.address)
    try:
        async with ctx.consul:
            theirs = old.by_hand(Meta={f"k{n}": "v" for n in range(64)})
            result = await do(deny(), ctx)
        assert (result.outcome, "Consul refused" in result.detail) == (Outcome.FAILED, True), result.detail
        assert old.read() == theirs
    finally:
        old.delete()


async def test_other_callers_and_rules_of_the_entry_stay_as_they_are() -> None:
    async with ConsulTwin(version=LATER) as twin:
        new = New(twin)
        new.by_hand()
        kept = {"JWT": {"Providers": [{"Name": "okta"}]}}
        entry = {"Kind": "service-intentions", "Name": "db", "Sources": [
            {"Name": "batch", "Peer": "dc2", "Action": "allow"},
            {"Name": "web", "Permissions": [{"Action": "allow", "HTTP": {"PathPrefix": "/"}}]},
            {"Name": "batch", "Permissions": [{"Action": "allow", "HTTP": {"PathExact": "/x"}}]},
        ]} | kept  # fmt: skip
        twin.world.entries.put(entry, None)
        theirs = new.read()
        ctx = context(twin.address)
        async with ctx.consul:
            result = await do(deny(), ctx)
            now = new.read()
            assert (result.outcome, now["JWT"]) == (Outcome.DONE, kept["JWT"]), result.detail
            ours = [s for s in now["Sources"] if "consulguard" in s.get("Description", "")]
            assert [(s["Name"], s["Action"], "Permissions" in s) for s in ours] == [("batch", "deny", False)]
            others = [s for s in theirs["Sources"] if s["Name"] == "web" or s.get("Peer")]
            assert [s for s in now["Sources"] if s not in ours] == others
            assert (await do(undo_of(deny(), result), ctx)).outcome is Outcome.DONE
        assert new.read() == theirs


async def test_an_entry_that_would_lose_its_ids_is_left_alone() -> None:
    async with ConsulTwin(version=LATER) as twin:
        new = New(twin)
        new.by_hand()
        twin.world.entries.rows["service-intentions", "db"]["Sources"][0]["LegacyID"] = "an id"
        theirs = new.read()
        ctx = context(twin.address)
        async with ctx.consul:
            result = await do(deny(), ctx)
        assert (result.outcome, "by id" in result.detail, new.read()) == (Outcome.FAILED, True, theirs)


async def test_an_upgrade_in_between_is_not_guessed_over() -> None:
    async with ConsulTwin() as old, ConsulTwin(version=LATER) as new:
        before, after = context(old.address), context(new.address)
        async with before.consul, after.consul:
            result = await do(deny(), before)
            assert result.outcome is Outcome.DONE
            undone = await do(undo_of(deny(), result), after)
        assert (undone.outcome, "another way" in undone.detail) == (Outcome.FAILED, True)


@pytest.mark.parametrize(
    ("status", "outcome", "words"),
    [(403, Outcome.FAILED, "does not tell its version"), (500, Outcome.RETRY, "nothing was changed")],
)
async def test_without_a_version_nothing_is_written(status: int, outcome: Outcome, words: str) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text="Permission denied")

    async with serve(answer) as address:
        ctx = context(address)
        async with ctx.consul:
            result = await do(deny(), ctx)
    assert (result.outcome, words in result.detail) == (outcome, True), result.detail
    assert ctx.consul.requests.keys() == {"GET"}
