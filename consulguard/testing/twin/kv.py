"""The twin's keys, sessions and locks, with Consul's index and lock rules."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from consulguard.testing.twin.answers import Refused, duration_s
from consulguard.testing.twin.hub import Hub


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    lock_index: int = msgspec.field(name="LockIndex", default=0)
    key: str = msgspec.field(name="Key")
    flags: int = msgspec.field(name="Flags", default=0)
    value: bytes | None = msgspec.field(name="Value", default=None)
    session: str | msgspec.UnsetType = msgspec.field(name="Session", default=msgspec.UNSET)
    create_index: int = msgspec.field(name="CreateIndex", default=0)
    modify_index: int = msgspec.field(name="ModifyIndex", default=0)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    id: str = msgspec.field(name="ID")
    name: str = msgspec.field(name="Name", default="")
    node: str = msgspec.field(name="Node")
    lock_delay_ns: int = msgspec.field(name="LockDelay")
    behavior: str = msgspec.field(name="Behavior")
    ttl: str = msgspec.field(name="TTL", default="")
    node_checks: list[str] = msgspec.field(name="NodeChecks", default_factory=list)
    service_checks: list[str] | None = msgspec.field(name="ServiceChecks", default=None)
    create_index: int = msgspec.field(name="CreateIndex", default=0)
    modify_index: int = msgspec.field(name="ModifyIndex", default=0)


class Keys:
    """Everything under /v1/kv and /v1/session. Locks and TTLs run on the event loop's clock."""

    def __init__(self, hub: Hub, node: str) -> None:
        self._hub = hub
        self.node = node
        self.entries: dict[str, Entry] = {}
        self.sessions: dict[str, Session] = {}
        self._graves: dict[str, int] = {}  # deleted key -> index of its deletion
        self._delays: dict[str, float] = {}  # key -> loop time until which it cannot be locked
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # ---- reading

    def under(self, prefix: str) -> list[Entry]:
        return [entry for key, entry in sorted(self.entries.items()) if key.startswith(prefix)]

    def index_of(self, key: str) -> int:
        entry = self.entries.get(key)
        return entry.modify_index if entry else self._hub.table("kvs")

    def index_under(self, prefix: str) -> int:
        """The newest change or deletion below ``prefix``; the table's index when there never was one."""
        found = [e.modify_index for e in self.under(prefix)]
        found += [index for key, index in self._graves.items() if key.startswith(prefix)]
        return max(found, default=0) or self._hub.table("kvs")

    # ---- writing

    def put(self, key: str, value: bytes, flags: int = 0) -> Entry:
        """A plain write. A held lock stays held, but its LockIndex is lost (as in Consul)."""
        return self._store(key, value, flags, session=self._held(key), lock_index=0)

    def put_if(self, key: str, index: int, value: bytes, flags: int = 0) -> bool:
        if not self.may(key, index):
            return False
        self.put(key, value, flags)
        return True

    def may(self, key: str, index: int) -> bool:
        """The check-and-set rule: 0 means "is not there"."""
        entry = self.entries.get(key)
        return entry is None if index == 0 else entry is not None and entry.modify_index == index

    def acquire(self, key: str, value: bytes, session_id: str, flags: int = 0) -> bool:
        self.session(session_id)
        old = self.entries.get(key)
        holder = self._held(key)
        if holder not in (msgspec.UNSET, session_id):
            return False
        if holder is msgspec.UNSET and self._delays.get(key, 0.0) > asyncio.get_running_loop().time():
            return False
        lock_index = old.lock_index if old else 0
        if holder is msgspec.UNSET:
            lock_index += 1
        self._store(key, value, flags, session=session_id, lock_index=lock_index)
        return True

    def release(self, key: str, value: bytes, session_id: str, flags: int = 0) -> bool:
        old = self.entries.get(key)
        if old is None or old.session != session_id:
            return False
        self._store(key, value, flags, session=msgspec.UNSET, lock_index=old.lock_index)
        return True

    def delete(self, key: str) -> None:
        if self.entries.pop(key, None) is not None:
            self._graves[key] = self._hub.write("kvs")
            self._hub.touch(["kv", f"kv:{key}"])

    def delete_under(self, prefix: str) -> None:
        for entry in self.under(prefix):
            self.delete(entry.key)

    # ---- sessions

    def session(self, session_id: str) -> Session:
        if len(session_id) != 36:
            raise Refused(500, "failed session lookup: index error: UUID must be 36 characters")
        found = self.sessions.get(session_id)
        if found is None:
            raise Refused(500, f'invalid session "{session_id}"')
        return found

    def create_session(self, payload: dict[str, Any], has_check: Callable[[str], bool]) -> Session:
        behavior, ttl = payload.get("Behavior") or "release", payload.get("TTL") or ""
        if behavior not in ("release", "delete"):
            raise Refused(500, f"Invalid Behavior setting '{behavior}'")
        if ttl and not 10.0 <= duration_s(ttl) <= 86400.0:
            raise Refused(
                500, f"Invalid Session TTL '{int(duration_s(ttl) * 1e9)}', must be between [10s=24h0m0s]"
            )
        checks = payload.get("NodeChecks", payload.get("Checks"))
        checks = ["serfHealth"] if checks is None else list(checks)
        for check in checks:
            if not has_check(check):
                raise Refused(500, f"Missing check '{check}' registration")
        index = self._hub.write("sessions")
        session = Session(
            id=str(uuid.uuid4()),
            name=payload.get("Name") or "",
            node=payload.get("Node") or self.node,
            lock_delay_ns=_lock_delay_ns(payload.get("LockDelay")),
            behavior=behavior,
            ttl=ttl,
            node_checks=checks,
            create_index=index,
            modify_index=index,
        )
        self.sessions[session.id] = session
        self._arm(session)
        self._hub.touch(["sessions"])
        return session

    def renew(self, session_id: str) -> Session | None:
        session = self.sessions.get(session_id)
        if session is not None:
            self._arm(session)
        return session

    def destroy(self, session_id: str) -> None:
        """End a session: its locks are released (or their keys deleted) and stay closed for its LockDelay."""
        session = self.sessions.pop(session_id, None)
        if session is None:
            return
        timer = self._timers.pop(session_id, None)
        if timer:
            timer.cancel()
        self._hub.write("sessions")
        for entry in [e for e in self.entries.values() if e.session == session_id]:
            self._delays[entry.key] = asyncio.get_running_loop().time() + session.lock_delay_ns / 1e9
            if session.behavior == "delete":
                self.delete(entry.key)
            else:
                self._store(
                    entry.key, entry.value, entry.flags, session=msgspec.UNSET, lock_index=entry.lock_index
                )
        self._hub.touch(["sessions"])

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # ---- inside

    def _held(self, key: str) -> str | msgspec.UnsetType:
        entry = self.entries.get(key)
        return entry.session if entry else msgspec.UNSET

    def _store(
        self, key: str, value: bytes | None, flags: int, *, session: str | msgspec.UnsetType, lock_index: int
    ) -> Entry:
        old = self.entries.get(key)
        index = self._hub.write("kvs")
        entry = Entry(
            key=key,
            value=value or None,
            flags=flags,
            session=session,
            lock_index=lock_index,
            create_index=old.create_index if old else index,
            modify_index=index,
        )
        self.entries[key] = entry
        self._hub.touch(["kv", f"kv:{key}"])
        return entry

    def _arm(self, session: Session) -> None:
        """Consul ends a session at up to twice its TTL; so does the twin, always at twice."""
        if not session.ttl:
            return
        old = self._timers.pop(session.id, None)
        if old:
            old.cancel()
        loop = asyncio.get_running_loop()
        self._timers[session.id] = loop.call_later(2 * duration_s(session.ttl), self.destroy, session.id)


