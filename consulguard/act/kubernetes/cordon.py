"""``kubernetes.cordon``: no new pods on a node, and back."""

from __future__ import annotations

from typing import ClassVar

from consulguard.act.base import ActContext, Action, Ending, Strict, check_target, done
from consulguard.act.kubernetes.api import Kube, cluster
from consulguard.act.kubernetes.mapping import Instance, at_one_of, node_of
from consulguard.act.kubernetes.objects import (
    ATTEMPT,
    OFF,
    SKIP,
    Meta,
    Node,
    found,
    marks,
    nodes,
    refuse_newer,
    written_by,
)
from consulguard.act.kubernetes.params import Name
from consulguard.errors import ActionRefused
from consulguard.model import Intent, JsonObject, Outcome, Target

NODE_NAME = "k8s-node-name"  # node meta, where Consul's name of the node is another one


class CordonParams(Strict):
    node: Name


class KubernetesCordon(Action[CordonParams]):
    """Marks the node unschedulable. Pods that run there stay; the undo lifts the mark if it is ours."""

    name: ClassVar[str] = "kubernetes.cordon"
    Params: ClassVar[type[Strict]] = CordonParams
    touches: ClassVar[str] = "node"
    idempotent: ClassVar[bool] = True
    undoable: ClassVar[bool] = True

    def check_target(self, target: Target) -> None:
        check_target(target)
        if not target.node:
            raise ActionRefused("kubernetes.cordon needs a node")

    def preview(self, intent: Intent, params: JsonObject) -> str:
        parsed = self.parse(intent.target, params)
        if intent.undo:
            return f"PATCH {nodes(parsed.node).path}: schedulable again, if it was us who cordoned it"
        return f"PATCH {nodes(parsed.node).path}: unschedulable, if it is the node {intent.target.node} of Consul"

    async def do(self, params: CordonParams, intent: Intent, ctx: ActContext) -> Ending:
        _allowed(ctx)
        ours, index = await node_of(intent.target, ctx)
        async with cluster(ctx) as kube:
            node = await _read(kube, params.node)
            _refuse_foreign(params.node, node, ours)
            saved = self._saved(node, intent.id)
            if written_by(node.metadata, intent):
                return done(
                    f"node {params.node} was cordoned by this very attempt already", index=index, saved=saved
                )
            refuse_newer(node.metadata, f"node {params.node}", intent)
            if node.spec.unschedulable:
                return done(f"node {params.node} is cordoned by someone already", index=index)
            said = await _write(kube, node, intent, ctx, cordon=True)
            if isinstance(said, Ending):
                return said
        return done(f"node {params.node} is cordoned", index=index, saved=saved)

    async def restore(self, intent: Intent, ctx: ActContext) -> Ending:
        _allowed(ctx)
        saved = self.own(intent)
        if saved is None:
            return done("it was not us who cordoned the node, so it stays as it is")
        async with cluster(ctx) as kube:
            node = await _read(kube, str(saved["node"]))
            name = f"node {node.metadata.name}"
            if not node.spec.unschedulable:
                return done(f"{name} is not cordoned any more")
            refuse_newer(node.metadata, name, intent)
            if node.metadata.uid != saved["uid"] or node.metadata.note(ATTEMPT) != saved["attempt"]:
                return done(f"{name} is cordoned by someone else, and stays so")
            said = await _write(kube, node, intent, ctx, cordon=False)
        return said if isinstance(said, Ending) else done(f"{name} takes pods again")

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        _allowed(ctx)
        params = self.parse(intent.target, intent.params)
        async with cluster(ctx) as kube:
            node = await _read(kube, params.node)
        return Outcome.DONE if written_by(node.metadata, intent) else Outcome.RETRY

    async def ready(self, intent: Intent, ctx: ActContext) -> str:
        _allowed(ctx)
        params = self.parse(intent.target, intent.params)
        async with cluster(ctx) as kube:
            skip = (await _read(kube, params.node)).metadata.note(SKIP)
        if skip and skip.strip().lower() not in OFF:
            return f"node {params.node} asks to be left alone: its annotation {SKIP} is {skip[:80]!a}"
        return ""

    def _saved(self, node: Node, attempt: str) -> JsonObject:
        meta: Meta = node.metadata
        return {"action": self.name, "node": meta.name, "uid": meta.uid, "attempt": attempt}


def _allowed(ctx: ActContext) -> None:
    if not ctx.settings.kubernetes.cordon:
        raise ActionRefused("no node may be cordoned: actions.kubernetes.cordon is off")


def _refuse_foreign(name: str, node: Node, ours: Instance) -> None:
    """Raise unless the Kubernetes node is the one Consul means."""
    if name not in (ours.id, ours.meta.get(NODE_NAME)):
        raise ActionRefused(f"the node {ours.id} of Consul does not name {name} as its Kubernetes node")
    known = {a.address for a in node.status.addresses or () if a.type.endswith("IP")}
    if known and ours.address and not at_one_of(ours.address, known):
        theirs = ", ".join(sorted(known))
        raise ActionRefused(f"Consul's node {ours.id} is at {ours.address[:80]!a}, but node {name} is at {theirs}")


async def _read(kube: Kube, name: str) -> Node:
    node: Node = found(await kube.read(nodes(name), Node), f"node {name} in the cluster")
    return node


async def _write(kube: Kube, node: Node, intent: Intent, ctx: ActContext, *, cordon: bool) -> JsonObject | Ending:
    body: JsonObject = {
        "metadata": {"resourceVersion": node.metadata.resource_version, "annotations": marks(intent)},
        "spec": {"unschedulable": cordon},
    }
    return await kube.patch(nodes(node.metadata.name), body, intent, ctx)


__all__ = ["KubernetesCordon"]
