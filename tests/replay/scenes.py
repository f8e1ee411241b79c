"""The stories of the golden journals, told through the real engine with fixed times."""

from __future__ import annotations

from collections.abc import Callable

from consulguard.events import Commanded, LeaseChanged, Started
from consulguard.model import Outcome, Status

from tests.core.engine.world import World, instance, moment


def repaired() -> World:
    """All three steps are done, the verification sees the recovery, the incident resolves."""
    w = World()
    w.to_first_effect()
    w.result(65, Outcome.DONE, index=60)
    for second in (66, 68):
        w.confirm(second, Status.MAINTENANCE)
        w.result(second + 1, Outcome.DONE, index=second)
    w.see(71, instance("c"), Status.PASSING)
    for second in (72, 76, 81):
        w.look(second, Status.PASSING, 200 + second)
    w.wait(85, 180)
    return w


def of_unknown_outcome() -> World:
    """The process ends between effect and result; a probe says that nothing happened, the step is tried anew."""
    w = World()
    w.to_first_effect()
    w.result(65, Outcome.DONE)
    w.confirm(66, Status.MAINTENANCE)
    w.feed(LeaseChanged(at=moment(70), held=False, epoch=1))
    w.feed(Started(at=moment(70), life="second", version="1"))
    w.feed(LeaseChanged(at=moment(70), held=True, epoch=2))
    w.view(71)
    w.result(72, Outcome.RETRY, "looked again: it did not happen")
    w.wait(73, 85)
    w.confirm(86, Status.MAINTENANCE)
    return w


def undone() -> World:
    """A step fails for good: what was done before is undone."""
    w = World()
    w.to_first_effect()
    w.result(65, Outcome.DONE)
    w.confirm(66, Status.MAINTENANCE)
    w.result(67, Outcome.FAILED, "exit code 1")
    w.wait(68, 75)
    w.result(76, Outcome.DONE)
    w.wait(77, 90)
    return w


def paused() -> World:
    """A person's pause holds a run that would start, and lets it go when it is taken back."""
    w = World()
    w.feed(Commanded(at=moment(1), command="pause", who="ann", args={"reason": "deploying"}))
    w.fail(2)
    w.wait(5, 90)
    w.feed(Commanded(at=moment(91), command="resume", who="ann"))
    w.wait(92, 100)
    w.confirm(101)
    return w


def stormy() -> World:
    """Everything fails at once: the brake, one message, no run; all recovers by itself."""
    w = World()
    everything = [instance(name, number) for name in "abc" for number in range(3)]
    w.view(0, instances=len(everything))
    for target in everything:
        w.fail(1, target)
    for second in range(3, 120, 10):
        w.view(second, instances=len(everything))
    for target in everything:
        w.see(121, target, Status.PASSING)
    for second in range(125, 700, 25):
        w.view(second, instances=len(everything))
    return w


def flapping() -> World:
    """An instance that goes up and down: an incident, and no run."""
    w = World()
    for turn in range(10):
        w.see(1 + 7 * turn, instance("c"), Status.PASSING if turn % 2 else Status.CRITICAL)
    w.wait(75, 150)
    return w


def distrusted() -> World:
    """The view is lost before the hold-down is over; nothing is done until it is back."""
    w = World()
    w.fail(1)
    w.wait(3, 40)
    for second in range(45, 100, 5):
        w.view(second, trusted=False)
    w.wait(100, 110)
    w.confirm(111)
    return w


def silenced() -> World:
    """Nobody hears of what a silence fits and nothing is done about it; when it is over all goes its way."""
    w = World()
    args = {"matchers": ['service="c"'], "for_s": 100, "comment": "known"}
    w.feed(Commanded(at=moment(0.5), command="silence", who="ann", args=args))
    w.fail(1)
    w.wait(3, 110)
    w.confirm(111)
    return w


def by_hand() -> World:
    """Acknowledged, closed while it fails, quiet, opened by what else fails; a press of nobody's button."""
    w = World(playbook="")
    w.fail(1)
    w.wait(3, 10)
    for second, command in ((11, "ack"), (12, "resolve")):
        args = {"incident": w.incident.id, "reason": "known"}
        w.feed(Commanded(at=moment(second), command=command, who="ann", args=args))
    w.wait(15, 100)
    w.feed(Commanded(at=moment(101), command="click", who="eve", args={"offer": "0" * 32}))
    for number in (1, 2):
        w.fail(102, instance("c", number))
    w.wait(105, 120)
    return w


SCENES: dict[str, Callable[[], World]] = {
    scene.__name__.replace("_", "-"): scene
    for scene in (repaired, of_unknown_outcome, undone, paused, stormy, flapping, distrusted, silenced, by_hand)
}
