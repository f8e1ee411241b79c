"""The last gate before a probe: who is on the list, where it is, how often; against a real Consul's catalog."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from consulguard.act.knock import Door, Limits
from consulguard.app.knocker import Bucket, Knocker, KnockSettings
from consulguard.clock import SystemClock
from consulguard.consulapi import ConsulClient
from consulguard.events import Knock, Knocked
from consulguard.model import DoorAnswer, Reaction, Target
from consulguard.testing import ConsulTwin, FakeClock
from consulguard.testing.ports import free_ports

from tests.shell.act.support import raw

LOOPBACK = ("127.0.0.0/8",)


class House:
    """A server that counts its connections, and a Consul that knows where it is."""

    def __init__(self, consul: ConsulTwin, client: ConsulClient) -> None:
        self.consul, self._client = consul, client
        self.connections = 0
        self.port = 0
        self.told: list[Knocked] = []

    async def open(self) -> asyncio.Server:
        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            writer.close()

        server = await asyncio.start_server(count, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def register(self, instance: str, **more: Any) -> None:
        body = {"Name": "ledger", "ID": instance, "Address": "127.0.0.1", "Port": self.port, **more}
        await asyncio.to_thread(raw, self.consul.address, "PUT", "/v1/agent/service/register", body)

    def knocker(self, *, networks: tuple[str, ...] = LOOPBACK, most: int = 60, **door: Any) -> Knocker:
        settings = KnockSettings(
            doors={"ledger": Door(**door)}, limits=Limits(timeout_s=1.0, networks=networks), most=most
        )

        async def emit(event: Knocked) -> None:
            self.told.append(event)

        return Knocker(self._client, settings, SystemClock(), emit)

    async def ask(self, knocker: Knocker, name: str = "ledger") -> DoorAnswer:
        await knocker.ask(Knock(service=Target(dc="dc1", service=name)))
        [answer] = self.told.pop().answers
        return answer


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with ConsulTwin() as consul, ConsulClient(addresses=[consul.address]) as client:
        made = House(consul, client)
        async with await made.open():
            yield made


async def test_a_listed_service_is_probed_where_consul_says_it_is(house: House) -> None:
    await house.register("ledger-1")
    answer = await house.ask(house.knocker())
    assert (answer.how, answer.kind, answer.address) == (Reaction.WELL, "tcp", f"127.0.0.1:{house.port}")
    assert house.connections == 1


async def test_nobody_else_is(house: House) -> None:
    await house.register("ledger-1")
    answer = await house.ask(house.knocker(), "stock")
    assert (answer.how, answer.reason) == (Reaction.UNSURE, "not in correlate.probe.services")
    assert house.connections == 0


@pytest.mark.parametrize(
    ("more", "networks", "reason"),
    [
        ({}, ("10.0.0.0/8",), "not in correlate.probe.networks"),
        ({}, (), "not in correlate.probe.networks"),
        ({"Address": "localhost"}, ("0.0.0.0/0",), "not an IP address"),
        ({"Address": "169.254.169.254"}, ("0.0.0.0/0",), "link-local and metadata addresses are never talked to"),
        ({"Address": "127.0.0.1@evil"}, ("0.0.0.0/0",), "not an IP address"),
        ({"Port": 0}, LOOPBACK, "127.0.0.1 has no port in Consul"),
    ],
)
async def test_where_consul_may_not_send_us(
    house: House, more: dict[str, Any], networks: tuple[str, ...], reason: str
) -> None:
    """Whoever can register a service must not choose what we connect to."""
    await house.register("ledger-1", **more)
    answer = await house.ask(house.knocker(networks=networks))
    assert answer.how is Reaction.UNSURE
    assert answer.reason.endswith(reason)
    assert house.connections == 0


async def test_the_operators_port_wins(house: House) -> None:
    (closed,) = free_ports(1)
    await house.register("ledger-1", Port=closed)
    assert (await house.ask(house.knocker())).how is Reaction.REFUSED
    assert (await house.ask(house.knocker(port=house.port))).how is Reaction.WELL


async def test_of_several_instances_the_middle_ones_answer_counts(house: House) -> None:
    (closed,) = free_ports(1)
    for number, port in enumerate((house.port, closed, house.port, house.port, closed, house.port)):
        await house.register(f"ledger-{number}", Port=port)
    assert (await house.ask(house.knocker())).how is Reaction.WELL
    assert house.connections == 2, "three of six are asked, one of them does not listen"


async def test_a_service_that_is_not_there_or_a_consul_that_is_away(house: House) -> None:
    knocker = house.knocker()
    assert (await house.ask(knocker)).reason == "it is not registered"
    await house.consul.stop()
    answer = await house.ask(knocker)
    assert answer.how is Reaction.UNSURE
    assert answer.reason.startswith("Consul does not say where it is: ")


async def test_more_than_allowed_is_refused_whoever_asks(house: House) -> None:
    await house.register("ledger-1")
    knocker = house.knocker(most=8)
    answers = [await house.ask(knocker) for _ in range(3)]
    assert [a.how for a in answers] == [Reaction.WELL, Reaction.WELL, Reaction.UNSURE]
    assert answers[-1].reason == "too many probes in a minute"
    assert house.connections == 2


def test_a_bucket_gives_so_many_in_a_minute() -> None:
    clock = FakeClock()
    bucket = Bucket(12, clock)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    taken = 0
    for _ in range(60):
        clock.advance(1.0)
        taken += bucket.take()
    assert taken == 12
    clock.advance(3600.0)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
