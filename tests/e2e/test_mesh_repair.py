"""A real Connect mesh a -> b -> c, a real fault, and the daemon as a process: from detection to recovery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from consulguard.testing import RealConsul

from tests.e2e.support import journal
from tests.e2e.support.bot import Bot
from tests.e2e.support.mesh import RealChain
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]


def restart(command: str, scope: str = "instance") -> dict[str, Any]:
    return {
        "name": "restart-c",
        "mode": "auto",
        "match": {"scope": scope, "for": "2s", "matchers": ['service="c"']},
        "steps": [{"name": "restart", "uses": "exec.run", "with": {"argv": [command], "idempotent": False}}],
        "verify": {"within": "60s", "target": {"passing_for": 3}},
    }


@pytest.fixture
async def chain(real_consul: RealConsul, tmp_path: Path) -> AsyncIterator[RealChain]:
    async with RealChain(real_consul.address, tmp_path) as mesh:
        yield mesh


@pytest.fixture
async def bot(chain: RealChain, real_consul: RealConsul, tmp_path: Path) -> AsyncIterator[Bot]:
    bot = Bot(
        tmp_path / "bot",
        real_consul.address,
        restart(chain.command),
        actions={"exec": {"allowed_commands": [chain.command]}},
    )
    yield bot
    await bot.stop()


async def until(bot: Bot, holds: Any, within_s: float = 30.0) -> journal.Record:
    async def look() -> journal.Record:
        return journal.read(bot.journal)

    try:
        return await eventually(look, holds, within_s=within_s)
    except AssertionError:
        raise AssertionError(f"not within {within_s:g} s: {bot.output()}") from None


def severity(record: journal.Record) -> str:
    return next((m["severity"] for k, m in record.messages.items() if k.startswith("inc-")), "")


async def broken(chain: RealChain) -> None:
    """Kill c's process and wait until Consul has seen it on both checks and the sidecar's alias."""
    await chain.kill("c")

    async def critical() -> int:
        return list((await chain.statuses("c")).values()).count("critical")

    await eventually(critical, lambda n: n == 3, within_s=15)


async def test_a_dead_backend_is_found_planned_restarted_and_verified(chain: RealChain, bot: Bot) -> None:
    assert await chain.request() == (200, "a>b>c")
    await broken(chain)
    planned = await bot.ask("plan")
    [incident] = planned["incidents"]
    assert incident["root"]["name"] == "c"
    roles = {m["name"]: m["role"] for m in incident["members"] if m["kind"] == "service"}
    assert set(roles) == {"a", "b", "c"}
    assert roles["c"] == "root_cause"
    assert {roles["a"], roles["b"]} <= {"at_risk", "affected"}
    [step] = incident["steps"]
    assert chain.starts == 1, "a plan does nothing"

    bot.start()
    record = await until(bot, lambda r: severity(r) == "resolved" and r.fact("c", "Run") == "done", 60)
    assert chain.starts == 2
    [intent] = record.intents
    assert (intent["action"], intent["params"]) == (step["uses"], step["params"])
    target = {k: step["target"][k] for k in ("service", "node", "instance")}
    assert {k: intent["target"][k] for k in target} == target
    assert [key for key in record.messages if key.startswith("inc-")] == [*record.messages], "one message, one key"
    assert await chain.request() == (200, "a>b>c")

    listed = (await bot.ask("incident", "list"))["incidents"]
    assert [(i["root"]["name"], i["state"]) for i in listed] == [("c", "resolved")]
    [run] = (await bot.ask("incident", "show", listed[0]["id"]))["runs"]
    assert {g["guard"] for g in run["guards"]} >= {"pause", "confirm", "error_budget", "mode"}
    assert run["state"] == "done"
    assert run["log"][-1] == "verified: 3 good looks in a row"
    assert (await bot.ask("plan"))["incidents"] == []


async def test_maintenance_by_a_person_is_nobodys_incident(chain: RealChain, bot: Bot) -> None:
    bot.start()
    await until(bot, lambda r: any(e.body["view"].get("settled") for e in r.events("ViewChanged")))
    await chain.call("PUT", "/v1/agent/service/maintenance/c?enable=true&reason=new+disk")
    await chain.kill("c")
    await until(bot, lambda r: seen(r, "c-http", "critical") and seen(r, "_service_maintenance:c", "maintenance"))
    # Long enough for every hold-down and for the message to have gone out, by the bot's own clock.
    begin = journal.read(bot.journal).lines[-1].at
    record = await until(bot, lambda r: r.lines[-1].at > begin + 6)
    assert record.intents == []
    assert record.messages == {}
    assert (await bot.ask("incident", "list"))["incidents"] == []
    assert (await bot.ask("plan"))["incidents"] == []
    assert chain.starts == 1


def seen(record: journal.Record, check: str, status: str) -> bool:
    told = [o for e in record.events("Observed") for o in e.body["observations"]]
    return any(o["check"] == check and o["status"] == status for o in told)


async def test_what_recovers_while_the_bot_is_away_is_told_resolved(chain: RealChain, bot: Bot) -> None:
    (bot.folder / "playbooks" / "restart-c.yaml").write_text(
        '{"name": "tell", "match": {"for": "1s", "matchers": [\'service="c"\']}, "steps": []}'
    )
    await broken(chain)
    bot.start()
    await until(bot, lambda r: severity(r) == "critical")
    await bot.kill()
    bot.start()
    record = await until(bot, lambda r: len(r.lives) == 2 and seen_since(r, "c-http", "critical"))
    assert len(record.messages) == 1, "the same incident is not told anew"
    await bot.stop()
    await chain.restore("c")

    async def passing() -> set[str]:
        return set((await chain.statuses("c")).values())

    await eventually(passing, lambda s: s == {"passing"}, within_s=15)
    bot.start()
    record = await until(bot, lambda r: severity(r) == "resolved")
    assert [key for key in record.messages if not key.startswith("inc-")] == []
    assert len(record.messages) == 1
    [incident] = (await bot.ask("incident", "list"))["incidents"]
    assert incident["state"] == "resolved"


def seen_since(record: journal.Record, check: str, status: str) -> bool:
    """Whether the last life has seen it."""
    lines = tuple(line for line in record.lines if line.at >= record.lives[-1])
    return seen(journal.Record(lines, {}), check, status)
