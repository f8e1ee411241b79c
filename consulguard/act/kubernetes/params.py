"""Parameters of the Kubernetes actions: names as Kubernetes itself allows them, nothing else."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator

from consulguard.act.base import Strict

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOTTED = rf"{_LABEL}(\.{_LABEL})*"
KUBE_SYSTEM = "kube-system"

Label = Annotated[str, StringConstraints(pattern=rf"^{_LABEL}$")]
Name = Annotated[str, StringConstraints(pattern=rf"^{_DOTTED}$", max_length=253)]
WorkloadName = Annotated[
    str, StringConstraints(pattern=rf"^(deployment|statefulset|daemonset)/{_DOTTED}$", max_length=253)
]


class InNamespace(Strict):
    namespace: Label

    @field_validator("namespace")
    @classmethod
    def _not_the_clusters_own(cls, namespace: str) -> str:
        if namespace == KUBE_SYSTEM:
            raise ValueError(f"the namespace {KUBE_SYSTEM} is never acted upon")
        return namespace


class PodParams(InNamespace):
    pod: Name
    grace_period: int | None = Field(default=None, ge=1, le=3600)  # seconds; None: the pod's own


class WorkloadParams(InNamespace):
    """A workload by its name, by one of its pods, or by the Kubernetes service in front of it."""

    workload: WorkloadName | None = None
    pod: Name | None = None
    service: Label | None = None

    @model_validator(mode="after")
    def _one(self) -> WorkloadParams:
        if [self.workload, self.pod, self.service].count(None) != 2:
            raise ValueError("exactly one of workload, pod and service must be given")
        return self

    @property
    def named(self) -> str:
        """How the playbook names it."""
        if self.workload is not None:
            return f"{self.namespace}/{self.workload}"
        how = f"pod {self.pod}" if self.pod is not None else f"service {self.service}"
        return f"the workload of {how} in namespace {self.namespace}"
