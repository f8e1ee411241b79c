"""What must hold: I1-I16, judged from the journal's table, the targets' memory and what went over the wire.

The journal is read through a connection of its own. Nothing here asks the engine what it thinks, but for I8 (which
question was asked), I9, I13 and I15, which are about its state; that state is a replay of the journal from its
first entry on.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
from consulguard.app.codec import effect_of, event_of
from consulguard.engine import EngineState
from consulguard.engine.step import restore, snapshot
from consulguard.events import AnyEvent, Commanded, Do, Looked, Observed, Resulted, ViewChanged
from consulguard.guard import stable_key
from consulguard.model import Intent, Outcome, Pause, QuestionState, Status, Target, View

from tests.model.loop import START
from tests.model.mesh import (
    CALLS,
    CAP,
    CONFIRM_MAX_AGE_S,
    FENCED,
    KINDS,
    MAX_OPEN,
    MIN_HEALTHY,
    NEEDED,
    ONCE,
    PEOPLE,
    SECRET,
    VIEW_MAX_AGE_S,
    WINDOW_S,
    Request,
    World,
)
from tests.model.replica import Replica
from tests.model.seams import Mutation

SERVING = (Status.PASSING, Status.UNKNOWN)


def run_of(intent_id: str) -> str:
    return intent_id.split("/", 1)[0]


def step_of(intent_id: str) -> tuple[str, str, bool]:
    """Run, step and whether it is an undo: what several attempts have in common."""
    run, step, attempt = intent_id.split("/")
    return run, step, attempt.startswith("undo")


class Oracle:
    """Follows the journal entry by entry; keeps what it finds wrong under the name of the invariant."""

    def __init__(self, path: Path, world: World, mutation: Mutation) -> None:
        self.path, self.world, self.mutation = path, world, mutation
        self.con: sqlite3.Connection | None = None
        self.wrong: dict[str, list[str]] = defaultdict(list)
        self.state = EngineState()
        self.seq, self.epoch, self.at = 0, 0, START
        self.intents: dict[str, Intent] = {}
        self.counts: Counter[str] = Counter()  # how often each was journaled
        self.open: dict[str, Intent] = {}
        self.runs: set[str] = set()
        self.starts: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        self.pauses: list[tuple[str, datetime | None]] = []
        self.view: View | None = None
        self.looks: dict[str, Looked] = {}
        self.seen: dict[Target, tuple[Status, datetime]] = {}
        self.versions: dict[str, Any] = {}  # run -> the playbook's version its intents carry
        self.shown: dict[str, tuple[str, str]] = {}  # question -> run and plan people saw
        self.votes: dict[str, set[str]] = defaultdict(set)
        self.approved: dict[str, set[str]] = defaultdict(set)  # run -> effects
        self.used: set[str] = set()
        self.compared: dict[str, int] = {}

    # ---- reading

    def close(self) -> None:
        if self.con is not None:
            self.con.close()

    def read(self) -> None:
        """Take in what the journal has got since the last time."""
        if self.con is None:
            if not self.path.exists():
                return
            self.con = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, isolation_level=None)
        rows = self.con.execute(
            "SELECT seq, at, epoch, kind, body FROM entries WHERE seq > ? ORDER BY seq", (self.seq,)
        ).fetchall()
        for row, after in zip_longest(rows, rows[1:]):
            self._entry(row, decides=after is not None and after[3] == "intent")
        if rows:
            self._outbox(self.con)

    def _entry(self, row: tuple[int, int, int, str, bytes], *, decides: bool) -> None:
        self.seq, at, epoch, kind, body = row
        self.at = max(self.at, START + timedelta(microseconds=at - int(START.timestamp()) * 1_000_000))
        if epoch < self.epoch:
            self.wrong["I4"].append(f"entry {self.seq} of epoch {epoch} comes after epoch {self.epoch}")
        self.epoch = epoch
        if SECRET.encode() in body:
            self.wrong["I16"].append(f"entry {self.seq} holds the secret")
        if kind == "event":
            self._event(event_of(body), decides=decides)
        elif kind == "intent":
            effect = effect_of(body)
            assert isinstance(effect, Do)
            self._intent(effect.intent)

    def _event(self, event: AnyEvent, *, decides: bool) -> None:
        match event:
            case Commanded():
                self._said(event)
            case ViewChanged():
                self.view = event.view
            case Looked():
                self.looks[event.key] = event
            case Observed():
                for look in event.observations:
                    self.seen[look.target] = (look.status, event.at)
            case Resulted() if event.result.outcome is not Outcome.UNKNOWN:
                self.open.pop(event.result.intent_id, None)
            case _:
                pass
        if decides:
            self._monotone(event)
        self.state, _ = self.mutation.step(self.state, event)
        self._questions()
        for key in [i for i in self.open if self._over(i)]:
            del self.open[key]

    def _over(self, intent_id: str) -> bool:
        """Its run has ended, or ended and was forgotten at once with an incident that was over for long."""
        run = self.state.runs.get(run_of(intent_id))
        if run is None:
            return self.intents[intent_id].incident_id not in self.state.book.incidents
        return run.state.over

    def _said(self, event: Commanded) -> None:
        if event.command in ("pause", "stop"):
            for_s = event.args.get("for_s")
            self.pauses.append((event.command, event.at + timedelta(seconds=for_s) if for_s else None))
        elif event.command == "resume":
            self.pauses.clear()
        elif event.command == "approve":
            self.votes[str(event.args["id"])].add(event.who)

    # ---- what must hold of an intent

    def _intent(self, intent: Intent) -> None:
        again = intent.id in self.intents
        first = run_of(intent.id) not in self.runs
        self.intents[intent.id] = intent
        self.counts[intent.id] += 1
        self.runs.add(run_of(intent.id))
        if again and KINDS[intent.target.service] == ONCE:
            self.wrong["I1"].append(f"{intent.id} is sent again to a target that cannot bear it")
        if others := [i for i in self.open if i != intent.id and step_of(i) == step_of(intent.id)]:
            self.wrong["I1"].append(f"{intent.id} is a new attempt while {others} may have happened")
        if intent.epoch != self.epoch:
            self.wrong["I4"].append(f"{intent.id} is of epoch {intent.epoch}, its entry of {self.epoch}")
        self._limits(intent)
        if first:
            self._cap(intent)
        self._paused(intent, first=first)
        self._fresh(intent, again=again, first=first)
        self._agreed(intent)
        self._ancestors(intent)
        self._pinned(intent)

    def _limits(self, intent: Intent) -> None:
        self.open[intent.id] = intent
        targets = {i.target for i in self.open.values()}
        services = Counter(t.service for t in targets)
        nodes = Counter(t.node for t in targets)
        if len(targets) > MAX_OPEN or max(services.values()) > 1 or max(nodes.values()) > 1:
            self.wrong["I3"].append(f"at entry {self.seq} {sorted(self.open)} are open")

    def _cap(self, intent: Intent) -> None:
        starts = self.starts[intent.playbook, stable_key(intent.target)]
        starts.append(self.at)
        lately = [s for s in starts if (self.at - s).total_seconds() < WINDOW_S]
        if len(lately) > CAP:
            self.wrong["I5"].append(
                f"{intent.id} is run {len(lately)} of {intent.playbook} on {intent.target.name}"
            )

    def _paused(self, intent: Intent, *, first: bool) -> None:
        active = {depth for depth, until in self.pauses if until is None or until > self.at}
        if "stop" in active or (first and active):
            self.wrong["I6"].append(f"{intent.id} while {sorted(active)} hold")

    def _fresh(self, intent: Intent, *, again: bool, first: bool) -> None:
        view = self.view
        if view is None or view.as_of is None or not view.trusted or not view.settled:
            self.wrong["I7"].append(f"{intent.id} on a view that is not to be trusted")
        elif (self.at - view.as_of).total_seconds() > VIEW_MAX_AGE_S:
            self.wrong["I7"].append(f"{intent.id} on a view of {view.as_of:%H:%M:%S}, at {self.at:%H:%M:%S}")
        if again or intent.undo:
            return
        look = self.looks.get(f"{intent.id}?confirm")
        if look is None or look.error or (self.at - look.at).total_seconds() > CONFIRM_MAX_AGE_S:
            self.wrong["I7"].append(f"{intent.id} without a confirm-read that is young enough: {look}")
        elif first and look.status is not Status.CRITICAL:
            self.wrong["I7"].append(f"{intent.id} although the confirm-read said {look.status}")
        elif look.healthy - (look.status in SERVING) < MIN_HEALTHY:
            self.wrong["I12"].append(f"{intent.id} with {look.healthy} healthy")

    def _agreed(self, intent: Intent) -> None:
        asks = intent.target.service == "db" and not intent.undo
        if asks and intent.effect not in self.approved[run_of(intent.id)]:
            self.wrong["I8"].append(f"{intent.id} is not what people agreed to")

    def _ancestors(self, intent: Intent) -> None:
        for callee in () if intent.undo else CALLS[intent.target.service]:
            down = [t for t, (status, _) in self.seen.items() if t.service == callee and status is Status.CRITICAL]
            since = [self.seen[t][1] for t in down]
            if len(down) > 1 and (self.at - max(since)).total_seconds() > 0:
                self.wrong["I11"].append(f"{intent.id} while {sorted(t.name for t in down)} fail")

    def _pinned(self, intent: Intent) -> None:
        if self.versions.setdefault(run_of(intent.id), intent.params["version"]) != intent.params["version"]:
            self.wrong["I9"].append(f"{intent.id} is of another version of the playbook than its run")

    # ---- approvals

    def _questions(self) -> None:
        for question in self.state.questions.values():
            what = (question.run.id, question.plan)
            if self.shown.setdefault(question.id, what) != what:
                self.wrong["I8"].append(f"the approval {question.id} stood for another plan before")
            if question.state is QuestionState.APPROVED and (question.id, what) not in self._known():
                self._approved(question)

    def _known(self) -> set[tuple[str, tuple[str, str]]]:
        return {(i, self.shown[i]) for i in self.used}

    def _approved(self, question: Any) -> None:
        who = self.votes[question.id] & set(PEOPLE)
        if question.id in self.used or len(who) < NEEDED:
            self.wrong["I8"].append(
                f"{question.id} is approved by {sorted(who)}, used: {question.id in self.used}"
            )
        if question.decided_at >= question.expires_at:
            self.wrong["I8"].append(f"{question.id} is approved after it has expired")
        self.used.add(question.id)
        self.approved[question.run.id] |= {e.effect for e in question.effects}

    # ---- the more is wrong, the less is done

    def _monotone(self, event: AnyEvent) -> None:
        """The same event decides nothing with a stop in force, on a view nobody trusts, or with too few left."""
        kept = snapshot(self.state)
        blind = View(trusted=False, reasons=("leader: none",))
        stop = Pause(who="ann", why="what if", since=self.at, depth="stop")
        stopped = restore(kept)
        stopped.pauses.append(stop)
        variants = [("a stop", stopped, event)] if not isinstance(event, Commanded) else []
        distrusting = restore(kept)
        distrusting.view = blind
        seen = msgspec.structs.replace(event, view=blind) if isinstance(event, ViewChanged) else event
        variants.append(("an untrusted view", distrusting, seen))
        if isinstance(event, Looked):
            variants.append(("none healthy", restore(kept), msgspec.structs.replace(event, healthy=0)))
        for what, state, changed in variants:
            _, effects = self.mutation.step(state, changed)
            decided = [e.intent.id for e in effects if isinstance(e, Do)]
            if what == "none healthy":  # what is done again, or undone, rests on no look
                decided = [i for i in decided if isinstance(event, Looked) and event.key == f"{i}?confirm"]
            if decided:
                self.wrong["I14"].append(f"entry {self.seq} would decide the same with {what}")

    # ---- what people are told

    def _outbox(self, con: sqlite3.Connection) -> None:
        rows = con.execute("SELECT key, version, state, reason, message FROM outbox").fetchall()
        found = {key: (version, state, reason) for key, version, state, reason, _ in rows}
        for key, told in self.state.told.items():
            version, state, reason = found.get(key, (0, "missing", ""))
            if version != told.version or (state == "failed" and not reason):
                self.wrong["I15"].append(f"{key} version {told.version}: the outbox has {version}, {state}")
        if any(SECRET.encode() in message for *_, message in rows):
            self.wrong["I16"].append("a message holds the secret")

    # ---- what must hold of the world

    def sending(self, request: Request, sender: Replica) -> None:
        """A request is about to go onto the wire."""
        self.read()
        intent = request.intent
        if intent.id not in self.intents:
            self.wrong["I2"].append(f"{intent.id} is sent, and the journal does not have it")
        state = sender.daemon.state
        if not state.lease_held or state.epoch != intent.epoch:
            self.wrong["I10"].append(f"{intent.id} of epoch {intent.epoch} is sent without the lease of it")

    def effects_once(self) -> list[str]:
        """I1."""
        ids = Counter((h.target, h.intent.id) for h in self._hits(FENCED, ONCE))
        steps = Counter((h.target, step_of(h.intent.id)) for h in self._hits(ONCE))
        return [f"{key} happened {n} times" for found in (ids, steps) for key, n in found.items() if n > 1]

    def epochs_of_effects(self) -> list[str]:
        """I10."""
        highest: dict[Target, int] = {}
        wrong = []
        for hit in self._hits(FENCED):
            if hit.intent.epoch < highest.get(hit.target, 0):
                wrong.append(f"{hit.intent.id} of epoch {hit.intent.epoch} after {highest[hit.target]}")
            highest[hit.target] = hit.intent.epoch
        return wrong

    def _hits(self, *kinds: str) -> list[Any]:
        return [h for h in self.world.hits if KINDS[h.target.service] in kinds]

    def live_is_fold(self, replica: Replica) -> list[str]:
        """I9, of a replica that has written the newest entry: what it has in mind is what the journal says."""
        if not replica.up:
            return []
        daemon = replica.daemon
        if daemon.seq != self.seq or self.compared.get(replica.name) == self.seq:
            return []
        self.compared[replica.name] = self.seq
        live, folded = snapshot(daemon.state), snapshot(self.state)
        if daemon._torn or live == folded or restore(live) == restore(folded):
            return []  # a value that is the default may be left out of the bytes
        return [f"{replica.name} at entry {self.seq}: {_difference(live, folded)}"]

    def left_open(self) -> list[str]:
        """I13, when nothing has gone wrong for long enough."""
        unfinished = [f"{r.id} is {r.state}: {r.reason}" for r in self.state.active_runs() if r.effects]
        return unfinished + sorted(self.open)


def _difference(one: bytes, other: bytes) -> str:
    a, b = msgspec.json.decode(one), msgspec.json.decode(other)
    return "; ".join(f"{k}: {a.get(k)!r:.300} is not {b.get(k)!r:.300}" for k in a | b if a.get(k) != b.get(k))
