"""The sample shop breaks and heals as told, on the twin and on a real Consul."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from consulguard.testing import SampleMesh

from tests.support.consul import Server
from tests.support.waiting import eventually

CALLERS_OF_LEDGER = ("payment", "reporting", "checkout", "frontend", "gateway")


class Watched:
    """The shop, and what Consul says of it."""

    def __init__(self, mesh: SampleMesh, session: aiohttp.ClientSession, address: str) -> None:
        self.mesh = mesh
        self._session = session
        self._address = address

    async def critical(self) -> dict[str, str]:
        """Check id -> output of the shop's instances and nodes, without sidecars."""
        rows: list[dict[str, Any]] = await self.get("/v1/health/state/critical")
        return {
            r["CheckID"].removeprefix("service:"): r["Output"] for r in rows if "sidecar" not in r["ServiceName"]
        }

    async def get(self, path: str) -> Any:
        async with self._session.get(self._address + path) as answer:
            return await answer.json()


@pytest.mark.slow
async def test_every_fault_shows_in_consul_and_goes_away(consul_server: Server) -> None:
    mesh = SampleMesh(consul_server.address, interval_s=0.3)
    async with aiohttp.ClientSession() as session, mesh:
        shop = Watched(mesh, session, consul_server.address)
        await mesh.ready()
        await one_dead_instance_is_alone(shop)
        await a_dead_service_takes_its_callers_along(shop)
        await a_dead_node_has_a_check_of_its_own(shop)
        await a_hidden_culprit_stays_green(shop)
        await a_mass_failure_hits_most(shop)
        await a_flapping_instance_goes_up_and_down(shop)
        await mesh.stop()
        await eventually(lambda: shop.get("/v1/catalog/services"), lambda s: not set(mesh.services) & set(s))


async def one_dead_instance_is_alone(shop: Watched) -> None:
    await shop.mesh.kill_backend("payment", "payment-2")
    await eventually(shop.critical, lambda c: set(c) == {"payment-2"})
    (entry,) = [
        e
        for e in await shop.get("/v1/health/connect/payment")
        if e["Service"]["Proxy"]["DestinationServiceID"] == "payment-2"
    ]
    assert [u["DestinationName"] for u in entry["Service"]["Proxy"]["Upstreams"]] == ["ledger"]
    await restart_through_the_door(shop, "payment-2")


async def a_dead_service_takes_its_callers_along(shop: Watched) -> None:
    await shop.mesh.kill_backend("ledger")
    callers = {i for s in CALLERS_OF_LEDGER for i in shop.mesh.instances(s)}
    await eventually(shop.critical, lambda c: set(c) == callers | {"ledger-1", "ledger-2"})
    await restart_through_the_door(shop, "ledger")


async def a_dead_node_has_a_check_of_its_own(shop: Watched) -> None:
    await shop.mesh.kill_node("rack-2")
    wanted = {"externalNodeHealth", "inventory-3", "shipping-3", "recommendation-3"}
    await eventually(shop.critical, lambda c: set(c) == wanted)
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{shop.mesh.admin_address}/admin/restart/inventory-3") as answer:
            assert answer.status == 409
    await healed(shop)


async def a_hidden_culprit_stays_green(shop: Watched) -> None:
    await shop.mesh.hidden("inventory")
    critical = await eventually(shop.critical, lambda c: {"catalog-1", "cart-1", "gateway-1"} <= set(c))
    assert not {name for name in critical if name.startswith("inventory")}
    await healed(shop)


async def a_mass_failure_hits_most(shop: Watched) -> None:
    chosen = await shop.mesh.mass_failure(0.6)
    assert len(chosen) > len(shop.mesh.places) / 2
    await eventually(shop.critical, lambda c: set(chosen) <= set(c))
    await healed(shop)


async def a_flapping_instance_goes_up_and_down(shop: Watched) -> None:
    await shop.mesh.flap("cart")
    for _ in range(2):
        await eventually(shop.critical, lambda c: "cart-1" in c)
        await eventually(shop.critical, lambda c: "cart-1" not in c)
    await healed(shop)


async def healed(shop: Watched) -> None:
    await shop.mesh.restore()
    await shop.mesh.ready()


async def restart_through_the_door(shop: Watched, name: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{shop.mesh.admin_address}/admin/restart/{name}") as answer:
            assert answer.status == 200
    assert shop.mesh.restarted[-1] == name
    await shop.mesh.ready()


async def test_the_door_knows_only_its_mesh(consul_server: Server) -> None:
    async with SampleMesh(consul_server.address) as mesh, aiohttp.ClientSession() as session:
        async with session.post(f"{mesh.admin_address}/admin/restart/nothing") as answer:
            assert answer.status == 404
        assert mesh.restarted == []
