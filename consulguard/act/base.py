"""What every action has in common: its parameters, its settings, its context, and how it ends.

An action is a class with no arguments, named in the entry-point group ``consulguard.actions``. It derives from
``Action``, declares what it can do to the world, and writes ``preview`` and ``do``; ``restore`` and ``seen`` where
it can undo and look back. ``act/runner.py`` is the only caller.
"""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar, cast

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError

from consulguard.act.prometheus_io import Prometheus
from consulguard.clock import Clock
from consulguard.consulapi import ConsulClient
from consulguard.errors import ActionRefused, BadAnswer, ConsulRefused, ConsulUnavailable, NotSent
from consulguard.model import ActionInfo, Intent, JsonObject, Outcome, Result, Target, Value

# ---- settings and context


class HttpHost(Value, frozen=True, kw_only=True):
    """One origin ``http.request`` may talk to. ``name`` is what the operator calls it."""

    name: str = ""
    url: str  # scheme://host[:port], nothing else; compared exactly
    private: bool = False  # may resolve to private or loopback addresses; never to link-local or metadata ones
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)  # sent and never shown: for credentials


class SshSettings(Value, frozen=True, kw_only=True):
    """How ``ssh.run`` reaches a node: one user, one key, and machines ``known_hosts`` has by node name."""

    user: str
    key_file: str
    known_hosts: str
    hosts: dict[str, tuple[str, int]] = msgspec.field(default_factory=dict)  # node -> host, port
    port: int = 22  # where the address is the catalog's
    wrapper: bool = True  # whether the key's forced command is consulguard-exec
    connect_timeout_s: float = 10.0


class KubeSettings(Value, frozen=True, kw_only=True):
    """The Kubernetes cluster, and what in it may be touched. Empty namespaces and no ``cordon``: nothing."""

    kubeconfig: str = ""  # path; empty: the pod's own service account
    context: str = ""  # of the kubeconfig; empty: its current one
    namespaces: tuple[str, ...] = ()
    cordon: bool = False  # nodes are in no namespace
    request_timeout_s: float = 10.0
    service_account: str = "/var/run/secrets/kubernetes.io/serviceaccount"  # where a pod finds its own
    own_namespace: str = ""  # where we ourselves run, if in the cluster
    own_pod: str = ""


class ActSettings(Value, frozen=True, kw_only=True):
    """What the operator lets actions do. Empty allow-lists allow nothing."""

    allowed_hosts: tuple[HttpHost, ...] = ()
    allowed_commands: tuple[str, ...] = ()  # absolute paths, compared exactly with argv[0]
    agent_scheme: str = "http"
    agent_port: int = 8500
    agent_address: str = ""  # template for a node's agent: {scheme} {node} {address} {port}
    agent_addresses: dict[str, str] = msgspec.field(default_factory=dict)  # node -> address, before the template
    prometheus: Prometheus | None = None
    primary_datacenter: str = ""  # config entries are written there, so cas needs its indexes; empty: our own
    ssh: SshSettings | None = None  # None: ssh.run reaches nothing
    kubernetes: KubeSettings = KubeSettings()
    kill_grace_s: float = 2.0  # between SIGTERM and SIGKILL of a command that overran its deadline