def _lock_delay_ns(given: Any) -> int:
    """15 s unless given, as a duration or as nanoseconds (seconds below 1000, as Consul guesses)."""
    if given is None:
        return 15_000_000_000
    if isinstance(given, str):
        return int(duration_s(given) * 1e9)
    return int(given) * 1_000_000_000 if given < 1000 else int(given)


# ---- transactions


def run_txn(keys: Keys, operations: list[dict[str, Any]]) -> tuple[list[Entry], list[dict[str, Any]]]:
    """The KV operations of ``/v1/txn``, all or nothing: (results, errors). Each sees what those before it did."""
    saved = dict(keys.entries)
    results: list[Entry] = []
    for at, operation in enumerate(operations):
        try:
            results += _VERBS[operation["Verb"]](keys, operation)
        except KeyError as missing:
            error = f"unknown KV verb {missing}"
        except _Failed as failed:
            error = str(failed)
        else:
            continue
        keys.entries.clear()
        keys.entries.update(saved)
        return [], [{"OpIndex": at, "What": error}]
    return results, []


class _Failed(Exception):
    pass


def _told(keys: Keys, key: str) -> list[Entry]:
    """Writes answer with the entry, without its value."""
    return [msgspec.structs.replace(keys.entries[key], value=None)]


def _value(operation: dict[str, Any]) -> bytes:
    return base64.b64decode(operation.get("Value") or "")


