"""What the other real tests stand on: the cluster and the Connect mesh do what their names say."""

from __future__ import annotations

from pathlib import Path

import pytest
from consulguard.testing import RealConsul

from tests.support.cluster import Cluster
from tests.support.mesh import ConnectMesh
from tests.support.waiting import eventually

pytestmark = pytest.mark.real


async def test_a_killed_server_comes_back_with_its_data(real_consul: RealConsul) -> None:
    leader = real_consul.agent.ask("/v1/status/leader")
    await real_consul.kill()
    assert not real_consul.agent.running
    await real_consul.restart()
    assert real_consul.agent.ask("/v1/status/leader") == leader


async def test_a_cluster_elects_another_leader(cluster: Cluster) -> None:
    first = await cluster.leader()
    assert first
    await cluster.kill(first)
    second = await eventually(cluster.leader, lambda name: name not in ("", first), within_s=20)
    assert second != first
    await cluster.make_healthy()
    third = await cluster.leader()
    cluster.freeze(third)
    await eventually(cluster.leader, lambda name: name not in ("", third), within_s=20)


async def test_cluster_tokens_have_just_their_rights(cluster: Cluster) -> None:
    token = await cluster.make_token('key_prefix "mine/" { policy = "write" }')
    assert await cluster.request("PUT", "/v1/kv/mine/a", b"1", token=token) is True
    with pytest.raises(RuntimeError, match="403"):
        await cluster.request("PUT", "/v1/kv/other", b"1", token=token)
    await cluster.delete_token(token)


async def test_a_snapshot_brings_the_past_back(cluster: Cluster) -> None:
    await cluster.request("PUT", "/v1/kv/age", b"old")
    snapshot = await cluster.save_snapshot()
    await cluster.request("PUT", "/v1/kv/age", b"new")
    await cluster.restore_snapshot(snapshot)
    (row,) = await cluster.request("GET", "/v1/kv/age")
    assert row["Value"] == "b2xk"


@pytest.mark.slow
async def test_a_mesh_on_the_cluster_breaks_and_heals(cluster: Cluster, tmp_path: Path) -> None:
    async with ConnectMesh(cluster.address("c1"), token=cluster.root_token, log_folder=tmp_path) as mesh:
        assert await mesh.request() == (200, "a>b>c")
        await mesh.kill("c")
        await eventually(lambda: mesh.statuses("c"), lambda s: list(s.values()).count("critical") == 3)
        assert set((await mesh.statuses("b")).values()) == {"passing"}
        assert (await mesh.request())[0] == 502
        await mesh.restore("c")
        await mesh.ready()
        await mesh.kill_proxy("b")
        await eventually(lambda: mesh.statuses("b"), lambda s: "critical" in s.values())
        mesh.restore_proxy("b")
        await mesh.ready()
