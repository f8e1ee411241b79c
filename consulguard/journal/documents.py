"""Journal entries as documents of the Elastic Common Schema: what decides a search is lifted out of the body."""

from __future__ import annotations

from typing import Any

import msgspec

from consulguard import __version__
from consulguard.model import Entry, JsonObject, Value

ECS_VERSION = "8.11.0"
BODY_MAX = 512 * 1024  # bytes; a larger body stays in the journal alone
OUTCOMES = {"DONE": "success", "FAILED": "failure", "RETRY": "failure", "UNKNOWN": "unknown"}
PLACE = {"dc": "datacenter", "service": "service", "node": "node", "instance": "instance"}


class Document(Value, frozen=True, kw_only=True):
    """``id`` is the entry's hash: the same entry sent twice is the same document."""

    id: str
    seq: int
    source: JsonObject


def document(entry: Entry) -> Document:
    """The entry, to be searched."""
    body = _body(entry)
    action = str(body.get("event") or body.get("effect") or entry.kind)
    inner: JsonObject = next((body[k] for k in ("intent", "result") if isinstance(body.get(k), dict)), {})
    ours: JsonObject = {"kind": entry.kind, "epoch": entry.epoch, "version": entry.version}
    ours |= _lifted(action, body, inner)
    if len(entry.body) <= BODY_MAX:
        ours["body"] = body
    else:
        ours["left_out"] = len(entry.body)
    source: JsonObject = {
        "@timestamp": entry.at.isoformat(),
        "message": _sentence(action, body, inner),
        "ecs": {"version": ECS_VERSION},
        "event": _event(entry, action, inner),
        "service": {"name": "consulguard", "version": __version__},
        "consulguard": ours,
    }
    if who := str(body.get("who", "")):
        source["user"] = {"name": who}
    if playbook := str(inner.get("playbook", "")):
        source["rule"] = {"name": playbook}
    return Document(id=entry.hash, seq=entry.seq, source=source)


def _event(entry: Entry, action: str, inner: JsonObject) -> JsonObject:
    found: JsonObject = {
        "kind": "event",
        "module": "consulguard",
        "dataset": "consulguard.journal",
        "action": action,
        "sequence": entry.seq,
        "hash": entry.hash,
    }
    if "outcome" in inner:
        found["outcome"] = OUTCOMES.get(str(inner["outcome"]), "unknown")
    return found


def _body(entry: Entry) -> JsonObject:
    try:
        found: Any = msgspec.json.decode(entry.body)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _lifted(action: str, body: JsonObject, inner: JsonObject) -> JsonObject:
    """The target, and what the entry is about, as keywords."""
    found: JsonObject = {}
    target = inner.get("target") or body.get("target")
    if isinstance(target, dict):
        found["target"] = {name: str(target[key]) for key, name in PLACE.items() if target.get(key)}
    named = {
        "intent": inner.get("id") or inner.get("intent_id"),
        "incident": inner.get("incident_id") or _args(body).get("incident"),
        "action": inner.get("action"),
        "command": body.get("command"),
        "reason": body.get("reason") or inner.get("detail"),
    }
    found |= {name: str(value) for name, value in named.items() if value}
    if action == "Observed":
        found["observations"] = len(body.get("observations") or ())
    return found


def _args(body: JsonObject) -> JsonObject:
    args = body.get("args")
    return args if isinstance(args, dict) else {}


def _sentence(action: str, body: JsonObject, inner: JsonObject) -> str:
    """What a person reads in the list of documents."""
    target = inner.get("target")
    where = next((target[k] for k in ("instance", "service", "node") if target.get(k)), "") if target else ""
    words = {
        "Do": f"do {inner.get('action', '')} on {where}",
        "Resulted": f"{inner.get('outcome', '')}: {inner.get('detail', '')}",
        "Commanded": f"{body.get('who', '')}: {body.get('command', '')}",
        "Observed": f"{len(body.get('observations') or ())} checks observed",
        "LeaseChanged": f"lease {'held' if body.get('held') else 'not held'}: {body.get('reason', '')}",
    }
    return words.get(action, action)


def index_template() -> JsonObject:
    """For Elasticsearch's ``PUT /_index_template/consulguard``: both streams, ours above the built-in ``logs``."""
    keyword: JsonObject = {"type": "keyword", "ignore_above": 1024}
    target = dict.fromkeys(PLACE.values(), keyword)
    named = ("kind", "intent", "incident", "action", "command", "reason")
    ours: JsonObject = {
        **dict.fromkeys(named, keyword),
        **{name: {"type": "long"} for name in ("epoch", "version", "observations", "left_out")},
        "target": {"properties": target},
        "body": {"type": "object", "enabled": False},  # kept, not searched: it has as many fields as the mesh has
    }
    event = ("kind", "module", "dataset", "action", "outcome", "hash")
    properties: JsonObject = {
        "@timestamp": {"type": "date"},
        "message": {"type": "match_only_text"},
        "ecs": {"properties": {"version": keyword}},
        "event": {"properties": {**dict.fromkeys(event, keyword), "sequence": {"type": "long"}}},
        "error": {"properties": {"message": {"type": "match_only_text"}, "stack_trace": {"type": "wildcard"}}},
        "log": {"properties": {"level": keyword, "logger": keyword}},
        "process": {"properties": {"pid": {"type": "long"}}},
        "service": {"properties": {"name": keyword, "version": keyword}},
        "user": {"properties": {"name": keyword}},
        "rule": {"properties": {"name": keyword}},
        "consulguard": {"properties": ours},
    }
    return {
        "index_patterns": ["logs-consulguard.*-*"],
        "data_stream": {},
        "priority": 250,
        "template": {
            "settings": {"index.mapping.total_fields.limit": 500},
            "mappings": {"dynamic": True, "date_detection": False, "properties": properties},
        },
        "_meta": {"description": "consulguard's logs and journal"},
    }
