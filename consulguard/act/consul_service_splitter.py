"""``consul.service_splitter``: shift a share of a service's traffic to other subsets or services."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from consulguard.act.base import Strict
from consulguard.act.consul_entry import EntryAction
from consulguard.act.consul_service_resolver import camel
from consulguard.model import JsonObject


class Split(Strict):
    weight: float = Field(ge=0, le=100, allow_inf_nan=False)
    service: str = ""
    service_subset: str = ""
    namespace: str = ""
    partition: str = ""  # Consul 1.11 and later


class SplitterParams(Strict):
    splits: list[Split] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = round(sum(split.weight for split in self.splits), 2)
        if total != 100:
            raise ValueError(f"the weights must add up to 100, not {total:g}")
        return self


class ConsulServiceSplitter(EntryAction[SplitterParams]):
    """Write the target service's ``service-splitter``; Consul wants its protocol to be http."""

    name: ClassVar[str] = "consul.service_splitter"
    kind: ClassVar[str] = "service-splitter"
    Params: ClassVar[type[Strict]] = SplitterParams

    def fields(self, params: SplitterParams) -> JsonObject:
        return {
            "Splits": [camel({"weight": s.weight} | s.model_dump(exclude_defaults=True)) for s in params.splits]
        }
