"""``/v1/config``, ``/v1/connect/intentions``, ``/v1/kv``, ``/v1/session`` and ``/v1/txn`` of the twin."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import msgspec
from aiohttp import web

from consulguard.clock import SystemClock
from consulguard.testing.twin.answers import Refused, Seen, body_of, number, written
from consulguard.testing.twin.checks_txn import run_checks
from consulguard.testing.twin.kv import run_txn
from consulguard.testing.twin.world import World


class DataRoutes:
    """Handlers over one world, the same for every agent of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keys = world.keys
        self._table = world.hub.table
        self._clock = SystemClock()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/config/{kind}", self.config_list, allow_head=False),
            web.get("/v1/config/{kind}/{name}", self.config_get, allow_head=False),
            web.put("/v1/config", self.config_put),
            web.delete("/v1/config/{kind}/{name}", self.config_delete),
            web.get("/v1/connect/intentions", self.intentions, allow_head=False),
            web.post("/v1/connect/intentions", self.intention_create),
            web.get("/v1/connect/intentions/match", self.intention_match, allow_head=False),
            web.get("/v1/connect/intentions/{id}", self.intention, allow_head=False),
            web.put("/v1/connect/intentions/{id}", self.intention_update),
            web.delete("/v1/connect/intentions/{id}", self.intention_delete),
            web.get("/v1/kv/{key:.*}", self.kv_get, allow_head=False),
            web.put("/v1/kv/{key:.*}", self.kv_put),
            web.delete("/v1/kv/{key:.*}", self.kv_delete),
            web.put("/v1/txn", self.txn),
            web.put("/v1/session/create", self.session_create),
            web.put("/v1/session/destroy/{id}", self.session_destroy),
            web.put("/v1/session/renew/{id}", self.session_renew),
            web.get("/v1/session/info/{id}", self.session_info, allow_head=False),
            web.get("/v1/session/list", self.session_list, allow_head=False),
        ]

    # ---- config entries

    async def config_list(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        self._world.entries.known(kind)

        def look() -> Seen:
            return Seen(self._table("config"), self._world.entries.of_kind(kind), ["config"])

        return await self._world.answers.blocking(request, look, effective=False)

    async def config_get(self, request: web.Request) -> web.Response:
        kind, name = request.match_info["kind"], request.match_info["name"]
        self._world.entries.known(kind)

        def look() -> Seen:
            entry = self._world.entries.get(kind, name)
            topics = [f"config:{kind}/{name}"]
            if entry is None:
                text = f'Config entry not found for "{kind}" / "{name}"'
                return Seen(self._table("config"), text, topics, status=404)
            return Seen(self._table("config"), entry, topics)

        return await self._world.answers.blocking(request, look, effective=False)

    async def config_put(self, request: web.Request) -> web.Response:
        entry = await body_of(request, (400, "Bad request: Request decoding failed: unexpected EOF"))
        return written(self._world.entries.put(entry, _cas(request)))

    async def config_delete(self, request: web.Request) -> web.Response:
        done = self._world.entries.delete(request.match_info["kind"], request.match_info["name"], _cas(request))
        return written({} if done is None else done)

    # ---- intentions

    async def intentions(self, request: web.Request) -> web.Response:
        def look() -> Seen:
            return Seen(self._table("intentions"), self._world.intentions.all(), ["intentions"])

        return await self._world.answers.blocking(request, look, effective=False)

    async def intention(self, request: web.Request) -> web.Response:
        return written(self._world.intentions.get(request.match_info["id"]))

    async def intention_match(self, request: web.Request) -> web.Response:
        names = request.query.getall("name", [])
        return written({n: self._world.intentions.matching(request.query.get("by", ""), n) for n in names})

    async def intention_create(self, request: web.Request) -> web.Response:
        payload = await body_of(request, (400, "Failed to decode request body: unexpected EOF"))
        return written({"ID": self._world.intentions.put(payload, self._stamp())})

    async def intention_update(self, request: web.Request) -> web.Response:
        payload = await body_of(request, (400, "Failed to decode request body: unexpected EOF"))
        self._world.intentions.get(request.match_info["id"])
        return written({"ID": self._world.intentions.put(payload, self._stamp(), request.match_info["id"])})

    async def intention_delete(self, request: web.Request) -> web.Response:
        self._world.intentions.delete(request.match_info["id"])
        return written(True)

    def _stamp(self) -> str:
        return self._clock.now().astimezone(UTC).isoformat().replace("+00:00", "Z")

    # ---- keys

    async def kv_get(self, request: web.Request) -> web.Response:
        key, query = request.match_info["key"], request.query

        def look() -> Seen:
            if "recurse" in query or "keys" in query:
                found = self._keys.under(key)
                rows: Any = [entry.key for entry in found] if "keys" in query else found
                return Seen(self._keys.index_under(key), rows or None, ["kv"], status=200 if found else 404)
            entry = self._keys.entries.get(key)
            index, topics = self._keys.index_of(key), [f"kv:{key}"]
            if entry is None:
                return Seen(index, None, topics, status=404)
            if "raw" in query:
                return Seen(index, None, topics, raw=entry.value or b"", content_type="text/plain")
            return Seen(index, [entry], topics)

        return await self._world.answers.blocking(request, look, effective=False)

    async def kv_put(self, request: web.Request) -> web.Response:
        key, query, value = request.match_info["key"], request.query, await request.read()
        flags = number(query.get("flags", "0"))
        if not key:
            raise Refused(400, "Missing key name")
        if "cas" in query:
            return written(self._keys.put_if(key, number(query["cas"]), value, flags))
        if "acquire" in query:
            return written(self._keys.acquire(key, value, query["acquire"], flags))
        if "release" in query:
            return written(self._keys.release(key, value, query["release"], flags))
        self._keys.put(key, value, flags)
        return written(True)

    async def kv_delete(self, request: web.Request) -> web.Response:
        key, query = request.match_info["key"], request.query
        if "recurse" in query:
            self._keys.delete_under(key)
        elif "cas" in query and not self._keys.may(key, number(query["cas"])):
            return written(False)
        else:
            self._keys.delete(key)
        return written(True)

    async def txn(self, request: web.Request) -> web.Response:
        operations = await body_of(request, (400, "Failed to parse body: unexpected EOF"))
        kv = [op["KV"] for op in operations if "KV" in op]
        checks = [op["Check"] for op in operations if "Check" in op]
        if len(kv) + len(checks) != len(operations) or (kv and checks):
            raise Refused(501, "the twin runs transactions of KV operations or of Check operations")
        if checks:
            rows, errors = run_checks(self._world.catalog, checks)
            results: list[Any] = [{"Check": row} for row in rows]
        else:
            entries, errors = run_txn(self._keys, kv)
            results = [{"KV": entry} for entry in entries]
        answer = written({"Results": None if errors else results, "Errors": errors or None})
        answer.set_status(409 if errors else 200)
        return answer

    # ---- sessions

    async def session_create(self, request: web.Request) -> web.Response:
        raw = await request.read()
        payload = msgspec.json.decode(raw) if raw else {}
        node = payload.get("Node") or self._keys.node
        known = self._world.catalog.checks.get(node, {})
        session = self._keys.create_session(payload, known.__contains__)
        return written({"ID": session.id})

    async def session_destroy(self, request: web.Request) -> web.Response:
        self._keys.destroy(request.match_info["id"])
        return written(True)

    async def session_renew(self, request: web.Request) -> web.Response:
        key = request.match_info["id"]
        session = self._keys.renew(key)
        if session is None:
            raise Refused(404, f"Session id '{key}' not found")
        return written([session])

    async def session_info(self, request: web.Request) -> web.Response:
        def look() -> Seen:
            found = self._keys.sessions.get(request.match_info["id"])
            return Seen(self._table("sessions"), [found] if found else [], ["sessions"])

        return await self._world.answers.blocking(request, look, effective=False)

    async def session_list(self, request: web.Request) -> web.Response:
        def look() -> Seen:
            return Seen(self._table("sessions"), list(self._keys.sessions.values()), ["sessions"])

        return await self._world.answers.blocking(request, look, effective=False)


def _cas(request: web.Request) -> int | None:
    return number(request.query["cas"]) if "cas" in request.query else None
