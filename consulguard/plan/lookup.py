"""Look-ups: ``${path.to.value}`` in a step's parameters, over plain data, once.

There is no expression, no attribute access and no second pass: a value that itself looks like a look-up stays as
it is. Every value is text. Some parameters are more than text to the world, so what may be put into them is
narrower: ``argv`` (each look-up is one whole item of safe characters), ``url`` and ``path`` (percent-encoded,
never in the host), ``key`` (one path segment) and ``query`` (a label value of PromQL, escaped).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from consulguard.model import Incident, JsonObject, Playbook, Subject
from consulguard.plan import promql
from consulguard.plan.duration import shorten
from consulguard.plan.promql import LOOKUP as _LOOKUP
from consulguard.plan.yaml import Path

ROOTS = (
    "incident.id",
    "incident.root.kind",
    "incident.root.name",
    "incident.root.datacenter",
    "incident.root.node",
    "incident.root.instance",
    "playbook.name",
    "target.service",
    "target.instance",
    "target.node",
    "target.zone",
    "target.datacenter",
    "target.partition",
    "target.namespace",
    "target.peer",
    "target.scope",
    "target.role",
    "target.state",
    "target.tags",
)
META = "target.meta."
# What a Kubernetes action is aimed at: nothing but what consul-k8s wrote about the target may choose it.
IN_KUBERNETES = {
    "pod": ("${target.meta.pod-name}",),
    "namespace": ("${target.meta.k8s-namespace}",),
    "service": ("${target.meta.k8s-service-name}",),
    "node": ("${target.node}", "${target.meta.k8s-node-name}"),
}
IN_ARGV = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,127}")  # no option, no path, nothing a shell would read

_META_KEY = re.compile(r"[A-Za-z0-9._/:@-]{1,128}")
_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[^\\]*)?(\?[^\\]*)?")
_ABSENT = {  # what a target of this scope never has
    "instance": (),
    "service": ("target.instance", "target.node"),
    "node": ("target.instance", "target.service"),
    "zone": ("target.instance", "target.service", "target.node"),
    "any": (),
}


# ---- at load


def check_paths(params: JsonObject, scope_name: str = "any") -> Iterator[tuple[Path, str]]:
    """Everything wrong with the look-ups of these parameters: where, and a sentence. Empty when all is well."""
    yield from _check(params, (), scope_name)
    yield from _check_argv(params.get("argv"))
    yield from _check_url(params.get("url"))
    query = params.get("query")
    if isinstance(query, str):
        yield from ((("query",), sentence) for sentence in promql.check(query))
    body = params.get("body")
    if _has_lookup(body) and not _LOOKUP.fullmatch(str(body)):
        yield ("body",), "a look-up inside a text body could break its form: write the body as a mapping"
    for verb in ("method", "scope", "host", "workload"):
        if _has_lookup(params.get(verb)):
            yield (verb,), "a look-up may not choose what is done, or where: write the value out"


def check_kubernetes(params: JsonObject) -> Iterator[tuple[Path, str]]:
    """What is wrong with the parameters of a Kubernetes action that say what it is aimed at."""
    for name, allowed in IN_KUBERNETES.items():
        value = params.get(name)
        if not isinstance(value, str) or value in allowed:
            continue
        if name == "pod":
            yield (name,), f"a pod is found by its instance only: write {allowed[0]}"
        elif _has_lookup(value):
            yield (
                (name,),
                f"a look-up may not choose what is acted upon: only {' or '.join(allowed)} may stand here",
            )


def _check(value: Any, path: Path, scope_name: str) -> Iterator[tuple[Path, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if "${" in key or "{{" in key:
                yield (*path, key), "a key may not hold a look-up: look-ups are for values only"
            yield from _check(inner, (*path, key), scope_name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _check(inner, (*path, index), scope_name)
    elif isinstance(value, str):
        for sentence in _check_text(value, scope_name):
            yield path, sentence


def _check_text(text: str, scope_name: str) -> Iterator[str]:
    rest = _LOOKUP.sub("", text)
    if "{{" in rest or "${" in rest:
        yield f"{shorten(text)} has a piece of a template left over: look-ups are written ${{path.to.value}}"
    for path in _LOOKUP.findall(text):
        problem = _check_path(path, scope_name)
        if problem:
            yield problem


def _check_path(path: str, scope_name: str) -> str:
    if path.startswith(META):
        good = _META_KEY.fullmatch(path.removeprefix(META))
        return "" if good else f"{shorten(path)} does not name a meta key"
    if path not in ROOTS:
        return f"there is no value {shorten(path)} to look up: see docs/playbooks.md for the paths"
    if path in _ABSENT.get(scope_name, ()):
        return f"{path} is empty for a target of scope {scope_name}"
    return ""


def _check_argv(argv: Any) -> Iterator[tuple[Path, str]]:
    if argv is None:
        return
    if not isinstance(argv, list) or not argv or not all(isinstance(a, str) for a in argv):
        yield ("argv",), "must be a list of texts, the command first: no shell is involved"
        return
    if _has_lookup(argv[0]):
        yield ("argv", 0), "a look-up may not choose the command: write it out"
    for index, item in enumerate(argv):
        if _has_lookup(item) and not _LOOKUP.fullmatch(item):
            yield ("argv", index), "a look-up must be the whole item: split the text into items"


def _check_url(url: Any) -> Iterator[tuple[Path, str]]:
    if not isinstance(url, str):
        return
    authority = re.match(r"[^/]*//[^/?#]*", url)
    if _has_lookup(authority[0] if authority else url):
        yield ("url",), "the host may not hold a look-up: write it out, and look up only in the path or query"
    elif not _URL.fullmatch(url):
        yield (
            ("url",),
            "must be http:// or https://, a host name, a port if needed, and a path; no user, no backslash",
        )


def _has_lookup(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


# ---- at run time


def scope(incident: Incident, subject: Subject, playbook: Playbook) -> JsonObject:
    """All that may be looked up, as plain nested text."""
    target, root = subject.target, incident.root
    return {
        "incident": {
            "id": incident.id,
            "root": {
                "kind": root.kind,
                "name": root.name,
                "datacenter": root.datacenter,
                "node": root.node,
                "instance": root.instance,
            },
        },
        "playbook": {"name": playbook.id},
        "target": {
            "service": target.service,
            "instance": target.instance,
            "node": target.node,
            "zone": subject.zone,
            "datacenter": target.dc,
            "partition": target.partition,
            "namespace": target.namespace,
            "peer": target.peer,
            "scope": subject.scope,
            "role": str(subject.role),
            "state": str(subject.state),
            "tags": ",".join(subject.tags),
            "meta": dict(subject.meta),
        },
    }


def fill(params: JsonObject, data: Mapping[str, Any]) -> JsonObject:
    """The parameters with every look-up replaced, in a single pass.

    Raises LookupError, with a sentence, if a value is missing, empty, or not safe where it would go.
    """
    return {key: _fill(value, data, key) for key, value in params.items()}


def _fill(value: Any, data: Mapping[str, Any], where: str) -> Any:
    if isinstance(value, dict):
        return {key: _fill(inner, data, "") for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, data, where) for inner in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    if where == "query":
        return promql.fill(value, lambda path: _fit(path, look_up(data, path), where))
    filled = _LOOKUP.sub(lambda found: _fit(found[1], look_up(data, found[1]), where), value)
    if where in ("url", "path", "key") and {".", ".."} & set(re.split(r"[/?#]", filled)):
        raise LookupError(f"{shorten(filled)} would step out of its path")
    return filled


def look_up(data: Mapping[str, Any], path: str) -> str:
    """The text at ``path``. Raises LookupError if there is none or it is empty."""
    value: Any = data
    parts = path.split(".")
    if path.startswith(META):
        parts = ["target", "meta", path.removeprefix(META)]
    for part in parts:
        value = value.get(part) if isinstance(value, Mapping) else None
    if not isinstance(value, str) or not value:
        raise LookupError(f"{path} has no value")
    return value


def _fit(path: str, value: str, where: str) -> str:
    """A looked-up value as it may stand in this parameter."""
    if where == "argv" and not IN_ARGV.fullmatch(value):
        raise LookupError(f"the value of {path} is not safe in a command: {shorten(value)}")
    if where == "key" and "/" in value:
        raise LookupError(f"the value of {path} may not hold a slash in a key: {shorten(value)}")
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in value):
        raise LookupError(f"the value of {path} has control characters: {shorten(value)}")
    return quote(value, safe="") if where in ("url", "path") else value
