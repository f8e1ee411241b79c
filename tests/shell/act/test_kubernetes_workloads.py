"""The actions on whole workloads and on nodes, on a real API server and a real Consul."""

from __future__ import annotations

import pytest
from consulguard.model import Outcome

from tests.shell.act.kube_support import IMAGE, Between, Shop, owner
from tests.shell.act.support import serve, undo_of

pytestmark = pytest.mark.real
WORKLOAD = {"workload": "deployment/web"}
HOW = {
    "rollout_restart": WORKLOAD,
    "scale": WORKLOAD | {"add": 2, "max": 9},
    "rollback": WORKLOAD,
}
EACH = pytest.mark.parametrize("action", sorted(HOW))


@pytest.fixture
def shop(real_kube, real_consul_module, unique) -> Shop:
    return Shop(real_kube, real_consul_module.address, unique)


def done(shop: Shop, action: str) -> int:
    """How often the action's effect is there."""
    found = shop.web
    match action:
        case "rollout_restart":
            return int("annotations" in found["spec"]["template"]["metadata"])
        case "scale":
            return (found["spec"]["replicas"] - 3) // 2
        case _:
            return int(found["spec"]["template"]["spec"]["containers"][0]["image"] != IMAGE)


def marks(shop: Shop) -> tuple[str, str]:
    notes = shop.web["metadata"].get("annotations", {})
    return notes.get("consulguard.io/attempt", ""), notes.get("consulguard.io/epoch", "")


# ---- what holds for each


@EACH
async def test_it_does_what_it_says_and_leaves_its_marks(shop, action):
    result = await shop.do(shop.intent(action, HOW[action]))
    assert result.outcome is Outcome.DONE, result.detail
    assert done(shop, action) == 1
    assert marks(shop) == ("run-1/0/1", "7")


@EACH
async def test_the_same_attempt_twice_is_one_effect_and_the_undo_still_knows(shop, action):
    wanted = shop.intent(action, HOW[action])
    first = await shop.do(wanted)
    generation = shop.web["metadata"]["generation"]
    again = await shop.do(wanted)
    assert again.outcome is Outcome.DONE
    assert "already" in again.detail
    assert again.saved == first.saved
    assert shop.web["metadata"]["generation"] == generation
    assert done(shop, action) == 1


@EACH
async def test_a_lost_answer_is_seen_later_and_done_once(shop, action):
    between = Between(shop.kube)
    between.lose = "answer"
    wanted = shop.intent(action, HOW[action])
    async with serve(between.handle) as address:
        config = shop.kube.kubeconfig(server=address)
        assert (await shop.do(wanted, kubeconfig=config)).outcome is Outcome.UNKNOWN
        assert await shop.seen(wanted, kubeconfig=config) is Outcome.DONE
        assert (await shop.do(wanted, kubeconfig=config)).outcome is Outcome.DONE
    assert between.writes == 1
    assert done(shop, action) == 1


@EACH
async def test_a_lost_request_is_seen_as_not_done(shop, action):
    between = Between(shop.kube)
    between.lose = "request"
    wanted = shop.intent(action, HOW[action])
    async with serve(between.handle) as address:
        config = shop.kube.kubeconfig(server=address)
        assert (await shop.do(wanted, kubeconfig=config)).outcome is Outcome.UNKNOWN
        assert await shop.seen(wanted, kubeconfig=config) is Outcome.RETRY
        assert between.writes == 1
        between.lose = ""
        assert (await shop.do(wanted, kubeconfig=config)).outcome is Outcome.DONE
    assert done(shop, action) == 1


@EACH
async def test_what_somebody_changed_in_between_stays_theirs(shop, action):
    between = Between(shop.kube)
    between.before_write = lambda: shop.change(shop.web_path, {"metadata": {"labels": {"by": "ann"}}})
    async with serve(between.handle) as address:
        config = shop.kube.kubeconfig(server=address)
        result = await shop.do(shop.intent(action, HOW[action]), kubeconfig=config)
    assert result.outcome is Outcome.RETRY
    assert "changed by someone else" in result.detail
    assert between.writes == 1
    assert done(shop, action) == 0


@EACH
async def test_a_later_epoch_is_respected(shop, action):
    shop.change(shop.web_path, {"metadata": {"annotations": {"consulguard.io/epoch": "8"}}})
    result = await shop.do(shop.intent(action, HOW[action]))
    assert result.outcome is Outcome.FAILED
    assert "was written in epoch 8, ours is 7" in result.detail
    assert done(shop, action) == 0


@EACH
async def test_a_missing_right_is_named(shop, action):
    rules = [{"apiGroups": ["apps"], "resources": ["deployments", "replicasets"], "verbs": ["get", "list"]}]
    token = shop.kube.token(shop.name, "weak", rules)
    result = await shop.do(shop.intent(action, HOW[action]), kubeconfig=shop.kube.kubeconfig(token=token))
    assert result.outcome is Outcome.FAILED
    assert f"does not let us patch deployments.apps in namespace {shop.name}" in result.detail
    assert done(shop, action) == 0


