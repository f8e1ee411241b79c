"""A bot at work on a real Consul, and a receiver of OTLP over HTTP: the way from Consul's word to the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from consulguard.testing import RealConsul
from consulguard.testing.ports import free_ports

from tests.e2e.support.scene import Scene
from tests.e2e.test_observability import approve
from tests.support.otlp import Received, Receiver
from tests.support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]
SECRET = "s3cret-of-the-collector"
OTEL = {"OTEL_SERVICE_NAME": "guard-of-the-shop", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}
NAMES = [
    "approval",
    "confirm",
    "decision",
    "effect http.request",
    "incident",
    "intent",
    "look",
    "observation",
    "remediation asked",
    "verification",
]


def tracing(folder: Path, endpoint: str, **more: Any) -> dict[str, Any]:
    headers = folder / "headers"
    headers.write_text(f"Authorization: Bearer {SECRET}\n")
    headers.chmod(0o600)
    return {"enabled": True, "endpoint": endpoint, "headers_file": str(headers), **more}


async def test_from_consuls_word_to_the_result_and_over_a_kill(
    real_consul_module: RealConsul, tmp_path: Path, unique: str
) -> None:
    """Failure, question, effect, ``kill -9``, verified by the next life: one trace, every parent is there."""
    async with Receiver() as collector, Scene(real_consul_module, tmp_path, unique) as scene:
        asked = {"approvers": {"users": ["ann"]}, "count": 1, "forbid_self": True, "ttl": "10m"}
        scene.book("asked", mode="approve", approval=asked)
        await scene.service("asked")
        bot = scene.make_bot(tracing=tracing(tmp_path, "http://127.0.0.1:1/the/environment/goes/over/this"))
        env = OTEL | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.base}
        bot.start(env=env)
        await scene.settled()
        await scene.fail("asked")
        await approve(scene, "asked")
        await scene.until_run("asked", "verifying")
        await got(collector, "effect http.request")
        first = len(collector.spans)
        await bot.kill()
        bot.start(env=env)
        await scene.settled()
        await scene.heal("asked")
        await scene.until_run("asked", "done")
        for name in NAMES:  # they come in several deliveries
            await got(collector, name)

        spans = collector.spans
        assert {s.trace for s in spans} == {spans[0].trace}, "one trace"
        assert sorted({s.name for s in spans}) == NAMES
        assert {s["consulguard.incident"] for s in spans} == {spans[0]["consulguard.incident"]}
        instances = [s.resource["service.instance.id"] for s in spans]
        assert len(set(instances)) == 2
        assert instances[0] == instances[first - 1] != instances[-1]
        assert len({s.id for s in spans}) == len(spans)
        look_at_the_tree(spans)
        look_at_what_they_say(collector, scene)


def look_at_the_tree(spans: list[Received]) -> None:
    known = {s.id: s for s in spans}
    above = {s.name: known[s.parent].name if s.parent else "" for s in spans}
    run = "remediation asked"
    assert above == {
        "incident": "",
        "observation": "incident",
        "decision": "incident",
        run: "incident",
        "approval": run,
        "confirm": run,
        "intent": run,
        "effect http.request": "intent",
        "verification": run,
        "look": "verification",
    }
    for span in spans:
        assert span.start_ns <= span.end_ns
        assert not span.parent or known[span.parent].start_ns <= span.end_ns
    order = ["observation", "approval", "intent", "verification"]
    begins = [next(s.start_ns for s in spans if s.name == name) for name in order]
    assert begins == sorted(begins)


def look_at_what_they_say(collector: Receiver, scene: Scene) -> None:
    [intent] = scene.intents("asked")
    [effect] = collector.named("effect http.request")
    assert effect.outward
    assert not effect.failed
    assert effect["consulguard.intent"] == intent["id"]
    assert effect["consulguard.epoch"] == intent["epoch"]
    assert effect["consulguard.outcome"] == "DONE"
    assert effect["consul.service"] == scene.named("asked")
    assert effect["consul.datacenter"] == "dc1"
    [approval] = collector.named("approval")
    assert (approval["consulguard.decision"], approval["consulguard.votes"]) == ("approved", 1)
    assert collector.named("decision", consulguard__decision="ASK", consulguard__playbook="asked")
    assert collector.named("verification", consulguard__result="passed")
    assert collector.named("remediation asked", consulguard__outcome="done", consulguard__mode="approve")
    assert collector.named("incident", consulguard__state="resolved", consulguard__runs=1)
    resource = effect.resource
    assert resource["service.name"] == "guard-of-the-shop"
    assert resource["deployment.environment"] == "test"
    assert {h["Authorization"] for h in collector.headers} == {f"Bearer {SECRET}"}
    sent = b"".join(collector.bodies)
    for word in (SECRET, scene.target.address, "\x03ann"):  # a length before a word, as protobuf has it
        assert word.encode() not in sent


async def got(collector: Receiver, name: str) -> list[Received]:
    async def look() -> list[Received]:
        return collector.named(name)

    return await eventually(look, bool, within_s=60.0)


@pytest.mark.parametrize("fault", ["nobody", "silent", "refuses"])
async def test_no_collector_is_no_reason_to_do_less(
    real_consul_module: RealConsul, tmp_path: Path, unique: str, fault: str
) -> None:
    async with Receiver() as collector, Scene(real_consul_module, tmp_path, unique) as scene:
        collector.silent, collector.status = fault == "silent", 400
        scene.book("repair")
        await scene.service("repair")
        port, nobody = free_ports(2)
        endpoint = f"http://127.0.0.1:{nobody}/v1/traces" if fault == "nobody" else collector.endpoint
        server = {"listen": f"127.0.0.1:{port}"}
        bot = scene.make_bot(tracing=tracing(tmp_path, endpoint), server=server)
        bot.start(env={"OTEL_EXPORTER_OTLP_TIMEOUT": "2"})
        await scene.settled()
        await scene.fail("repair")
        await scene.until_run("repair", "verifying")
        await scene.heal("repair")
        await scene.until_run("repair", "done")

        async def dropped() -> float:
            return await counted(port, "consulguard_trace_spans_dropped_total")

        assert await eventually(dropped, bool, within_s=60.0)
        assert await counted(port, "consulguard_trace_spans_exported_total") == 0
        await bot.stop()


async def counted(port: int, name: str) -> float:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = (await answer.text()).splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


@pytest.mark.parametrize("on", [True, False])
async def test_what_is_not_switched_on_is_not_even_imported(
    real_consul_module: RealConsul, tmp_path: Path, unique: str, on: bool
) -> None:
    async with Receiver() as collector, Scene(real_consul_module, tmp_path, unique) as scene:
        scene.book("idle")
        bot = scene.make_bot(tracing={"enabled": on})
        base = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.base}
        bot.start(env={"PYTHONPROFILEIMPORTTIME": "1", **base})
        await scene.settled()
        await bot.stop()
        imported = (bot.folder / "bot.log").read_text()
        assert "consulguard.app.tracing" in imported
        assert ("opentelemetry" in imported) is on
        assert ("google.protobuf" in imported) is on
        assert "slack_sdk" not in imported
