"""The offline judge: ``python -m tests.chaos.check DIR`` reads the recordings of a run and says what did not hold.

It shares no code with the bot: nothing but the recordings, the journal's rows, and the standard library. The
names I1 to I16 are those of docs/promises.md; what is not judged here (I8, I11, I12, I14) is the model's. Besides:

L1  nobody sends in an epoch after a newer one was seen at the lease's server
L2  never two replicas that hold the lease by their own account, on the machine's clock
L3  every epoch in which the journal says that somebody leads was seen at the lease's server
T1  the journal's time never runs back
P1  replicas end only as they are meant to
"""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GENESIS = "0" * 64
FENCED = ("fenced", "lying")
HOUR_US = 3_600_000_000
WOKEN_S = 1.0  # a send so soon after SIGCONT may have been on its way when the process was stopped
SPREAD_S = 0.3  # between what a replica says and when its line is read
NEAR_S = 5.0  # so far around a moment, what ran late on the machine says how late a replica may have been


class Books:
    """What a run has left behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = self._document("world")
        self.journal = self._document("journal")
        self.slack = self._document("slack")
        names = ("targets", "sends", "lease", "said", "lives", "faults", "late")
        lines = map(self._lines, names)
        self.targets, self.sends, self.lease, self.said, self.lives, self.faults, self._late = lines
        self.logs = {path.name: path.read_text(errors="replace") for path in sorted(folder.glob("*.log"))}
        self.entries = self.journal["entries"]
        self.bodies = [json.loads(entry["body"]) for entry in self.entries]
        self.lost = bool(self.world.get("lost_commits"))  # the database lost what it had acknowledged

    def _document(self, name: str) -> Any:
        return json.loads((self.folder / f"{name}.json").read_text())

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def late_s(self, t: float) -> float:
        """How late those who share the machine with the recorder may have been about then."""
        return max((x["late_s"] for x in self._late if abs(x["t"] - t) < NEAR_S), default=0.0)

    def kind(self, service: str) -> str:
        return str(self.world["services"].get(service, ""))

    def events(self, *names: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Entries with their bodies, of these events."""
        both = zip(self.entries, self.bodies, strict=True)
        return [(entry, body) for entry, body in both if entry["kind"] == "event" and body["event"] in names]

    def intents(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        both = zip(self.entries, self.bodies, strict=True)
        return [(entry, body["intent"]) for entry, body in both if entry["kind"] == "intent"]


def run_of(attempt: str) -> str:
    return attempt.split("/", 1)[0]


def step_of(attempt: str) -> tuple[str, str, bool]:
    run, step, number = attempt.split("/")
    return run, step, number.startswith("undo")


Found = Iterator[tuple[str, str]]  # the invariant's name, and what was seen


# ---- targets and what was sent


def effects(books: Books) -> Found:
    done = Counter((x["service"], x["attempt"]) for x in books.targets if x["effect"])
    for (service, attempt), times in done.items():
        if times > 1:
            yield "I1", f"{attempt} had {times} effects on {service}"
    asked = Counter(x["attempt"] for x in books.sends)
    once = {x["attempt"] for x in books.targets if x["kind"] == "once"}
    for attempt in sorted(once):
        if asked[attempt] > 1:
            yield "I1", f"{attempt} must not be repeated and was sent {asked[attempt]} times"
    highest: dict[str, int] = {}
    for line in books.targets:
        if line["kind"] in FENCED and line["effect"]:
            if line["epoch"] < highest.get(line["service"], 0):
                yield "I10", f"{line['attempt']} of epoch {line['epoch']} after {highest[line['service']]}"
            highest[line["service"]] = max(line["epoch"], highest.get(line["service"], 0))


def meant(books: Books) -> Found:
    known = {intent["id"] for _, intent in books.intents()}
    for line in books.targets:
        if line["journaled"] is False or (line["journaled"] is None and line["attempt"] not in known):
            yield "I2", f"{line['attempt']} reached {line['service']} without an intent in the journal"
        if not books.lost and line["attempt"] not in known:
            yield "I2", f"the intent of {line['attempt']} is not in the journal any more"


def sent_by_holders(books: Books) -> Found:
    gains = [(line["t"], line["epoch"]) for line in books.lease if line["holder"]]
    woken = [line["t"] for line in books.faults if line["what"] == "thaw"]
    for send in books.sends:
        newer = [epoch for t, epoch in gains if t < send["t"] and epoch > send["epoch"]]
        excused = any(0 <= send["t"] - t <= WOKEN_S + books.late_s(send["t"]) for t in woken)
        if newer and not excused and books.world["backend"] != "kubernetes":
            yield "L1", f"{send['attempt']} was sent in epoch {send['epoch']} when {newer[-1]} was there"


# ---- the journal


def chain(books: Books) -> Found:
    base = (books.journal["base"] or [{"seq": 0, "hash": GENESIS}])[0]
    seq, previous = base["seq"], base["hash"]
    hashes = {seq: previous}
    for entry in books.entries:
        seq += 1
        name, body = entry["kind"].encode(), entry["body"].encode()
        numbers = (entry["seq"], entry["at"], entry["epoch"], entry["version"], len(name))
        wanted = hashlib.sha256(bytes.fromhex(previous) + struct.pack(">qqqqH", *numbers) + name + body)
        if entry["seq"] != seq or entry["hash"] != wanted.hexdigest():
            yield "I9", f"entry {entry['seq']} does not follow from the one before it"
            return
        previous = hashes[seq] = entry["hash"]
    for kept in books.journal["snapshots"]:
        stamp = hashlib.sha256(b"%d %s " % (kept["seq"], kept["hash"].encode()) + kept["body"].encode())
        if hashes.get(kept["seq"], kept["hash"]) != kept["hash"] or stamp.hexdigest() != kept["digest"]:
            yield "I9", f"the snapshot at entry {kept['seq']} does not fit the journal"


def order(books: Books) -> Found:
    epoch = at = 0
    for entry, body in zip(books.entries, books.bodies, strict=True):
        if entry["epoch"] < epoch:
            yield "I4", f"entry {entry['seq']} of epoch {entry['epoch']} comes after epoch {epoch}"
        if entry["at"] < at:
            yield "T1", f"entry {entry['seq']} is {(at - entry['at']) / 1e6:.3f} s before the one before it"
        epoch, at = max(epoch, entry["epoch"]), max(at, entry["at"])
        if entry["kind"] == "intent" and body["intent"]["epoch"] != entry["epoch"]:
            yield "I4", f"{body['intent']['id']} is of another epoch than its entry {entry['seq']}"


def limits(books: Books) -> Found:
    """I3 at every entry, and of I1: no new attempt of a step while an old one may have happened."""
    wanted = books.world["limits"]
    opened: dict[str, dict[str, Any]] = {}
    ids: Counter[str] = Counter()
    for entry, body in zip(books.entries, books.bodies, strict=True):
        if entry["kind"] == "event" and body["event"] == "Resulted":
            intent = opened.get(body["result"]["intent_id"])
            sure = body["result"]["outcome"] != "UNKNOWN"
            if intent and (sure or books.kind(intent["target"]["service"]) == "once"):
                del opened[intent["id"]]
        if entry["kind"] != "intent":
            continue
        intent = body["intent"]
        ids[intent["id"]] += 1
        if ids[intent["id"]] > 1 and books.kind(intent["target"]["service"]) == "once":
            yield "I1", f"{intent['id']} must not be repeated and is meant again at entry {entry['seq']}"
        if others := [i for i in opened if i != intent["id"] and step_of(i) == step_of(intent["id"])]:
            yield "I1", f"{intent['id']} is a new attempt while {others} may have happened"
        opened[intent["id"]] = intent
        targets = {json.dumps(i["target"], sort_keys=True): i["target"] for i in opened.values()}.values()
        services, nodes = Counter(t["service"] for t in targets), Counter(t["node"] for t in targets)
        most = {"fleet": len(targets), "service": max(services.values()), "node": max(nodes.values())}
        if over := {name: n for name, n in most.items() if n > wanted[name]}:
            yield "I3", f"{over} at entry {entry['seq']}, the limits are {wanted}: {sorted(opened)}"


def caps(books: Books) -> Found:
    runs: set[str] = set()
    starts: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for entry, intent in books.intents():
        if run_of(intent["id"]) in runs or intent["playbook"] not in books.world["caps"]:
            continue
        runs.add(run_of(intent["id"]))
        times = starts[intent["playbook"], intent["target"]["service"], intent["target"]["node"]]
        times.append(entry["at"])
        lately = [t for t in times if entry["at"] - t < HOUR_US]
        if len(lately) > books.world["caps"][intent["playbook"]]:
            yield (
                "I5",
                f"{intent['id']} is run {len(lately)} of {intent['playbook']} on {intent['target']['service']}",
            )


def pauses(books: Books) -> Found:
    runs: set[str] = set()
    held: list[tuple[str, str, float]] = []
    for entry, body in zip(books.entries, books.bodies, strict=True):
        if entry["kind"] == "intent":
            now = {depth for depth, _, until in held if entry["at"] < until}
            first = run_of(body["intent"]["id"]) not in runs
            runs.add(run_of(body["intent"]["id"]))
            if "stop" in now or (first and now):
                yield "I6", f"{body['intent']['id']} while {sorted(now)} holds"
        elif body["event"] == "Commanded" and body["command"] in ("pause", "stop"):
            args = body.get("args", {})
            end = entry["at"] + args["for_s"] * 1e6 if args.get("for_s") else float("inf")
            held.append((body["command"], str(args.get("reason")), end))
        elif body["event"] == "Commanded" and body["command"] == "resume":
            reason = body.get("args", {}).get("reason")
            held = [one for one in held if reason is not None and one[1] != reason]


def fresh(books: Books) -> Found:
    """I7: a trusted, settled view, and a confirm-read that is young and agrees."""
    view: dict[str, Any] = {}
    looks: dict[str, tuple[int, dict[str, Any]]] = {}
    seen: set[str] = set()
    for entry, body in zip(books.entries, books.bodies, strict=True):
        if entry["kind"] == "event":
            view = body["view"] if body["event"] == "ViewChanged" else view
            if body["event"] == "Looked":
                looks[body["key"]] = (entry["at"], body)
            continue
        attempt = body["intent"]["id"]
        if not (view.get("trusted") and view.get("settled")):
            yield "I7", f"{attempt} on a view that is not to be trusted"
        if attempt not in seen:
            at, look = looks.get(f"{attempt}?confirm", (0, {}))
            if (entry["at"] - at) / 1e6 > books.world["confirm_s"] or look.get("status") != "critical":
                yield "I7", f"{attempt} without a young confirm-read: {look.get('status')}"
        seen.add(attempt)


# ---- the lease


def leases(books: Books) -> Found:
    seen = {line["epoch"] for line in books.lease if line["holder"]}
    for entry, body in books.events("LeaseChanged"):
        if body["held"] and books.world["backend"] != "kubernetes" and body["epoch"] not in seen:
            yield "L3", f"epoch {body['epoch']} at entry {entry['seq']} was never seen at the lease's server"
    spans = sorted(accounts(books))
    for (_, end, one, epoch), (begin, _, other, newer) in itertools.pairwise(spans):
        if begin + SPREAD_S + books.late_s(begin) < end and one != other:
            yield "L2", f"{one} held epoch {epoch} until {end - begin:.2f} s after {other} had {newer}"


def accounts(books: Books) -> Iterator[tuple[float, float, str, int]]:
    """From when to when a replica held the lease, by its own account; a stopped or dead one has none."""
    ends = [(x["t"], x["replica"]) for x in books.said if x["what"] in ("lease_lost", "lease_released")]
    ends += [(x["t"], x["replica"]) for x in books.lives if x["what"] == "end"]
    ends += [(x["t"], x["replica"]) for x in books.faults if x["what"] in ("freeze", "kill")]
    for line in books.said:
        if line["what"] == "lease_gained":
            later = [t for t, replica in ends if replica == line["replica"] and t >= line["t"]]
            yield line["t"], min(later, default=float("inf")), line["replica"], line["epoch"]


def lives(books: Books) -> Found:
    for line in books.lives:
        if line["what"] == "end" and not line["fine"]:
            yield "P1", f"{line['replica']} ended with {line['code']}"


# ---- the end


def finished(books: Books) -> Found:
    """I13: nothing is left open, and what nobody knows was told to people, or left to one."""
    last: dict[str, str] = {}
    about: dict[str, str] = {}
    for entry, body in zip(books.entries, books.bodies, strict=True):
        if entry["kind"] == "intent":
            last[body["intent"]["id"]] = ""
            about[body["intent"]["id"]] = body["intent"]["incident_id"]
        elif body["event"] == "Resulted":
            last[body["result"]["intent_id"]] = body["result"]["outcome"]
    told = {row["key"] for row in books.journal["outbox"]}
    left = {row["key"] for row in books.journal["outbox"] if held(json.loads(row["message"]))}
    for attempt, outcome in last.items():
        if not outcome and about[attempt] not in left:
            yield "I13", f"{attempt} has no outcome and nobody works on it"
        elif outcome == "UNKNOWN" and about.get(attempt, attempt) not in told:
            yield "I13", f"{attempt} is unknown and nobody was told"
    for row in books.journal["outbox"]:
        message = json.loads(row["message"])
        if message.get("incident") and message["severity"] != "resolved":
            yield "I13", f"{message['title']} is still {message['severity']} in {row['channel']}"


def held(message: dict[str, Any]) -> bool:
    """Whether a message says that the run was left to a person."""
    return ["Run", "held"] in message.get("facts", [])


def outbox(books: Books) -> Found:
    """I15: what is in the outbox was told, and Slack shows its newest version, once."""
    shown = {message["ts"]: message for message in books.slack if not message["thread_ts"]}
    for row in books.journal["outbox"]:
        if row["state"] == "pending" or (row["state"] == "failed" and not row["reason"]):
            yield "I15", f"{row['key']} version {row['version']} is {row['state']} in {row['channel']}"
        if row["channel"] != "slack" or row["state"] != "sent":
            continue
        title, ref = json.loads(row["message"])["title"], json.loads(row["ref"])
        if title not in shown.get(ref.get("ts", ""), {}).get("text", "").replace("&amp;", "&"):
            yield "I15", f"Slack does not show {title!r} of {row['key']}"
    posted = Counter(incident(message) for message in shown.values())
    takeovers = sum(bool(line["holder"]) for line in books.lease)
    for key, times in posted.items():
        if key and times > 1 + takeovers:
            yield "I15", f"{key} was posted {times} times, with {takeovers} leaders"


def incident(message: dict[str, Any]) -> str:
    return str(message.get("metadata", {}).get("event_payload", {}).get("incident", ""))


def secrets(books: Books) -> Found:
    places = {name: json.dumps(rows) for name, rows in books.journal.items()}
    places |= {"slack": json.dumps(books.slack), **books.logs}
    for name, text in places.items():
        if any(secret in text for secret in books.world["secrets"]):
            yield "I16", f"a secret is in {name}"


CHECKS = (
    *(effects, meant, sent_by_holders),
    *(chain, order, limits, caps, pauses, fresh),
    *(leases, lives),
    *(finished, outbox, secrets),
)


def check(folder: Path) -> list[tuple[str, str]]:
    """Everything that did not hold."""
    books = Books(folder)
    return [found for judge in CHECKS for found in judge(books)]


def counted(folder: Path) -> dict[str, int]:
    """How much there was to judge: nothing is proved by an empty record."""
    books = Books(folder)
    return {
        "entries": len(books.entries),
        "intents": len(books.intents()),
        "sends": len(books.sends),
        "effects": sum(x["effect"] for x in books.targets),
        "refused": sum(not x["effect"] for x in books.targets),
        "epochs": sum(bool(line["holder"]) for line in books.lease),
        "lives": sum(line["what"] == "start" for line in books.lives),
        "faults": sum(bool(line["replica"]) for line in books.faults),
        "told": len(books.journal["outbox"]),
    }


def main() -> int:
    folder = Path(sys.argv[1])
    found = check(folder)
    for name, what in found:
        print(f"{name}: {what}")
    print("; ".join(f"{name} {n}" for name, n in counted(folder).items()))
    print("everything held" if not found else f"{len(found)} times something did not hold")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
