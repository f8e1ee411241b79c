"""The Kubernetes API as the actions use it: any number of reads, at most one write, nothing repeated."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, NamedTuple, TypeVar

import aiohttp
import msgspec

from consulguard.act.base import ActContext, Ending, KubeSettings, failed, retry, unknown
from consulguard.act.text import masked, tidy
from consulguard.consulapi import segment
from consulguard.errors import ActionRefused, NotSent
from consulguard.model import Intent, JsonObject

T = TypeVar("T")

LIST_AT_MOST = 500  # objects; a workload with more of them is none a playbook should touch
MERGE = "application/strategic-merge-patch+json"
VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}
NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class Ref(NamedTuple):
    """One object, or with an empty name all of its kind in the namespace."""

    api: str  # "v1", "apps/v1"
    resource: str  # pods, deployments ...
    namespace: str  # empty for nodes
    name: str = ""
    sub: str = ""  # eviction

    @property
    def path(self) -> str:
        place = f"/namespaces/{segment(self.namespace)}" if self.namespace else ""
        root = f"/api{'' if self.api == 'v1' else 's'}/{self.api}{place}"
        return "/".join([root, *(segment(part) for part in (self.resource, self.name, self.sub) if part)])

    @property
    def right(self) -> str:
        """The resource as RBAC rules call it, and where."""
        group = self.api.rpartition("/")[0]
        kind = self.resource + (f"/{self.sub}" if self.sub else "") + (f".{group}" if group else "")
        return f"{kind} in namespace {self.namespace}" if self.namespace else f"{kind} in the cluster"

    def __str__(self) -> str:
        return f"{self.resource.removesuffix('s')}/{self.name}"


class _WriteOnce:
    """aiohttp repeats some methods on its own when a connection breaks; an effect must not be doubled."""

    def __init__(self) -> None:
        self._written = False

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if request.method != "GET":
            if self._written:
                raise aiohttp.ServerDisconnectedError("the connection broke after the request was sent")
            self._written = True
        return await handler(request)


@asynccontextmanager
async def cluster(ctx: ActContext) -> AsyncIterator[Kube]:
    """A connection for one action. ActionRefused when the configuration cannot be used."""
    async with connected(ctx.settings.kubernetes) as kube:
        yield kube


@asynccontextmanager
async def connected(settings: KubeSettings) -> AsyncIterator[Kube]:
    """A connection that writes once at most. ActionRefused when the configuration cannot be used."""
    # The library defines hundreds of classes: it is loaded when first needed, and the loop goes on meanwhile.
    library = await asyncio.to_thread(importlib.import_module, "kubernetes_asyncio.client")
    client = library.ApiClient(await _configuration(library, settings))
    inner = client.rest_client.pool_manager
    client.rest_client.pool_manager = aiohttp.ClientSession(  # as theirs, without proxies from the environment
        connector=inner.connector,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=(_WriteOnce(),),
        read_bufsize=2**21,
    )
    inner.detach()
    client.user_agent = "consulguard"
    try:
        yield Kube(client, settings.request_timeout_s)
    finally:
        await client.close()


async def _configuration(library: Any, settings: KubeSettings) -> Any:
    """Where the API server is and who we are: the kubeconfig, or the pod's own service account without one."""
    config = await asyncio.to_thread(importlib.import_module, "kubernetes_asyncio.config")
    yaml = importlib.import_module("yaml")  # the library reads the file with it
    found = library.Configuration()
    try:
        if settings.kubeconfig:
            await config.load_kube_config(
                config_file=settings.kubeconfig,
                context=settings.context or None,
                client_configuration=found,
                persist_config=False,
            )
        else:
            config.load_incluster_config(
                client_configuration=found,
                token_filename=f"{settings.service_account}/token",
                cert_filename=f"{settings.service_account}/ca.crt",
            )
    except (config.ConfigException, OSError, ValueError, TypeError, AssertionError, yaml.YAMLError) as error:
        where = settings.kubeconfig or "the pod's service account"
        flaw = "it is no YAML" if isinstance(error, yaml.YAMLError) else _flaw(error)
        raise ActionRefused(f"{where} cannot be used to reach Kubernetes: {flaw}") from None
    return found