def _set(keys: Keys, op: dict[str, Any]) -> list[Entry]:
    keys.put(op["Key"], _value(op), op.get("Flags", 0))
    return _told(keys, op["Key"])


def _cas(keys: Keys, op: dict[str, Any]) -> list[Entry]:
    if not keys.may(op["Key"], op.get("Index", 0)):
        raise _Failed(f'failed to set key "{op["Key"]}", index is stale')
    return _set(keys, op)


def _lock(keys: Keys, op: dict[str, Any]) -> list[Entry]:
    try:
        done = keys.acquire(op["Key"], _value(op), op.get("Session", ""), op.get("Flags", 0))
    except Refused as refused:
        raise _Failed(refused.text) from None
    if not done:
        raise _Failed(f'failed to lock key "{op["Key"]}", lock is already held')
    return _told(keys, op["Key"])


def _unlock(keys: Keys, op: dict[str, Any]) -> list[Entry]:
    if not keys.release(op["Key"], _value(op), op.get("Session", ""), op.get("Flags", 0)):
        raise _Failed(f'failed to unlock key "{op["Key"]}", lock isn\'t held, or is held by another session')
    return _told(keys, op["Key"])


def _get(keys: Keys, op: dict[str, Any]) -> list[Entry]:
    entry = keys.entries.get(op["Key"])
    if entry is None:
        raise _Failed(f'key "{op["Key"]}" doesn\'t exist')
    return [entry]


def _check_index(keys: Keys, op: dict[str, Any]) -> list[Entry]:
    entry = _get(keys, op)[0]
    if entry.modify_index != op.get("Index", 0):
        raise _Failed(f'failed index check for key "{op["Key"]}", current modify index {entry.modify_index}')
    return _told(keys, op["Key"])


def _check_session(keys: Keys, op: dict[str, Any]) -> list[Entry]:
    entry, wanted = _get(keys, op)[0], op.get("Session", "")
    if entry.session != wanted:
        held = "" if entry.session is msgspec.UNSET else entry.session
        raise _Failed(f'failed session check for key "{op["Key"]}", current session "{held}" != "{wanted}"')
    return _told(keys, op["Key"])


def _check_absent(keys: Keys, op: dict[str, Any]) -> list[Entry]:
    if op["Key"] in keys.entries:
        raise _Failed(f'key "{op["Key"]}" exists')
    return []


def _delete(keys: Keys, op: dict[str, Any]) -> list[Entry]:
    keys.delete(op["Key"])
    return []


def _delete_cas(keys: Keys, op: dict[str, Any]) -> list[Entry]:
    if not keys.may(op["Key"], op.get("Index", 0)):
        raise _Failed(f'failed to delete key "{op["Key"]}", index is stale')
    return _delete(keys, op)


def _delete_tree(keys: Keys, op: dict[str, Any]) -> list[Entry]:
    keys.delete_under(op["Key"])
    return []


_VERBS: dict[str, Callable[[Keys, dict[str, Any]], list[Entry]]] = {
    "set": _set,
    "cas": _cas,
    "lock": _lock,
    "unlock": _unlock,
    "get": _get,
    "get-tree": lambda keys, op: keys.under(op["Key"]),
    "check-index": _check_index,
    "check-session": _check_session,
    "check-not-exists": _check_absent,
    "delete": _delete,
    "delete-cas": _delete_cas,
    "delete-tree": _delete_tree,
}
