"""The judge of the chaos runs: a sound history passes, and each broken invariant is named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.check import check
from tests.chaos.history import SECRET, History

Doctor = Callable[[History], object]
MUTANTS: list[tuple[str, str, Doctor]] = []


def breaks(*names: str) -> Callable[[Doctor], Doctor]:
    def add(doctor: Doctor) -> Doctor:
        MUTANTS.append((",".join(names), doctor.__name__, doctor))
        return doctor

    return add


@breaks("I1")
def a_fenced_target_does_an_attempt_twice(h: History) -> None:
    h.lines["targets"].append(h.lines["targets"][0])


@breaks("I1")
def what_must_not_be_repeated_is_sent_again(h: History) -> None:
    h.note("sends", 141.0, attempt="run-2/0/1", epoch=20)


@breaks("I1")
def what_must_not_be_repeated_is_meant_again(h: History) -> None:
    h.intend("once-0", "run-2/0/1", 20, 160.0)
    h.event(161.0, 20, "Resulted", result={"intent_id": "run-2/0/1", "outcome": "DONE"})


@breaks("I1")
def a_new_attempt_while_the_old_one_may_have_happened(h: History) -> None:
    for number in (1, 2):
        h.event(160.0, 20, "Looked", key=f"run-9/0/{number}?confirm", status="critical")
        h.intend("fenced-0", f"run-9/0/{number}", 20, 160.0)
    for number in (1, 2):
        h.event(161.0, 20, "Resulted", result={"intent_id": f"run-9/0/{number}", "outcome": "DONE"})


@breaks("I2")
def an_effect_before_its_intent(h: History) -> None:
    h.lines["targets"][0]["journaled"] = False


@breaks("I2")
def an_effect_nobody_could_look_up_without_an_intent(h: History) -> None:
    h.note(
        "targets", 160.0, kind="fenced", service="fenced-0", attempt="x/0/1", epoch=20, journaled=None, effect=True
    )


@breaks("I2")
def an_intent_is_gone(h: History) -> None:
    h.entries = [entry for entry in h.entries if "run-1/0/1" not in entry["body"]]


@breaks("I3")
def too_many_at_once(h: History) -> None:
    for n in range(3):
        h.event(160.0, 20, "Looked", key=f"run-{n + 5}/0/1?confirm", status="critical")
        h.intend(f"fenced-{n + 5}", f"run-{n + 5}/0/1", 20, 160.0)
    for n in range(3):
        h.event(161.0, 20, "Resulted", result={"intent_id": f"run-{n + 5}/0/1", "outcome": "DONE"})


@breaks("I3")
def two_on_one_service(h: History) -> None:
    for n in (5, 6):
        h.event(160.0, 20, "Looked", key=f"run-{n}/0/1?confirm", status="critical")
        h.intend("fenced-0", f"run-{n}/0/1", 20, 160.0)
        h.entries[-1]["body"] = h.entries[-1]["body"].replace('"n1", "instance": "fenced-0"', f'"n{n}"')
    for n in (5, 6):
        h.event(161.0, 20, "Resulted", result={"intent_id": f"run-{n}/0/1", "outcome": "DONE"})


@breaks("I4")
def an_old_leader_writes_after_a_new_one(h: History) -> None:
    h.event(160.0, 10, "Observed")


@breaks("I4")
def an_intent_of_another_epoch_than_its_entry(h: History) -> None:
    entry = next(e for e in h.entries if e["kind"] == "intent" and e["epoch"] == 20)
    entry["body"] = entry["body"].replace('"epoch": 20', '"epoch": 10')


@breaks("I5")
def tried_too_often(h: History) -> None:
    h.repair("lying-0", "run-4", 20, 160.0)


@breaks("I6")
def a_run_begins_while_paused(h: History) -> None:
    later, h.entries = h.entries[2:], h.entries[:2]
    h.event(105.0, 10, "Commanded", command="pause", args={"reason": "x"})
    h.entries += later


@breaks("I6")
def a_step_while_stopped(h: History) -> None:
    h.event(160.0, 20, "Commanded", command="stop", args={"reason": "x"})
    h.intend("fenced-0", "run-1/0/1", 20, 161.0)
    h.event(162.0, 20, "Resulted", result={"intent_id": "run-1/0/1", "outcome": "DONE"})


@breaks("I7")
def without_a_confirm_read(h: History) -> None:
    h.entries = [entry for entry in h.entries if "run-2/0/1?confirm" not in entry["body"]]


@breaks("I7")
def on_an_old_confirm_read(h: History) -> None:
    at = next(n for n, e in enumerate(h.entries) if "run-1/0/1?confirm" in e["body"])
    for entry in h.entries[at + 1 :]:
        entry["at"] += 31_000_000


@breaks("I7")
def on_a_view_nobody_trusts(h: History) -> None:
    at = next(n for n, e in enumerate(h.entries) if "run-2/0/1?confirm" in e["body"])
    h.entries[at - 1]["body"] = '{"event": "ViewChanged", "view": {"trusted": false}}'


@breaks("I9")
def a_snapshot_of_another_journal(h: History) -> None:
    h.snapshot(3, "{}")
    h.journal["snapshots"][0]["body"] = "{ }"


@breaks("I10", "L1")
def a_woken_leader_reaches_a_fenced_target(h: History) -> None:
    h.repair("fenced-0", "run-7", 20, 160.0)
    new = [entry for entry in h.entries if entry["epoch"] == 20]
    h.entries = [entry for entry in h.entries if entry["epoch"] == 10]
    h.repair("fenced-0", "run-8", 10, 115.0)
    h.entries += new
    h.lines["sends"][-1]["t"] = 170.0


@breaks("I13")
def nobody_works_on_it(h: History) -> None:
    h.entries = [e for e in h.entries if not ("Resulted" in e["body"] and "run-3" in e["body"])]


@breaks("I13")
def unknown_and_nobody_was_told(h: History) -> None:
    h.event(160.0, 20, "Resulted", result={"intent_id": "run-2/0/1", "outcome": "UNKNOWN"})
    h.journal["outbox"] = [row for row in h.journal["outbox"] if row["key"] != "inc-run-2"]


@breaks("I13")
def an_incident_never_ends(h: History) -> None:
    row = h.journal["outbox"][0]
    row["message"] = row["message"].replace("resolved", "critical")


@breaks("I15")
def a_message_waits_for_ever(h: History) -> None:
    h.journal["outbox"][0]["state"] = "pending"


@breaks("I15")
def given_up_without_a_reason(h: History) -> None:
    h.journal["outbox"][0]["state"] = "failed"


@breaks("I15")
def slack_shows_something_else(h: History) -> None:
    h.slack[0]["text"] = "another"


@breaks("I15")
def the_same_posted_over_and_over(h: History) -> None:
    for n in range(3):
        h.post("inc-run-1", "fenced-0", f"{n + 50}.0")


@breaks("I16")
def a_secret_in_an_answer(h: History) -> None:
    h.event(160.0, 20, "Observed", text=f"restarted for {SECRET}")


@breaks("I16")
def a_secret_in_a_log(h: History) -> None:
    h.log = f"sending {SECRET}\n"


@breaks("I16")
def a_secret_in_slack(h: History) -> None:
    h.slack[0]["text"] += SECRET


@breaks("L1")
def sent_in_an_old_epoch(h: History) -> None:
    h.note("sends", 131.0, attempt="run-1/0/1", epoch=10)


@breaks("L2")
def two_at_one_time(h: History) -> None:
    h.lines["lives"] = [line for line in h.lines["lives"] if line["what"] != "end"]
    h.lines["faults"] = []
    h.note("said", 135.0, replica="a", what="lease_lost", epoch=10)


@breaks("L3")
def an_epoch_nobody_gave(h: History) -> None:
    h.lines["lease"] = [line for line in h.lines["lease"] if line["epoch"] != 20]


@breaks("P1")
def it_fell_over(h: History) -> None:
    h.note("lives", 170.0, replica="b", what="end", code=1, fine=False)


@breaks("T1")
def time_runs_back(h: History) -> None:
    h.event(139.0, 20, "Observed")


def test_a_sound_history_passes(tmp_path: Path) -> None:
    history = History()
    history.snapshot(4, "{}")
    assert check(history.write(tmp_path)) == []


@pytest.mark.parametrize(("names", "what", "doctor"), MUTANTS, ids=[what for _, what, _ in MUTANTS])
def test_a_doctored_history_is_caught(names: str, what: str, doctor: Doctor, tmp_path: Path) -> None:
    history = History()
    doctor(history)
    found = check(history.write(tmp_path))
    assert {name for name, _ in found} == set(names.split(",")), found


def test_what_nobody_knows_may_be_left_to_a_person(tmp_path: Path) -> None:
    history = History()
    nobody_works_on_it(history)
    [row] = [row for row in history.journal["outbox"] if row["key"] == "inc-run-3"]
    row["message"] = json.dumps({**json.loads(row["message"]), "facts": [["Run", "held"]]})
    assert check(history.write(tmp_path)) == []


def test_a_changed_entry_is_caught(tmp_path: Path) -> None:
    history = History()
    history.chained()[3]["body"] += " "
    found = check(history.write(tmp_path, chain=False))
    assert [name for name, _ in found] == ["I9"]


def test_a_send_of_one_that_has_just_woken_is_left_to_the_fence(tmp_path: Path) -> None:
    """Between the last look at the lease and the wire a process can be stopped: nobody can rule that out."""
    history = History()
    history.note("faults", 159.9, replica="a", what="thaw")
    history.note("sends", 160.0, attempt="run-1/0/1", epoch=10)
    assert check(history.write(tmp_path)) == []


@pytest.mark.parametrize(("late_s", "caught"), [(0.5, ["L1", "L2"]), (3.0, [])])
def test_a_busy_machine_is_no_fault(late_s: float, caught: list[str], tmp_path: Path) -> None:
    """Where the recorder was late, a replica may have been: with its line, and with what it sends once awake."""
    history = History()
    two_at_one_time(history)
    history.lines["said"][-1]["t"] = 132.0
    history.note("faults", 158.0, replica="a", what="thaw")
    history.note("sends", 161.0, attempt="run-1/0/1", epoch=10)
    for t in (131.0, 160.0):
        history.note("late", t, late_s=late_s)
    assert [name for name, _ in check(history.write(tmp_path))] == caught


@pytest.mark.parametrize(("broken", "code", "said"), [(False, 0, "everything held"), (True, 1, "I4: ")])
def test_as_a_program(broken: bool, code: int, said: str, tmp_path: Path) -> None:
    history = History()
    if broken:
        an_old_leader_writes_after_a_new_one(history)
    command = [sys.executable, "-m", "tests.chaos.check", str(history.write(tmp_path))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == code, ended.stderr
    assert said in ended.stdout


def test_every_judge_has_its_mutant() -> None:
    judged = {name for names, _, _ in MUTANTS for name in names.split(",")}
    assert judged == {*(f"I{n}" for n in (1, 2, 3, 4, 5, 6, 7, 9, 10, 13, 15, 16)), "L1", "L2", "L3", "P1", "T1"}
