"""A short sound history, to be doctored: what a run with one fail-over would have left behind."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

SECRET = "bearer-0123456789"
START_US = 1_800_000_000_000_000
VIEW = {"trusted": True, "settled": True}


class History:
    """Doctor its lists, then ``write`` it. The chain is made at the end, over what is there then."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.journal: dict[str, list[dict[str, Any]]] = {"outbox": [], "snapshots": [], "base": []}
        self.lines: dict[str, list[dict[str, Any]]] = {
            name: [] for name in ("targets", "sends", "lease", "said", "lives", "faults", "late")
        }
        self.slack: list[dict[str, Any]] = []
        self.log = "nothing\n"
        self.world: dict[str, Any] = {
            "backend": "consul",
            "services": {"fenced-0": "fenced", "once-0": "once", "lying-0": "lying"},
            "limits": {"fleet": 2, "service": 1, "node": 2},
            "caps": {"lying": 1},
            "confirm_s": 30.0,
            "secrets": [SECRET],
        }
        self.lead("a", 10, 100.0)
        self.repair("fenced-0", "run-1", 10, 110.0)
        self.end("a", 120.0)
        self.lead("b", 20, 130.0)
        self.repair("once-0", "run-2", 20, 140.0)
        self.repair("lying-0", "run-3", 20, 150.0)

    # ---- what happens

    def lead(self, who: str, epoch: int, t: float) -> None:
        self.note("lives", t - 5, replica=who, what="start")
        self.note("lease", t, holder=f"session-{epoch}", epoch=epoch)
        self.note("said", t, replica=who, what="lease_gained", epoch=epoch)
        self.event(t, epoch, "LeaseChanged", held=True, epoch=epoch)
        self.event(t + 1, epoch, "ViewChanged", view=VIEW)

    def end(self, who: str, t: float, code: int = -9) -> None:
        self.note("faults", t, replica=who, what="kill")
        self.note("lives", t, replica=who, what="end", code=code, fine=code == -9)
        self.note("lease", t + 5, holder="", epoch=0)

    def repair(self, service: str, run: str, epoch: int, t: float) -> None:
        """From the confirm-read to the message."""
        kind, attempt = service.split("-")[0], f"{run}/0/1"
        self.event(t, epoch, "Looked", key=f"{attempt}?confirm", status="critical")
        self.intend(service, attempt, epoch, t)
        self.note("sends", t + 0.1, attempt=attempt, epoch=epoch)
        what = {"kind": kind, "service": service, "attempt": attempt, "epoch": epoch}
        self.note("targets", t + 0.2, **what, journaled=True, effect=True)
        self.event(t + 0.3, epoch, "Resulted", result={"intent_id": attempt, "outcome": "DONE"})
        self.tell(f"inc-{run}", service)

    def intend(self, service: str, attempt: str, epoch: int, t: float) -> None:
        target = {"service": service, "node": "n1", "instance": service}
        run, kind = attempt.split("/")[0], service.split("-")[0]
        intent = {"id": attempt, "target": target, "epoch": epoch, "incident_id": f"inc-{run}", "playbook": kind}
        self.entry(t, epoch, "intent", {"effect": "Do", "intent": intent})

    def tell(self, key: str, title: str) -> None:
        message = {"key": key, "version": 3, "severity": "resolved", "title": title, "incident": {"id": key}}
        ts = f"{len(self.slack) + 1}.0"
        row = {"channel": "slack", "key": key, "version": 3, "state": "sent", "reason": ""}
        self.journal["outbox"].append({**row, "message": json.dumps(message), "ref": json.dumps({"ts": ts})})
        self.post(key, title, ts)

    def post(self, key: str, title: str, ts: str) -> None:
        about = {"event_payload": {"incident": key}}
        self.slack.append({"ts": ts, "thread_ts": "", "text": f"[RESOLVED] {title}", "metadata": about})

    # ---- how it is kept

    def event(self, t: float, epoch: int, name: str, /, **body: Any) -> None:
        self.entry(t, epoch, "event", {"event": name, **body})

    def entry(self, t: float, epoch: int, kind: str, body: dict[str, Any]) -> None:
        at = START_US + round(t * 1e6)
        made = {
            "seq": 0,
            "at": at,
            "epoch": epoch,
            "kind": kind,
            "version": 1,
            "body": json.dumps(body),
            "hash": "",
        }
        self.entries.append(made)

    def note(self, name: str, t: float, /, **line: Any) -> None:
        self.lines[name].append({"t": t, **line})

    def chained(self) -> list[dict[str, Any]]:
        previous = "0" * 64
        for seq, entry in enumerate(self.entries, 1):
            entry["seq"] = seq
            name, body = entry["kind"].encode(), entry["body"].encode()
            head = struct.pack(">qqqqH", seq, entry["at"], entry["epoch"], entry["version"], len(name))
            previous = entry["hash"] = hashlib.sha256(bytes.fromhex(previous) + head + name + body).hexdigest()
        return self.entries

    def snapshot(self, seq: int, body: str) -> None:
        kept = self.chained()[seq - 1]["hash"]
        digest = hashlib.sha256(b"%d %s " % (seq, kept.encode()) + body.encode()).hexdigest()
        self.journal["snapshots"].append({"seq": seq, "hash": kept, "digest": digest, "body": body})

    def write(self, folder: Path, *, chain: bool = True) -> Path:
        entries = self.chained() if chain else self.entries
        documents = {"world": self.world, "journal": {"entries": entries, **self.journal}, "slack": self.slack}
        for name, what in documents.items():
            (folder / f"{name}.json").write_text(json.dumps(what))
        for name, lines in self.lines.items():
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "a.log").write_text(self.log)
        return folder
