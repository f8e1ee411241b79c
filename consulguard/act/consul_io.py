"""Consul as the actions use it: reads before an effect (where nothing was sent yet), and answers to writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from consulguard.act.base import ActContext
from consulguard.consulapi import Answer
from consulguard.errors import BadAnswer, ConsulUnavailable, NotSent
from consulguard.model import Target


def scope_params(target: Target, *, namespace: bool = True) -> dict[str, str]:
    """Where a request goes: datacenter, and namespace and partition where they are not the default ones."""
    found = {"dc": target.dc, "partition": target.partition, "ns": target.namespace if namespace else ""}
    return {k: v for k, v in found.items() if v and (k == "dc" or v != "default")}


async def read(
    ctx: ActContext, path: str, *, params: Mapping[str, str] | None = None, address: str | None = None
) -> Answer | None:
    """A GET, ``?consistent`` unless it is one agent's own; None for 404.

    Raises NotSent when Consul cannot tell now, ConsulRefused when it will not.
    """
    consistency: Literal["default", "consistent"] = "default" if address else "consistent"
    try:
        answer = await ctx.consul.get(
            path, params=params, consistency=consistency, address=address, missing_ok=True
        )
    except (ConsulUnavailable, BadAnswer) as error:
        raise NotSent(f"nothing was changed: {error}") from error
    return None if answer.status == 404 else answer


def decode(answer: Answer, shape: Any) -> Any:
    """The body of a read as ``shape``; NotSent for a body that is something else."""
    try:
        return answer.json(shape)
    except BadAnswer as error:
        raise NotSent(f"nothing was changed: {error}") from error


def said_yes(answer: Answer) -> bool:
    """Consul's answer to a cas write. Raises BadAnswer for anything but true or false."""
    return answer.json(bool)


def sentence_of(error: Exception) -> str:
    """Consul's own words in an error of the client."""
    text = str(error)
    _, mark, said = text.partition(": HTTP ")
    return said.partition(": ")[2] or text if mark else text