@EACH
async def test_the_rights_the_docs_name_are_enough(shop, action):
    read = {"apiGroups": ["apps"], "resources": ["deployments", "replicasets", "statefulsets", "daemonsets"]}
    rules = [
        {**read, "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list"]},
    ]
    config = shop.kube.kubeconfig(token=shop.kube.token(shop.name, "right", rules))
    wanted = shop.intent(action, HOW[action])
    assert await shop.holds(wanted, kubeconfig=config) == ""
    assert (await shop.do(wanted, kubeconfig=config)).outcome is Outcome.DONE
    assert await shop.seen(wanted, kubeconfig=config) is Outcome.DONE


@EACH
async def test_the_workload_that_runs_us_is_never_touched(shop, action):
    own = {"own_namespace": shop.name, "own_pod": "web-b-1"}
    result = await shop.do(shop.intent(action, HOW[action]), **own)
    assert result.outcome is Outcome.FAILED
    assert "runs consulguard itself" in result.detail
    assert done(shop, action) == 0


@EACH
async def test_a_namespace_that_is_not_allowed_is_not_even_asked(shop, action):
    async with serve((between := Between(shop.kube)).handle) as address:
        config = shop.kube.kubeconfig(server=address)
        result = await shop.do(shop.intent(action, HOW[action]), kubeconfig=config, namespaces=("other",))
    assert result.outcome is Outcome.FAILED
    assert between.asked == []


# ---- which workload


async def test_it_is_found_by_the_pod_of_the_instance(shop):
    assert (await shop.do(shop.intent("rollout_restart"))).outcome is Outcome.DONE
    assert done(shop, "rollout_restart") == 1


async def test_a_pod_at_another_address_leads_to_nothing(shop):
    shop.register("web-b-1", "10.1.0.77")
    result = await shop.do(shop.intent("rollout_restart"))
    assert result.outcome is Outcome.FAILED
    assert "is registered at" in result.detail
    assert done(shop, "rollout_restart") == 0


async def test_once_restarted_the_pod_is_gone_and_the_mark_still_tells(shop):
    wanted = shop.intent("rollout_restart")
    assert (await shop.do(wanted)).outcome is Outcome.DONE
    shop.kube.send("DELETE", f"{shop.core}/pods/web-b-1", {"gracePeriodSeconds": 0})
    assert await shop.seen(wanted) is Outcome.DONE
    again = await shop.do(wanted)
    assert (again.outcome, "already" in again.detail) == (Outcome.DONE, True)
    other = shop.intent("rollout_restart", id="run-2/0/1")
    assert await shop.seen(other) is Outcome.RETRY
    assert "there is no pod web-b-1" in (await shop.do(other)).detail


async def test_where_the_mark_cannot_be_looked_for_nobody_knows(shop):
    shop.kube.send("DELETE", f"{shop.core}/pods/web-b-1", {"gracePeriodSeconds": 0})
    rules = [{"apiGroups": ["", "apps"], "resources": ["pods", "replicasets", "deployments"], "verbs": ["get"]}]
    config = shop.kube.kubeconfig(token=shop.kube.token(shop.name, "no-list", rules))
    result = await shop.do(shop.intent("rollout_restart"), kubeconfig=config)
    assert result.outcome is Outcome.UNKNOWN
    assert "there is no pod web-b-1" in result.detail
    assert f"does not let us list deployments.apps in namespace {shop.name}" in result.detail


async def test_it_is_found_by_the_service_in_front_of_it(shop):
    shop.service()
    wanted = shop.intent("rollout_restart", {"service": "web"}, target=shop.target.of_service())
    result = await shop.do(wanted)
    assert result.outcome is Outcome.DONE, result.detail
    assert done(shop, "rollout_restart") == 1


@pytest.mark.parametrize(
    ("meta", "address", "words"),
    [
        ({"k8s-service-name": "other"}, "10.1.0.1", "does not say that it is behind"),
        ({"k8s-namespace": "other"}, "10.1.0.1", "does not say that it is behind"),
        ({}, "10.1.0.77", "no pod behind service web is at the address"),
    ],
)
async def test_a_service_that_is_not_that_of_the_instances_leads_to_nothing(shop, meta, address, words):
    shop.service()
    shop.register("web-b-1", address, **meta)
    result = await shop.do(shop.intent("rollout_restart", {"service": "web"}, target=shop.target.of_service()))
    assert result.outcome is Outcome.FAILED
    assert words in result.detail
    assert done(shop, "rollout_restart") == 0


