"""``consul.service_resolver`` and ``consul.service_splitter`` on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from consulguard.act import ActContext
from consulguard.model import Intent, Outcome, Result, Target
from consulguard.testing.real_consul import RealConsul

from tests.shell.act.support import ACTIONS, context, do, intent, look, raw, undo_of

pytestmark = pytest.mark.real

RESOLVER = ("consul.service_resolver", {"redirect": {"service": "standby"}})
SPLITTER = ("consul.service_splitter", {"splits": [{"weight": 66.6}, {"weight": 33.4, "service": "standby"}]})
OTHERS: dict[str, dict[str, Any]] = {
    "service-resolver": {
        "ConnectTimeout": "7s",
        "Failover": {"*": {"Datacenters": ["dc1"]}},
        "Meta": {"team": "sre"},
    },
    "service-splitter": {"Splits": [{"Weight": 100}], "Meta": {"team": "sre"}},
}
WRITTEN: dict[str, dict[str, Any]] = {
    "consul.service_resolver": {"Redirect": {"Service": "standby"}},
    "consul.service_splitter": {"Splits": [{"Weight": 66.6}, {"Weight": 33.4, "Service": "standby"}]},
}
BOTH = pytest.mark.parametrize(("action", "params"), [RESOLVER, SPLITTER], ids=["resolver", "splitter"])


@pytest.fixture
async def ctx(real_consul_module: RealConsul) -> AsyncIterator[ActContext]:
    given = context(real_consul_module.address)
    async with given.consul:
        yield given


@pytest.fixture
def api(real_consul_module: RealConsul) -> Iterator[Target]:
    """A service that speaks http, without entries before and after."""
    address = real_consul_module.address
    for name in ("api", "standby"):
        raw(address, "PUT", "/v1/config", {"Kind": "service-defaults", "Name": name, "Protocol": "http"})
    yield Target(dc="dc1", service="api", node="local", instance="api-1")
    for kind in OTHERS:
        raw(address, "DELETE", f"/v1/config/{kind}/api")


def entry(consul: RealConsul, action: str) -> Any:
    return raw(consul.address, "GET", f"/v1/config/{ACTIONS[action].kind}/api")


def bare(found: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in found.items() if k not in ("CreateIndex", "ModifyIndex")}


def by_hand(consul: RealConsul, action: str, **fields: Any) -> Any:
    kind = ACTIONS[action].kind
    raw(consul.address, "PUT", "/v1/config", {"Kind": kind, "Name": "api"} | OTHERS[kind] | fields)
    return entry(consul, action)


def lost(result: Result) -> Result:
    """The process died before the result was written down."""
    return msgspec.structs.replace(result, saved=None)


@BOTH
async def test_written_where_there_was_none_and_deleted_again(
    real_consul_module: RealConsul, ctx: ActContext, api: Target, action: str, params: Any
) -> None:
    wanted = intent(action, params, target=api)
    assert await look(wanted, ctx) is Outcome.RETRY
    result = await do(wanted, ctx)
    assert result.outcome is Outcome.DONE
    written = entry(real_consul_module, action)
    assert written["Meta"]["consulguard"] == wanted.id
    assert WRITTEN[action].items() <= written.items()
    assert result.index == written["ModifyIndex"]
    assert await look(wanted, ctx) is Outcome.DONE
    undo = undo_of(wanted, result)
    assert await look(undo, ctx) is Outcome.RETRY
    assert (await do(undo, ctx)).outcome is Outcome.DONE
    assert entry(real_consul_module, action) is None
    assert await look(undo, ctx) is Outcome.DONE
    assert (await do(undo, ctx)).outcome is Outcome.DONE


@BOTH
@pytest.mark.parametrize("crashed", [False, True], ids=["saved", "crashed"])
async def test_an_earlier_entry_comes_back_exactly(
    real_consul_module: RealConsul, ctx: ActContext, api: Target, action: str, params: Any, crashed: bool
) -> None:
    before = by_hand(real_consul_module, action)
    wanted = intent(action, params, target=api)
    result = await do(wanted, ctx)
    assert result.outcome is Outcome.DONE
    written = entry(real_consul_module, action)
    assert written["Meta"]["team"] == "sre"
    assert WRITTEN[action].items() <= written.items()
    assert written.get("ConnectTimeout") == before.get("ConnectTimeout")
    undone = await do(undo_of(wanted, lost(result) if crashed else result), ctx)
    assert undone.outcome is Outcome.DONE
    assert bare(entry(real_consul_module, action)) == bare(before)


@BOTH
async def test_the_second_try_of_one_intent_writes_nothing_and_keeps_the_undo(
    real_consul_module: RealConsul, ctx: ActContext, api: Target, action: str, params: Any
) -> None:
    before = by_hand(real_consul_module, action)
    wanted = intent(action, params, target=api)
    await do(wanted, ctx)
    written = entry(real_consul_module, action)
    again = await do(wanted, ctx)
    assert again.outcome is Outcome.DONE
    assert entry(real_consul_module, action) == written
    assert (await do(undo_of(wanted, again), ctx)).outcome is Outcome.DONE
    assert bare(entry(real_consul_module, action)) == bare(before)


@BOTH
@pytest.mark.parametrize("existed", [False, True])
async def test_a_change_between_read_and_write_wins(
    real_consul_module: RealConsul, ctx: ActContext, api: Target, action: str, params: Any, existed: bool
) -> None:
    if existed:
        by_hand(real_consul_module, action)

    def meanwhile(name: str) -> None:
        if name == "act.before_send":
            by_hand(real_consul_module, action, Meta={"team": "web"})

    result = await do(intent(action, params, target=api), replace(ctx, failpoint=meanwhile))
    assert result.outcome is Outcome.FAILED
    assert "someone else" in result.detail
    assert entry(real_consul_module, action)["Meta"] == {"team": "web"}


@BOTH
@pytest.mark.parametrize("keep_mark", [False, True])
async def test_what_somebody_changed_after_us_is_not_undone(
    real_consul_module: RealConsul, ctx: ActContext, api: Target, action: str, params: Any, keep_mark: bool
) -> None:
    wanted = intent(action, params, target=api)
    result = await do(wanted, ctx)
    meta = {"consulguard": wanted.id} if keep_mark else {}
    theirs = by_hand(real_consul_module, action, Meta=meta | {"team": "web"})
    undone = await do(undo_of(wanted, result), ctx)
    assert undone.outcome is Outcome.FAILED
    assert entry(real_consul_module, action) == theirs


@BOTH
async def test_what_somebody_deleted_after_us_stays_deleted(
    real_consul_module: RealConsul, ctx: ActContext, api: Target, action: str, params: Any
) -> None:
    by_hand(real_consul_module, action)
    wanted = intent(action, params, target=api)
    result = await do(wanted, ctx)
    raw(real_consul_module.address, "DELETE", f"/v1/config/{ACTIONS[action].kind}/api")
    assert (await do(undo_of(wanted, result), ctx)).outcome is Outcome.FAILED
    assert entry(real_consul_module, action) is None


@BOTH
async def test_nothing_is_sent_dry_or_without_the_lease(
    real_consul_module: RealConsul, ctx: ActContext, api: Target, action: str, params: Any
) -> None:
    for fields in ({"dry_run": True}, {"epoch": 1}):
        await do(intent(action, params, target=api, **fields), ctx)
    assert entry(real_consul_module, action) is None


@pytest.mark.parametrize(
    ("name", "wanted", "words"),
    [
        ("plain", ("consul.service_splitter", {"splits": [{"weight": 100}]}), "protocol"),
        ("api", ("consul.service_resolver", {"failover": {"v9": {"service": "standby"}}}), "subset"),
        ("api", ("consul.service_resolver", {"default_subset": "v9"}), "subset"),
        ("api", ("consul.service_resolver", {"redirect": {"service": "standby", "peer": "x"}}), "redirect.peer"),
    ],
)
async def test_what_consul_refuses_fails_with_its_sentence(
    ctx: ActContext, api: Target, name: str, wanted: tuple[str, Any], words: str
) -> None:
    result = await do(intent(*wanted, target=msgspec.structs.replace(api, service=name)), ctx)
    assert result.outcome is Outcome.FAILED
    assert words in result.detail.lower()


@pytest.mark.parametrize("kind", ["failover", "subsets"])
async def test_all_fields_reach_consul(
    real_consul_module: RealConsul, ctx: ActContext, api: Target, kind: str
) -> None:
    ways: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "failover": (
            {"failover": {"*": {"service": "standby", "datacenters": ["dc1", "dc2"]}}, "connect_timeout": "3s"},
            {"Failover": {"*": {"Service": "standby", "Datacenters": ["dc1", "dc2"]}}, "ConnectTimeout": "3s"},
        ),
        "subsets": (
            {
                "subsets": {"v1-a": {"filter": "Service.Meta.version == v1", "only_passing": True}},
                "default_subset": "v1-a",
            },
            {
                "Subsets": {"v1-a": {"Filter": "Service.Meta.version == v1", "OnlyPassing": True}},
                "DefaultSubset": "v1-a",
            },
        ),
    }
    params, expected = ways[kind]
    assert (await do(intent("consul.service_resolver", params, target=api), ctx)).outcome is Outcome.DONE
    assert expected.items() <= entry(real_consul_module, "consul.service_resolver").items()


async def test_an_entry_too_large_for_the_mark_is_not_undone_after_a_crash(
    real_consul_module: RealConsul, ctx: ActContext, api: Target
) -> None:
    action, params = RESOLVER
    large = by_hand(real_consul_module, action, Meta={f"k{i}": "v" * 100 for i in range(10)})
    wanted: Intent = intent(action, params, target=api)
    result = await do(wanted, ctx)
    assert (await do(undo_of(wanted, lost(result)), ctx)).outcome is Outcome.FAILED
    assert (await do(undo_of(wanted, result), ctx)).outcome is Outcome.DONE
    assert bare(entry(real_consul_module, action)) == bare(large)