def _flaw(error: Exception) -> str:
    """What is wrong, without the parts of the file that the library repeats: there are credentials in it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return tidy(masked(str(error).partition("{")[0]), 150) or type(error).__name__


class Kube:
    """Reads raise NotSent when the API server cannot tell now, ActionRefused when it will not."""

    def __init__(self, client: Any, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s

    async def read(self, ref: Ref, shape: type[T]) -> T | None:
        """The object, or None where there is none of that name."""
        return await self._read(ref, shape, {}, "get")

    async def list(self, ref: Ref, item: type[T], selector: str) -> list[T]:
        """All objects with these labels. NotSent when there are more than one answer holds."""
        query = {"limit": str(LIST_AT_MOST)} | ({"labelSelector": selector} if selector else {})
        found = await self._read(ref, _List[item], query, "list")  # type: ignore[valid-type]
        if found is not None and found.metadata.continue_:
            raise ActionRefused(f"more than {LIST_AT_MOST} {ref.right}: too many to judge")
        return list(found.items or ()) if found is not None else []

    async def _read(self, ref: Ref, shape: type[T], query: Mapping[str, str], verb: str) -> T | None:
        try:
            status, body = await self._ask("GET", ref, query=query)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise NotSent(f"nothing was changed: Kubernetes does not answer: {_words(error)}") from error
        if status == 404:
            return None
        if status in (401, 403):
            raise ActionRefused(_forbidden(verb, ref, status, body))
        if status != 200:
            raise NotSent(f"nothing was changed: Kubernetes answered {status}: {message(body)}")
        try:
            return msgspec.json.decode(body, type=shape)
        except msgspec.MsgspecError as error:
            raise NotSent(f"nothing was changed: Kubernetes' answer is not understood: {error}") from error

    async def rules(self, namespace: str) -> tuple[Rule, ...]:
        """What our account may do there, and to what is in no namespace. A question: it changes nothing."""
        ref = Ref("authorization.k8s.io/v1", "selfsubjectrulesreviews", "")
        try:
            status, body = await self._ask("POST", ref, body={"spec": {"namespace": namespace}})
            if status != 201:
                raise ActionRefused(_forbidden("create", ref, status, body))
            return msgspec.json.decode(body, type=_Review).status.resource_rules
        except (TimeoutError, aiohttp.ClientError, OSError, msgspec.MsgspecError) as error:
            raise NotSent(f"Kubernetes does not answer: {_words(error)}") from error

    async def patch(self, ref: Ref, body: JsonObject, intent: Intent, ctx: ActContext) -> JsonObject | Ending:
        """Change the object if it still is as it was read: ``body`` must hold its resourceVersion."""
        return await self._write("PATCH", ref, body, intent, ctx)

    async def post(self, ref: Ref, body: JsonObject, intent: Intent, ctx: ActContext) -> JsonObject | Ending:
        return await self._write("POST", ref, body, intent, ctx)

    async def delete(self, ref: Ref, body: JsonObject, intent: Intent, ctx: ActContext) -> JsonObject | Ending:
        return await self._write("DELETE", ref, body, intent, ctx)

    async def _write(
        self, method: str, ref: Ref, body: JsonObject, intent: Intent, ctx: ActContext
    ) -> JsonObject | Ending:
        """The one effect: what Kubernetes says of the object now, or how it ended otherwise."""
        try:
            with ctx.effect(intent):
                status, said = await self._ask(method, ref, body=body)
        except NOT_SENT as error:
            return retry(f"not sent: Kubernetes does not take connections: {_words(error)}")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return unknown(f"{ref}: no answer after the request was sent: {_words(error)}")
        return _judged(method, ref, status, said)

    async def _ask(
        self, method: str, ref: Ref, *, query: Mapping[str, str] | None = None, body: JsonObject | None = None
    ) -> tuple[int, bytes]:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = MERGE if method == "PATCH" else "application/json"
        answer = await self._client.call_api(
            ref.path,
            method,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=self._timeout_s,
        )
        async with answer:
            return answer.status, await answer.read()


class _ListMeta(msgspec.Struct, rename={"continue_": "continue"}):
    continue_: str = ""


class _List(msgspec.Struct, Generic[T]):
    items: list[T] | None = None
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)


class Rule(msgspec.Struct, rename="camel"):
    """One rule of RBAC. With names it is for these objects alone."""

    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()


class _Rules(msgspec.Struct, rename="camel"):
    resource_rules: tuple[Rule, ...] = ()


class _Review(msgspec.Struct):
    status: _Rules


class _Said(msgspec.Struct):
    """A ``Status`` object."""

    message: str = ""


def message(body: bytes) -> str:
    """Kubernetes' own sentence in an error answer."""
    try:
        return tidy(msgspec.json.decode(body, type=_Said).message, 250) or "no reason given"
    except msgspec.MsgspecError:
        return "no reason given"


def _judged(method: str, ref: Ref, status: int, body: bytes) -> JsonObject | Ending:
    said = message(body)
    if 200 <= status < 300:
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.MsgspecError:
            return unknown(f"{ref}: Kubernetes answered {status} with something that is not understood")
    match status:
        case 401 | 403:
            return failed(_forbidden(VERBS[method], ref, status, body))
        case 404:
            return failed(f"{ref} is gone")
        case 409:
            return retry(f"{ref} was changed by someone else since it was read, so nothing was done: {said}")
        case 429:
            return retry(f"Kubernetes does not let {ref} go now: {said}")
        case _ if status >= 500:  # a server that fails may fail after it has done it
            return unknown(f"{ref}: Kubernetes answered {status}: {said}")
        case _:
            return failed(f"{ref}: Kubernetes answered {status}: {said}")


def _forbidden(verb: str, ref: Ref, status: int, body: bytes) -> str:
    if status == 401:
        return f"Kubernetes does not know our credentials, so it does not let us {verb} {ref.right}"
    return f"Kubernetes does not let us {verb} {ref.right}: {message(body)}"


def _words(error: Exception) -> str:
    return tidy(str(error), 150) or type(error).__name__