async def test_two_workloads_behind_a_service_are_one_too_many(shop):
    shop.service()
    other = shop.workload("statefulsets", "web", 1)
    shop.pod("web-0", "10.1.0.8", owner("StatefulSet", other))
    result = await shop.do(shop.intent("rollout_restart", {"service": "web"}, target=shop.target.of_service()))
    assert result.outcome is Outcome.FAILED
    assert "more than one workload" in result.detail


@pytest.mark.parametrize("kind", ["statefulset", "daemonset"])
async def test_the_other_kinds_restart_as_well(shop, kind):
    shop.workload(f"{kind}s", "db", 1)
    wanted = shop.intent("rollout_restart", {"workload": f"{kind}/db"})
    assert await shop.holds(wanted) == ""
    assert (await shop.do(wanted)).outcome is Outcome.DONE
    assert "annotations" in shop.read("db", f"{kind}s")["spec"]["template"]["metadata"]
    assert "has not seen that yet" in await shop.holds(wanted)


# ---- scale


@pytest.mark.parametrize(
    ("how", "replicas"),
    [
        ({"replicas": 5}, 5),
        ({"add": 2, "max": 4}, 4),
        ({"remove": 1}, 2),
        ({"remove": 9, "min": 2}, 2),
    ],
)
async def test_scale_keeps_within_its_limits_and_back(shop, how, replicas):
    wanted = shop.intent("scale", WORKLOAD | how)
    result = await shop.do(wanted)
    assert result.outcome is Outcome.DONE, result.detail
    assert shop.web["spec"]["replicas"] == replicas
    undo = undo_of(wanted, result)
    assert (await shop.do(undo)).outcome is Outcome.DONE
    assert shop.web["spec"]["replicas"] == 3
    assert (await shop.do(undo)).outcome is Outcome.DONE
    assert await shop.seen(undo) is Outcome.DONE


@pytest.mark.parametrize(("how", "outcome"), [({"replicas": 3}, "DONE"), ({"add": 1, "max": 3}, "FAILED")])
async def test_where_nothing_is_to_be_scaled_nothing_is_written(shop, how, outcome):
    result = await shop.do(shop.intent("scale", WORKLOAD | how))
    assert result.outcome == outcome
    assert marks(shop) == ("", "")


async def test_somebody_elses_number_stays(shop):
    wanted = shop.intent("scale", HOW["scale"])
    result = await shop.do(wanted)
    shop.change(shop.web_path, {"spec": {"replicas": 8}})
    undone = await shop.do(undo_of(wanted, result))
    assert undone.outcome is Outcome.FAILED
    assert "has 8 replicas, not the 5 we set" in undone.detail
    assert shop.web["spec"]["replicas"] == 8


async def test_what_another_run_wrote_since_is_not_undone(shop):
    wanted = shop.intent("scale", HOW["scale"])
    result = await shop.do(wanted)
    await shop.do(shop.intent("rollout_restart", WORKLOAD, id="run-2/0/1"))
    assert "by another run" in (await shop.do(undo_of(wanted, result))).detail
    assert shop.web["spec"]["replicas"] == 5


async def test_a_daemon_set_and_what_is_scaled_to_nothing_are_left_alone(shop):
    shop.workload("daemonsets", "agent", 1)
    result = await shop.do(shop.intent("scale", {"workload": "daemonset/agent", "replicas": 2}))
    assert "on every node" in result.detail
    shop.change(shop.web_path, {"spec": {"replicas": 0}})
    assert "scaled to nothing" in (await shop.do(shop.intent("scale", HOW["scale"]))).detail


# ---- rollback


async def test_a_rollback_and_back(shop):
    wanted = shop.intent("rollback", WORKLOAD)
    before = shop.web["spec"]["template"]
    result = await shop.do(wanted)
    now = shop.web["spec"]["template"]
    assert now["spec"]["containers"][0]["image"] == "shop/web:1"
    assert now["metadata"]["labels"] == {"app": "web"}
    undo = undo_of(wanted, result)
    undone = await shop.do(undo)
    assert undone.outcome is Outcome.DONE, undone.detail
    assert shop.web["spec"]["template"] == before


async def test_nothing_of_the_later_template_is_left(shop):
    extra = {"env": [{"name": "NEW", "value": "1"}], "name": "web", "image": IMAGE}
    shop.change(
        shop.web_path, {"spec": {"template": {"spec": {"containers": [extra], "nodeSelector": {"a": "b"}}}}}
    )
    newest = shop.replicas("web-c", 3, IMAGE)
    body = {"spec": {"template": {"spec": {"containers": [extra], "nodeSelector": {"a": "b"}}}}}
    assert newest["metadata"]["name"] == "web-c"
    shop.change(f"{shop.apps}/replicasets/web-c", body)
    assert (await shop.do(shop.intent("rollback", WORKLOAD))).outcome is Outcome.DONE
    spec = shop.web["spec"]["template"]["spec"]
    assert "nodeSelector" not in spec
    assert "env" not in spec["containers"][0]