def _no_failpoint(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActContext:
    """What an action works with. One context serves all actions of a process."""

    consul: ConsulClient
    clock: Clock
    settings: ActSettings = field(default_factory=ActSettings)
    fence: Callable[[], int]  # the lease's present epoch
    failpoint: Callable[[str], None] = _no_failpoint

    def gate(self, intent: Intent) -> None:
        """Raise unless the intent may be sent at this moment."""
        if intent.dry_run:
            raise ActionRefused("a dry run sends nothing")
        if self.clock.now() >= intent.expires_at:
            raise NotSent(f"not sent: the intent expired at {intent.expires_at:%H:%M:%S} UTC")
        epoch = self.fence()
        if intent.epoch != epoch:
            raise NotSent(f"not sent: the intent is of epoch {intent.epoch}, the lease of epoch {epoch}")

    @contextmanager
    def effect(self, intent: Intent) -> Iterator[None]:
        """Put this around the one call that changes the world: it checks at the last moment."""
        self.failpoint("act.before_send")
        self.gate(intent)
        yield
        self.failpoint("act.after_send")


# ---- how an action ends


class Ending(Value, frozen=True, kw_only=True):
    """An outcome with its sentence; the runner adds who and when."""

    outcome: Outcome
    detail: str
    index: int = 0  # a Consul index from before the effect was visible: newer looks show the world after it
    saved: JsonObject | None = None

    def result(self, intent: Intent, started: Any, ended: Any) -> Result:
        return Result(
            intent_id=intent.id,
            outcome=self.outcome,
            detail=self.detail,
            started_at=started,
            ended_at=ended,
            index=self.index,
            saved=self.saved,
        )


def done(detail: str, *, index: int = 0, saved: JsonObject | None = None) -> Ending:
    return Ending(outcome=Outcome.DONE, detail=detail, index=index, saved=saved)


def failed(detail: str) -> Ending:
    return Ending(outcome=Outcome.FAILED, detail=detail)


def unknown(detail: str) -> Ending:
    return Ending(outcome=Outcome.UNKNOWN, detail=detail)


def retry(detail: str) -> Ending:
    return Ending(outcome=Outcome.RETRY, detail=detail)


def ending_of(error: Exception) -> Ending:
    """What an error says about the effect. Whatever we cannot place may have happened: UNKNOWN."""
    text = str(error) or type(error).__name__
    match error:
        case NotSent() | ConsulUnavailable(sent=False) | ConsulUnavailable(status=429):  # 429: busy, not taken
            return retry(text)
        case ActionRefused() | ConsulRefused():
            return failed(text)
        case ConsulUnavailable() | BadAnswer():
            return unknown(text)
        case _:
            return unknown(f"{type(error).__name__}: {text}")


# ---- parameters


class Strict(BaseModel):
    """Unknown names and look-alike types are refused; the value itself stays out of the error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


P = TypeVar("P", bound=Strict)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_INSTANCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:/@+=~-]{0,254}")


def safe_name(name: str) -> bool:
    """Whether a name from Consul may appear in a command or an address: no option, no path, no look-alike."""
    return _NAME.fullmatch(name) is not None


def safe_instance(name: str) -> bool:
    """As ``safe_name`` for instance ids, which may also hold ``: / @ + = ~`` but no dot segment."""
    return _INSTANCE.fullmatch(name) is not None and not {"", ".", ".."} & set(name.split("/"))


def check_target(target: Target) -> None:
    """Raise ActionRefused for a target whose names we would not put into a request."""
    for what in ("dc", "partition", "namespace", "service", "node"):
        name = getattr(target, what)
        if name and not safe_name(name):
            raise ActionRefused(f"unsafe {what} name {name[:80]!a}: never acted upon")
    if target.instance and not safe_instance(target.instance):
        raise ActionRefused(f"unsafe instance id {target.instance[:80]!a}: never acted upon")
    if target.peer:
        raise ActionRefused(f"{target.name} belongs to peer {target.peer[:80]!a}: only its own side can act on it")


def _sentence(model: type[Strict], error: ValidationError) -> str:
    parts = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(str(p) for p in item["loc"])
        text = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(item["loc"][-1]), model.model_fields, n=1)
            text = "unknown parameter" + (f", did you mean {near[0]}?" if near else "")
        parts.append(f"{where}: {text}" if where else text)
    return "; ".join(parts)


# ---- the action


class Action(ABC, Generic[P]):
    """One thing that can be done to the world.

    ``idempotent``: doing it twice is doing it once, so it may be re-driven after UNKNOWN. Where only the caller
    can know, ``idempotent_param`` is set and the params carry ``idempotent: true|false``.
    """

    name: ClassVar[str]
    Params: ClassVar[type[Strict]]
    touches: ClassVar[str]  # instance, node, service, nothing
    idempotent: ClassVar[bool] = False
    idempotent_param: ClassVar[bool] = False
    undoable: ClassVar[bool] = False  # restores by itself what it changed; needs no params for that
    destructive: ClassVar[bool] = False
    overtime_s: ClassVar[float] = 0.0  # it keeps ``intent.timeout_s`` itself and needs this long to clean up

    @classmethod
    def info(cls) -> ActionInfo:
        """What the quiet rooms know of this action."""
        return ActionInfo(
            name=cls.name,
            idempotent=cls.idempotent,
            touches=cls.touches,
            undoable=cls.undoable,
            destructive=cls.destructive,
            idempotent_param=cls.idempotent_param,
        )

    def parse(self, target: Target, params: JsonObject) -> P:
        """Validated params. Raises ActionRefused with one sentence; looks at nothing outside."""
        self.check_target(target)
        try:
            return cast(P, self.Params.model_validate(params))
        except ValidationError as error:
            raise ActionRefused(f"{self.name}: {_sentence(self.Params, error)}") from None

    def check_target(self, target: Target) -> None:
        """Raise ActionRefused for a target this action cannot or must not work on."""
        check_target(target)

    @abstractmethod
    def preview(self, intent: Intent, params: JsonObject) -> str:
        """What exactly would be sent, secrets masked. No I/O. Raises ActionRefused as ``parse`` does."""

    @abstractmethod
    async def do(self, params: P, intent: Intent, ctx: ActContext) -> Ending:
        """Do it. Errors of the tree are translated by ``ending_of``; cancelling must leave nothing running."""

    async def restore(self, intent: Intent, ctx: ActContext) -> Ending:
        """Put back what ``do`` changed, from ``intent.saved``; by default: run the undo step's own params."""
        return await self.do(self.parse(intent.target, intent.params), intent, ctx)

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        """After UNKNOWN, by reading only: DONE, RETRY (certainly not done) or UNKNOWN."""
        return Outcome.UNKNOWN

    async def ready(self, intent: Intent, ctx: ActContext) -> str:
        """Why not now, in a sentence; empty: nothing is against it. Asked just before the effect; only reads."""
        return ""

    async def run(self, intent: Intent, ctx: ActContext) -> Result:
        """Do the intent once. Raises what went wrong; ``runner.perform`` makes a Result of it."""
        started = ctx.clock.now()
        ending = await self.do(self.parse(intent.target, intent.params), intent, ctx)
        return ending.result(intent, started, ctx.clock.now())

    async def undo(self, intent: Intent, ctx: ActContext) -> Result:
        """Undo an earlier intent of this action; ``intent.saved`` is what its result saved."""
        started = ctx.clock.now()
        self.check_target(intent.target)
        ending = await self.restore(intent, ctx)
        return ending.result(intent, started, ctx.clock.now())

    async def probe(self, intent: Intent, ctx: ActContext) -> Outcome:
        """Whether an intent of unknown outcome happened. Only reads."""
        self.check_target(intent.target)
        return await self.seen(intent, ctx)

    def own(self, intent: Intent) -> JsonObject | None:
        """What this action saved, or None where nothing was saved or another action saved it."""
        saved = intent.saved
        return saved if saved is not None and saved.get("action") == self.name else None


__all__ = [
    "ActContext",
    "ActSettings",
    "Action",
    "Ending",
    "HttpHost",
    "KubeSettings",
    "SshSettings",
    "Strict",
    "check_target",
    "done",
    "ending_of",
    "failed",
    "retry",
    "safe_instance",
    "safe_name",
    "unknown",
]
