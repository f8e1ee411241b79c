"""``kubernetes.delete_pod`` and ``kubernetes.evict_pod`` on a real API server and a real Consul."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from consulguard.act.runner import perform
from consulguard.model import Outcome

from tests.shell.act.kube_support import ACTIONS, Between, Shop, owner
from tests.shell.act.support import raw, serve

pytestmark = pytest.mark.real
BOTH = pytest.mark.parametrize("action", ["delete_pod", "evict_pod"])


@pytest.fixture
def shop(real_kube, real_consul_module, unique) -> Shop:
    return Shop(real_kube, real_consul_module.address, unique)


@BOTH
async def test_the_pod_goes_and_only_this_one(shop, action):
    shop.pod("web-b-2", "10.1.0.2", owner("ReplicaSet", shop.current))
    result = await shop.do(shop.intent(action))
    assert (result.outcome, result.saved) == (Outcome.DONE, None)
    assert result.index > 0
    assert shop.going("web-b-1")
    assert not shop.going("web-b-2")


async def test_a_pod_that_is_going_is_left_to_go(shop):
    assert (await shop.do(shop.intent("delete_pod"))).outcome is Outcome.DONE
    async with serve((between := Between(shop.kube)).handle) as address:
        config = shop.kube.kubeconfig(server=address)
        result = await shop.do(shop.intent("evict_pod", id="run-1/0/2"), kubeconfig=config)
    assert result.outcome is Outcome.DONE
    assert between.writes == 0


async def test_a_grace_period_is_passed_on(shop):
    await shop.do(shop.intent("delete_pod", {"pod": "web-b-1", "grace_period": 7}))
    assert shop.read("web-b-1", "pods")["metadata"]["deletionGracePeriodSeconds"] == 7


# ---- the right pod


@BOTH
async def test_another_pod_than_the_instance_names_now_is_not_touched(shop, action):
    shop.pod("web-b-2", "10.1.0.2", owner("ReplicaSet", shop.current))
    shop.register("web-b-2", "10.1.0.2")
    result = await shop.do(shop.intent(action))
    assert result.outcome is Outcome.FAILED
    assert "names pod 'web-b-2' now, not web-b-1" in result.detail
    assert not shop.going("web-b-1")


@BOTH
async def test_a_pod_at_another_address_is_foreign(shop, action):
    shop.register("web-b-1", "10.1.0.77")
    result = await shop.do(shop.intent(action))
    assert result.outcome is Outcome.FAILED
    assert "is registered at '10.1.0.77', but pod web-b-1 is at 10.1.0.1" in result.detail
    assert not shop.going("web-b-1")


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"k8s-namespace": "elsewhere"}, "is in namespace 'elsewhere' now"),
        ({"pod-uid": "not-this-one"}, "its uid is another one"),
    ],
)
async def test_meta_that_does_not_agree_is_not_believed(shop, meta, words):
    shop.register("web-b-1", "10.1.0.1", **meta)
    result = await shop.do(shop.intent("delete_pod"))
    assert result.outcome is Outcome.FAILED
    assert words in result.detail
    assert not shop.going()


async def test_an_instance_that_has_left_consul_has_no_pod(shop):
    raw(shop.consul, "PUT", "/v1/catalog/deregister", {"Node": shop.node, "ServiceID": shop.target.instance})
    result = await shop.do(shop.intent("delete_pod"))
    assert result.outcome is Outcome.FAILED
    assert "is not registered" in result.detail
    assert not shop.going()


async def test_a_bare_pod_would_not_come_back(shop):
    shop.pod("lonely", "10.1.0.5", [])
    shop.register("lonely", "10.1.0.5")
    result = await shop.do(shop.intent("evict_pod", {"pod": "lonely"}))
    assert result.outcome is Outcome.FAILED
    assert "nobody would bring it back" in result.detail
    assert not shop.going("lonely")


@BOTH
async def test_a_pod_that_changed_between_reading_and_writing_stays(shop, action):
    between = Between(shop.kube)
    path = f"{shop.core}/pods/web-b-1"
    between.before_write = lambda: shop.change(path, {"metadata": {"labels": {"debug": "ann"}}})
    async with serve(between.handle) as address:
        result = await shop.do(shop.intent(action), kubeconfig=shop.kube.kubeconfig(server=address))
    assert result.outcome is Outcome.RETRY
    assert "changed by someone else" in result.detail
    assert not shop.going()
    assert between.writes == 1


# ---- what the operator allows


@BOTH
@pytest.mark.parametrize(
    ("kube", "words"),
    [
        ({"namespaces": ()}, "is not in actions.kubernetes.namespaces (none)"),
        ({"namespaces": ("other",)}, "is not in actions.kubernetes.namespaces (other)"),
    ],
)
async def test_a_namespace_that_is_not_allowed_is_not_even_asked(shop, action, kube, words):
    async with serve((between := Between(shop.kube)).handle) as address:
        result = await shop.do(shop.intent(action), kubeconfig=shop.kube.kubeconfig(server=address), **kube)
    assert result.outcome is Outcome.FAILED
    assert words in result.detail
    assert between.asked == []


async def test_our_own_pod_and_kube_system_are_never_touched(shop):
    result = await shop.do(shop.intent("delete_pod"), own_namespace=shop.name, own_pod="web-b-1")
    assert "the one consulguard runs in" in result.detail
    wanted = shop.intent("delete_pod", {"namespace": "kube-system", "pod": "coredns"})
    assert "never acted upon" in (await shop.do(wanted, namespaces=("kube-system",))).detail
    assert not shop.going()


@BOTH
async def test_a_missing_right_is_named(shop, action):
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    token = shop.kube.token(shop.name, f"weak-{action.replace('_', '-')}", rules)
    result = await shop.do(shop.intent(action), kubeconfig=shop.kube.kubeconfig(token=token))
    assert result.outcome is Outcome.FAILED
    right = "delete pods" if action == "delete_pod" else "create pods/eviction"
    assert f"Kubernetes does not let us {right} in namespace {shop.name}" in result.detail
    assert not shop.going()


@BOTH
async def test_the_rights_the_docs_name_are_enough(shop, action):
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"]},
        {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
        {"apiGroups": ["apps"], "resources": ["replicasets", "deployments"], "verbs": ["get"]},
    ]
    token = shop.kube.token(shop.name, f"right-{action.replace('_', '-')}", rules)
    wanted, config = shop.intent(action), shop.kube.kubeconfig(token=token)
    assert await shop.holds(wanted, kubeconfig=config) == ""
    assert (await shop.do(wanted, kubeconfig=config)).outcome is Outcome.DONE
    assert shop.going()


async def test_credentials_nobody_knows_are_refused(shop):
    result = await shop.do(shop.intent("delete_pod"), kubeconfig=shop.kube.kubeconfig(token="wrong"))
    assert result.outcome is Outcome.FAILED
    assert "does not know our credentials" in result.detail


# ---- budgets, lost answers


async def test_a_disruption_budget_holds_an_eviction_and_says_so(shop):
    path = f"/apis/policy/v1beta1/namespaces/{shop.name}/poddisruptionbudgets"
    spec = {"minAvailable": 3, "selector": {"matchLabels": {"app": "web"}}}
    made = shop.kube.send("POST", path, {"metadata": {"name": "web"}, "spec": spec})
    status = {"disruptionsAllowed": 0, "currentHealthy": 3, "desiredHealthy": 3, "expectedPods": 3}
    status["observedGeneration"] = made["metadata"]["generation"]
    shop.change(f"{path}/web/status", {"status": status})
    result = await shop.do(shop.intent("evict_pod"))
    assert result.outcome is Outcome.RETRY
    assert "disruption budget" in result.detail
    assert not shop.going()


@BOTH
async def test_a_lost_answer_is_unknown_and_the_second_look_sees_it(shop, action):
    between = Between(shop.kube)
    between.lose = "answer"
    wanted = shop.intent(action)
    async with serve(between.handle) as address:
        config = shop.kube.kubeconfig(server=address)
        assert (await shop.do(wanted, kubeconfig=config)).outcome is Outcome.UNKNOWN
        assert shop.going()
        assert await shop.seen(wanted, kubeconfig=config) is Outcome.DONE
    assert between.writes == 1


@BOTH
async def test_a_lost_request_is_unknown_and_the_second_look_sees_that_it_was_not_done(shop, action):
    between = Between(shop.kube)
    between.lose = "request"
    wanted = shop.intent(action)
    async with serve(between.handle) as address:
        config = shop.kube.kubeconfig(server=address)
        assert (await shop.do(wanted, kubeconfig=config)).outcome is Outcome.UNKNOWN
        assert await shop.seen(wanted, kubeconfig=config) is Outcome.RETRY
    assert not shop.going()
    assert between.writes == 1


async def test_of_a_stateful_set_nobody_knows_whether_it_is_the_same_pod(shop):
    made = shop.workload("statefulsets", "db", 1)
    shop.pod("db-0", "10.1.0.9", owner("StatefulSet", made))
    shop.register("db-0", "10.1.0.9")
    wanted = shop.intent("delete_pod", {"pod": "db-0"})
    assert await shop.seen(wanted) is Outcome.UNKNOWN
    assert (await shop.do(wanted)).outcome is Outcome.DONE
    assert await shop.seen(wanted) is Outcome.DONE


async def test_nobody_there_is_a_reason_to_try_again(shop):
    config = shop.kube.kubeconfig(server="http://127.0.0.1:9")
    assert (await shop.do(shop.intent("delete_pod"), kubeconfig=config)).outcome is Outcome.RETRY


async def test_a_later_epoch_on_the_pod_is_respected(shop):
    shop.change(f"{shop.core}/pods/web-b-1", {"metadata": {"annotations": {"consulguard.io/epoch": "99"}}})
    result = await shop.do(shop.intent("delete_pod"))
    assert result.outcome is Outcome.FAILED
    assert "another consulguard is in charge" in result.detail
    assert not shop.going()


async def test_undo_says_that_there_is_nothing_to_undo(shop):
    result = await shop.do(shop.intent("evict_pod", undo=True))
    assert result.outcome is Outcome.FAILED
    assert not shop.going()


# ---- not now


async def test_a_rollout_or_a_wish_to_be_left_alone_holds_it(shop):
    wanted = shop.intent("evict_pod")
    assert await shop.holds(wanted) == ""
    shop.settle(updated=1)
    assert "a rollout of deployment/web is in progress: 1 of 3" in await shop.holds(wanted)
    shop.settle()
    shop.change(shop.web_path, {"metadata": {"annotations": {"consulguard.io/skip": "release"}}})
    assert "asks to be left alone" in await shop.holds(wanted)


async def test_what_cannot_be_looked_at_holds(shop):
    config = shop.kube.kubeconfig(server="http://127.0.0.1:9")
    assert "could not look" in await shop.holds(shop.intent("evict_pod"), kubeconfig=config)


async def test_in_a_cluster_the_service_account_of_the_pod_is_enough(shop, tmp_path, monkeypatch):
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
    ]
    (tmp_path / "token").write_text(shop.kube.token(shop.name, "bot", rules))
    (tmp_path / "ca.crt").write_text((shop.kube.folder / "certs/apiserver.crt").read_text())
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(shop.kube.port))
    async with shop.context(service_account=str(tmp_path)) as ctx:
        kube = msgspec.structs.replace(ctx.settings.kubernetes, kubeconfig="")
        settings = msgspec.structs.replace(ctx.settings, kubernetes=kube)
        result = await perform(shop.intent("evict_pod"), ACTIONS, dataclasses.replace(ctx, settings=settings))
    assert result.outcome is Outcome.DONE
    assert shop.going()
