"""What the actions on a whole workload have in common: find it, see that it may be written, mark it."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Generic, NamedTuple, TypeVar

from consulguard.act.base import ActContext, Action, Ending, done, failed, unknown
from consulguard.act.kubernetes.api import Kube, cluster
from consulguard.act.kubernetes.mapping import (
    all_in,
    meant,
    named,
    refuse_foreign,
    refuse_own_workload,
)
from consulguard.act.kubernetes.objects import (
    ATTEMPT,
    BEFORE,
    Workload,
    holds,
    marks,
    refuse_newer,
    workloads,
    written_by,
)
from consulguard.act.kubernetes.params import WorkloadParams
from consulguard.errors import ActionRefused
from consulguard.model import Intent, JsonObject, Outcome

P = TypeVar("P", bound=WorkloadParams)


class Change(NamedTuple):
    """What is to be written: the new part of the spec, and what the undo needs to know."""

    spec: JsonObject
    words: str  # "has 4 replicas instead of 3"
    before: str = ""  # kept in an annotation too


class Place(NamedTuple):
    """A workload as it was read, where, and Consul's index of then."""

    namespace: str
    workload: Workload
    seen_at: int = 0


class OnWorkload(Action[P], Generic[P]):
    """Reads the workload, writes it once with the resourceVersion it had, and leaves our marks on it.

    The attempt's id stands on the object: a second try of the same attempt sees it and writes nothing.
    """

    touches: ClassVar[str] = "service"
    idempotent: ClassVar[bool] = True
    waits_for_rollout: ClassVar[bool] = True

    @abstractmethod
    async def change(self, kube: Kube, params: P, place: Place, intent: Intent) -> Change | Ending:
        """What is to be written, or why nothing is. Only reads."""

    async def back(self, kube: Kube, place: Place, before: str) -> Change | Ending:
        """What undoes it: ``before`` is that of the change. Only reads."""
        return failed("a restart cannot be taken back: nothing to undo")

    async def do(self, params: P, intent: Intent, ctx: ActContext) -> Ending:
        refuse_foreign(params.namespace, ctx.settings.kubernetes)
        async with cluster(ctx) as kube:
            try:
                workload, index = await meant(kube, params, intent.target, ctx)
            except ActionRefused as refusal:
                # Our own first try may have replaced the pod by which it was to be found: its mark tells.
                marked = await self._searched(kube, params, intent, refusal)
                if isinstance(marked, Ending):
                    return marked
                workload, index = marked, 0
            place = Place(params.namespace, workload, index)
            if written_by(workload.metadata, intent):
                return self._again(place, intent)
            refuse_newer(workload.metadata, workload.name, intent)
            change = await self.change(kube, params, place, intent)
            return change if isinstance(change, Ending) else await self._write(kube, place, change, intent, ctx)

    async def restore(self, intent: Intent, ctx: ActContext) -> Ending:
        saved = self.own(intent)
        if saved is None:
            return failed("what was there before is not known, so nothing is put back")
        async with cluster(ctx) as kube:
            place = await _kept(kube, saved, ctx)
            meta, name = place.workload.metadata, place.workload.name
            if written_by(meta, intent):
                return self._again(place, intent)
            refuse_newer(meta, name, intent)
            if meta.uid != saved["uid"]:
                return failed(f"{name} was made anew since then, so it stays as it is")
            if meta.note(ATTEMPT) != saved["attempt"]:
                return failed(f"{name} was written by another run since then, so it stays as it is")
            change = await self.back(kube, place, str(saved["before"]))
            return change if isinstance(change, Ending) else await self._write(kube, place, change, intent, ctx)

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        """Our mark tells: it is written together with the change."""
        saved = self.own(intent) if intent.undo else None
        async with cluster(ctx) as kube:
            if saved is not None:
                place = await _kept(kube, saved, ctx)
                return Outcome.DONE if written_by(place.workload.metadata, intent) else Outcome.RETRY
            params = self.parse(intent.target, intent.params)
            refuse_foreign(params.namespace, ctx.settings.kubernetes)
            marked = await self._marked(kube, params, intent)
        return Outcome.DONE if marked is not None else Outcome.RETRY

    async def ready(self, intent: Intent, ctx: ActContext) -> str:
        params = self.parse(intent.target, intent.params)
        refuse_foreign(params.namespace, ctx.settings.kubernetes)
        async with cluster(ctx) as kube:
            workload, _ = await meant(kube, params, intent.target, ctx)
        return holds(workload, rollout=self.waits_for_rollout)

    async def _marked(self, kube: Kube, params: P, intent: Intent) -> Workload | None:
        """The workload this attempt has written; a pod by which it was found may be gone since."""
        async for workload in all_in(kube, params):
            if written_by(workload.metadata, intent):
                return workload
        return None

    async def _searched(self, kube: Kube, params: P, intent: Intent, refusal: ActionRefused) -> Workload | Ending:
        try:
            return await self._marked(kube, params, intent) or failed(str(refusal))
        except ActionRefused as error:
            return unknown(f"{refusal}; whether an earlier try has written it cannot be seen: {error}")

    async def _write(self, kube: Kube, place: Place, change: Change, intent: Intent, ctx: ActContext) -> Ending:
        meta, workload = place.workload.metadata, place.workload
        body: JsonObject = {
            "metadata": {"resourceVersion": meta.resource_version, "annotations": marks(intent, change.before)},
            "spec": change.spec,
        }
        ref = workloads(place.namespace, workload.kind, meta.name)
        said = await kube.patch(ref, body, intent, ctx)
        if isinstance(said, Ending):
            return said
        saved = self._saved(place, intent, change.before)
        return done(f"{workload.name} {change.words}", index=place.seen_at, saved=saved)

    def _again(self, place: Place, intent: Intent) -> Ending:
        saved = self._saved(place, intent, place.workload.metadata.note(BEFORE))
        sentence = f"{place.workload.name} was written by this very attempt already"
        return done(sentence, index=place.seen_at, saved=saved)

    def _saved(self, place: Place, intent: Intent, before: str) -> JsonObject:
        return {
            "action": self.name,
            "namespace": place.namespace,
            "workload": place.workload.name,
            "uid": place.workload.metadata.uid,
            "attempt": intent.id,
            "before": before,
        }


async def _kept(kube: Kube, saved: JsonObject, ctx: ActContext) -> Place:
    """The workload an earlier result names, as it is now."""
    namespace = str(saved["namespace"])
    refuse_foreign(namespace, ctx.settings.kubernetes)
    kind, _, name = str(saved["workload"]).partition("/")
    workload = await named(kube, namespace, kind, name)
    await refuse_own_workload(kube, namespace, workload, ctx.settings.kubernetes)
    return Place(namespace, workload)