async def test_without_an_earlier_revision_nothing_is_rolled_back(shop):
    shop.kube.send("DELETE", f"{shop.apps}/replicasets/web-a")
    result = await shop.do(shop.intent("rollback", WORKLOAD))
    assert result.outcome is Outcome.FAILED
    assert "no revision before 2" in result.detail


async def test_somebody_elses_template_stays(shop):
    wanted = shop.intent("rollback", WORKLOAD)
    result = await shop.do(wanted)
    theirs = [{"name": "web", "image": "shop/web:hotfix"}]
    shop.change(shop.web_path, {"spec": {"template": {"spec": {"containers": theirs}}}})
    undone = await shop.do(undo_of(wanted, result))
    assert undone.outcome is Outcome.FAILED
    assert "someone else's stays" in undone.detail
    assert shop.web["spec"]["template"]["spec"]["containers"][0]["image"] == "shop/web:hotfix"


async def test_only_deployments_and_none_that_people_paused(shop):
    shop.workload("statefulsets", "db", 1)
    assert "no Deployment" in (await shop.do(shop.intent("rollback", {"workload": "statefulset/db"}))).detail
    shop.change(shop.web_path, {"spec": {"paused": True}})
    for action in ("rollback", "rollout_restart"):
        assert "are paused" in (await shop.do(shop.intent(action, WORKLOAD))).detail


# ---- not now


async def test_a_rollout_holds_all_but_its_own_cure(shop):
    shop.settle(updated=1)
    assert "is in progress: 1 of 3" in await shop.holds(shop.intent("rollout_restart", WORKLOAD))
    assert "is in progress" in await shop.holds(shop.intent("scale", HOW["scale"]))
    assert await shop.holds(shop.intent("rollback", WORKLOAD)) == ""
    gave_up = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    shop.settle(updated=1, conditions=[gave_up])
    assert await shop.holds(shop.intent("rollout_restart", WORKLOAD)) == ""


# ---- cordon


@pytest.fixture
def node(shop) -> str:
    """The Kubernetes node that Consul's node is; it has Consul's address."""
    shop.kube.send("POST", "/api/v1/nodes", {"metadata": {"name": shop.node}})
    shop.addresses = lambda ip: shop.change(
        f"/api/v1/nodes/{shop.node}/status", {"status": {"addresses": [{"type": "InternalIP", "address": ip}]}}
    )
    shop.addresses("10.9.0.1")
    return f"/api/v1/nodes/{shop.node}"


def cordoned(shop: Shop, node: str) -> bool:
    return bool(shop.kube.get(node)["spec"].get("unschedulable", False))


async def test_a_node_is_cordoned_once_and_uncordoned(shop, node):
    wanted = shop.intent("cordon", {"node": shop.node}, target=shop.target.of_node())
    wanted.params.pop("namespace")
    between = Between(shop.kube)
    between.lose = "answer"
    async with serve(between.handle) as address:
        config = shop.kube.kubeconfig(server=address)
        assert (await shop.do(wanted, kubeconfig=config)).outcome is Outcome.UNKNOWN
        assert await shop.seen(wanted, kubeconfig=config) is Outcome.DONE
        result = await shop.do(wanted, kubeconfig=config)
    assert (result.outcome, between.writes) == (Outcome.DONE, 1)
    assert cordoned(shop, node)
    assert (await shop.do(undo_of(wanted, result))).outcome is Outcome.DONE
    assert not cordoned(shop, node)


async def test_a_cordon_of_someone_else_stays(shop, node):
    shop.change(node, {"spec": {"unschedulable": True}})
    wanted = shop.intent("cordon", {"node": shop.node}, target=shop.target.of_node())
    wanted.params.pop("namespace")
    result = await shop.do(wanted)
    assert (result.outcome, result.saved) == (Outcome.DONE, None)
    assert (await shop.do(undo_of(wanted, result))).outcome is Outcome.DONE
    assert cordoned(shop, node)


async def test_a_foreign_node_or_one_nobody_allowed_is_not_cordoned(shop, node):
    wanted = shop.intent("cordon", {"node": shop.node}, target=shop.target.of_node())
    wanted.params.pop("namespace")
    assert "cordon is off" in (await shop.do(wanted, cordon=False)).detail
    shop.addresses("10.9.0.99")
    assert "is at 10.9.0.99" in (await shop.do(wanted)).detail
    elsewhere = shop.intent("cordon", {"node": "another"}, target=shop.target.of_node())
    elsewhere.params.pop("namespace")
    shop.kube.raw("POST", "/api/v1/nodes", {"metadata": {"name": "another"}})
    assert "does not name another" in (await shop.do(elsewhere)).detail
    assert not cordoned(shop, node)
