"""Consul's JSON as typed structs, and what one check's record means.

Field names are Consul's own. Only what is used is named: decoding skips the rest, which is what makes it cheap.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from consulguard.errors import BadAnswer
from consulguard.model import Status, Target

OUTPUT_BYTES = 4096  # of a check's output that are kept
NODE_MAINTENANCE = "_node_maintenance"
SERVICE_MAINTENANCE = "_service_maintenance:"

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|us|µs|ns|h|m|s)", re.ASCII)
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_RUN_BY_AGENT = ("http", "tcp", "grpc", "h2ping", "udp")  # check types whose every run leaves an output
_ALIAS_OF_NOTHING = "failing:"  # how an alias ends that quotes the empty output of the check it stands for
_STATUSES = {s.value: s for s in (Status.PASSING, Status.WARNING, Status.CRITICAL)}
_RANK = {
    Status.PASSING: 0,
    Status.MAINTENANCE: 1,
    Status.WARNING: 2,
    Status.UNKNOWN: 3,
    Status.CRITICAL: 4,
}


class Definition(msgspec.Struct, gc=False):
    Interval: str | None = None


class Check(msgspec.Struct, gc=False):
    """One health check, as all ``/v1/health`` endpoints give it."""

    Node: str
    CheckID: str
    Status: str | None = None
    Name: str | None = ""
    Output: str | None = ""
    ServiceID: str | None = ""
    ServiceName: str | None = ""
    Type: str | None = ""
    Interval: str | None = ""
    Definition: Definition | None = None
    Namespace: str | None = ""
    Partition: str | None = ""
    PeerName: str | None = ""
    ModifyIndex: int = 0


class Locality(msgspec.Struct, gc=False):
    Region: str | None = ""
    Zone: str | None = ""


class Node(msgspec.Struct):
    Node: str
    Address: str | None = ""
    Datacenter: str | None = ""
    Meta: dict[str, str] | None = None
    Partition: str | None = ""
    PeerName: str | None = ""
    Locality: Locality | None = None


class ProxyUpstream(msgspec.Struct):
    DestinationName: str | None = ""
    DestinationType: str | None = ""
    DestinationNamespace: str | None = ""
    DestinationPartition: str | None = ""
    DestinationPeer: str | None = ""
    Datacenter: str | None = ""


class Proxy(msgspec.Struct):
    DestinationServiceName: str | None = ""
    DestinationServiceID: str | None = ""
    Upstreams: list[ProxyUpstream] | None = None


class Service(msgspec.Struct):
    """A registered instance."""

    ID: str
    Service: str
    Kind: str | None = ""
    Address: str | None = ""
    Port: int = 0
    Tags: list[str] | None = None
    Meta: dict[str, str] | None = None
    Proxy: Proxy | None = None
    Namespace: str | None = ""
    Partition: str | None = ""
    PeerName: str | None = ""
    Locality: Locality | None = None
    ModifyIndex: int = 0


class Entry(msgspec.Struct):
    """One line of ``/v1/health/service/:name``."""

    Node: Node
    Service: Service
    Checks: list[Check] | None = None


class NodeServices(msgspec.Struct):
    """``/v1/catalog/node/:name``."""

    Node: Node
    Services: dict[str, Service] | None = None


class UiService(msgspec.Struct):
    """One line of ``/v1/internal/ui/services``: an unstable endpoint, so everything may be missing."""

    Name: str
    Kind: str | None = ""
    Tags: list[str] | None = None
    Nodes: list[str] | None = None
    InstanceCount: int = 0
    ProxyFor: list[str] | None = None
    Namespace: str | None = ""
    Partition: str | None = ""
    PeerName: str | None = ""


class KvPair(msgspec.Struct):
    Key: str
    Value: str | None = None  # base64


class Scope(msgspec.Struct, frozen=True):
    """The names that stand around every other name."""

    dc: str

    def service(self, name: str, namespace: str | None, partition: str | None, peer: str | None = "") -> Target:
        return Target(
            dc=self.dc,
            partition=partition or "default",
            namespace=namespace or "default",
            peer=peer or "",
            service=name,
        )

    def node(self, name: str, partition: str | None, peer: str | None = "") -> Target:
        return Target(dc=self.dc, partition=partition or "default", peer=peer or "", node=name)

    def check(self, check: Check) -> Target:
        """Whom a check is about: an instance, or its node."""
        if not check.ServiceID:
            return self.node(check.Node, check.Partition, check.PeerName)
        return Target(
            dc=self.dc,
            partition=check.Partition or "default",
            namespace=check.Namespace or "default",
            peer=check.PeerName or "",
            service=check.ServiceName or check.ServiceID,
            node=check.Node,
            instance=check.ServiceID,
        )


def status_of(check: Check) -> Status:
    """A maintenance check is a planned state; a word Consul does not define is ``unknown``, never a guess."""
    if check.CheckID == NODE_MAINTENANCE or check.CheckID.startswith(SERVICE_MAINTENANCE):
        return Status.PASSING if check.Status == "passing" else Status.MAINTENANCE
    return _STATUSES.get(check.Status or "", Status.UNKNOWN)


def is_odd(check: Check) -> bool:
    """Whether Consul does not define the check's status: no health feed shows it then."""
    return (check.Status or "") not in _STATUSES


def may_not_have_run(check: Check) -> bool:
    """Whether a critical check may only wait for its first run: an agent that starts calls each of its checks
    critical until then. (It may also have failed ever since: agents tell a mere change of output minutes later.)
    """
    output = (check.Output or "").rstrip()
    if check.Status != "critical":
        return False
    if check.Type == "alias":
        return output.endswith(_ALIAS_OF_NOTHING)
    return not output and check.Type in _RUN_BY_AGENT


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of several things; passing when there is none."""
    return max(statuses, key=lambda s: _RANK.get(s, 3), default=Status.PASSING)


def instance_status(checks: Iterable[Check]) -> Status:
    """Of one instance, by its own and its node's checks: maintenance is planned, so it hides the rest."""
    statuses = [status_of(c) for c in checks]
    return Status.MAINTENANCE if Status.MAINTENANCE in statuses else worst(statuses)


def clip(output: str | None) -> str:
    """At most ``OUTPUT_BYTES`` of a check's output; what was left out is counted."""
    if not output or len(output) * 4 <= OUTPUT_BYTES:
        return output or ""
    raw = output.encode("utf-8", "replace")
    if len(raw) <= OUTPUT_BYTES:
        return output
    return f"{raw[:OUTPUT_BYTES].decode('utf-8', 'ignore')}… (+{len(raw) - OUTPUT_BYTES} bytes)"


def interval_s(check: Check) -> float | None:
    """The check's interval in seconds, as far as the server tells it (older ones do not)."""
    text = check.Interval or (check.Definition.Interval if check.Definition else "") or ""
    parts = _DURATION.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text:
        return None
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts) or None


def refuse_duplicate_keys(body: bytes, key: str, expected: int) -> None:
    """Raise ``BadAnswer`` when an object names ``key`` twice: two readers would see two different answers.

    The count of the quoted key is exact enough to be cheap; only when it is odd is the body read the slow way.
    """
    if body.count(f'"{key}":'.encode()) <= expected:
        return

    def once(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) != len(pairs):
            raise BadAnswer(f"an object in the answer has a key twice (among them {key!r})")

    try:
        json.loads(body, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"not JSON: {error}") from error
