"""What is not passing, and how each new answer differs from it. No I/O; memory is per not-passing check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

import msgspec

from consulguard.model import Observation, Status, Target
from consulguard.watch.decode import (
    NODE_MAINTENANCE,
    SERVICE_MAINTENANCE,
    Check,
    Scope,
    clip,
    interval_s,
    may_not_have_run,
    status_of,
    worst,
)

FIRST_RUN_S = 30.0  # within which a started agent has run a check, where the check's interval is not told
FIRST_RUN_MAX_S = 120.0
FORGOTTEN = -1  # in place of an index: whatever is read next is newer

Key = tuple[str, str, str, str, str]  # partition, peer, node, namespace, check id


class Known(msgspec.Struct):
    target: Target
    status: Status
    index: int


def key_of(check: Check) -> Key:
    """Consul's own identity of a check; a namespaced server may use an id once in each namespace of a node."""
    return (
        check.Partition or "default",
        check.PeerName or "",
        check.Node,
        (check.Namespace or "default") if check.ServiceID else "default",
        check.CheckID,
    )


def by_key(checks: Iterable[Check]) -> tuple[dict[Key, Check], list[Key]]:
    """Each check once; of two with one key the worse one stays, and the key is named in the second value."""
    found: dict[Key, Check] = {}
    twice: list[Key] = []
    for check in checks:
        other = found.setdefault(key := key_of(check), check)
        if other is not check:
            twice.append(key)
            pair = (status_of(other), status_of(check))
            if pair[0] != pair[1] and worst(pair) == pair[1]:
                found[key] = check
    return found, twice


class Waiting(msgspec.Struct):
    """A critical check that has perhaps not run yet since its agent started."""

    check: Check
    until: datetime


class HealthBook:
    """Merges the sets of the health feeds. A key that left all of them is ``left``, and stays known until it was
    read back: between two sets, recovered and gone look alike.
    """

    def __init__(self, scope: Scope, feeds: Iterable[str]) -> None:
        self._scope = scope
        self._sets: dict[str, set[Key]] = {name: set() for name in feeds}
        self._unread = set(self._sets)
        self._departed: set[Key] = set()  # from some set, since ``left`` was last asked
        self.known: dict[Key, Known] = {}
        self.waiting: dict[Key, Waiting] = {}  # known as ``unknown`` until they have run, or should have
        self.services: Counter[Target] = Counter()  # not-passing checks of each service
        self.nodes: Counter[Target] = Counter()  # not-passing node checks of each node

    @property
    def complete(self) -> bool:
        """Every feed has been read at least once."""
        return not self._unread

    def resume(self, checks: Iterable[tuple[Target, str]]) -> None:
        """What was not passing when an earlier life ended: it will be read back if no feed shows it."""
        for target, check in checks:
            namespace = target.namespace if target.instance else "default"
            key = (target.partition, target.peer, target.node, namespace, check)
            if key not in self.known:
                self._put(key, Known(target=target, status=Status.UNKNOWN, index=FORGOTTEN))
                self._departed.add(key)

    def forget_indexes(self) -> None:
        """The server's history has changed (a restored snapshot): no index of before compares with one of now."""
        for known in self.known.values():
            known.index = FORGOTTEN

    def present(self, key: Key) -> bool:
        return any(key in keys for keys in self._sets.values())

    def changes(self, feed: str, checks: Mapping[Key, Check], at: datetime) -> Iterator[Observation]:
        """What is new in ``feed``'s whole answer. Must be exhausted before the next call."""
        keys = set(checks)
        self._departed |= self._sets.get(feed, set()) - keys
        self._sets[feed] = keys
        for key, check in checks.items():
            if (seen := self.see(key, check, at)) is not None:
                yield seen
        self._unread.discard(feed)

    def left(self) -> list[Key]:
        """Known keys that no feed shows any more, each told once."""
        if not self.complete:
            return []
        departed, self._departed = self._departed, set()
        return sorted(key for key in departed if key in self.known and not self.present(key))

    def see(self, key: Key, check: Check, at: datetime) -> Observation | None:
        """Take one record, from whatever answer; None when it says nothing new, or is older than what is known."""
        known = self.known.get(key)
        status = self._status(key, check, known, at)
        if known is None:
            if status is Status.PASSING:
                return None
            self._put(key, Known(target=self._scope.check(check), status=status, index=check.ModifyIndex))
            return self._observation(check, status, at)
        fresh = known.index == FORGOTTEN
        if known.index > check.ModifyIndex or (known.index == check.ModifyIndex and known.status is status):
            return None
        if known.index == check.ModifyIndex and worst((known.status, status)) is known.status:
            return None
        changed = known.status is not status
        if status is Status.PASSING:
            self._drop(key)
        else:
            known.status, known.index = status, check.ModifyIndex
        return self._observation(check, status, at, changed=changed) if changed or not fresh else None

    def overdue(self, at: datetime) -> list[Observation]:
        """Checks that should have run by now, and are critical still: they are."""
        late = [key for key, waiting in self.waiting.items() if waiting.until <= at]
        for key in late:
            self.known[key].status = Status.CRITICAL
        return [self._observation(self.waiting.pop(key).check, Status.CRITICAL, at) for key in late]

    def absent(self, key: Key, at: datetime) -> Observation | None:
        """The key is not registered any more."""
        return self._end(key, Status.ABSENT, at)

    def lifted(self, key: Key, at: datetime) -> Observation | None:
        """A maintenance check is gone and what it stood for is still there: maintenance is over."""
        return self._end(key, Status.PASSING, at)

    # ---- inside

    def _status(self, key: Key, check: Check, known: Known | None, at: datetime) -> Status:
        """What the record says; ``unknown`` for a while if a check that was well may not have run yet.

        The first whole read is believed: how long its records have been so is not known.
        """
        failing = known is not None and known.status is Status.CRITICAL
        if not self.complete or failing or not may_not_have_run(check):
            self.waiting.pop(key, None)
            return status_of(check)
        wait_s = min(FIRST_RUN_MAX_S, (interval_s(check) or FIRST_RUN_S) + 2)
        waiting = self.waiting.setdefault(key, Waiting(check, at + timedelta(seconds=wait_s)))
        waiting.check = check
        return Status.UNKNOWN

    def _end(self, key: Key, status: Status, at: datetime) -> Observation | None:
        known = self._drop(key)
        if known is None:
            return None
        return Observation(target=known.target, check=key[4], status=status, index=max(0, known.index), at=at)

    def _put(self, key: Key, known: Known) -> None:
        self.known[key] = known
        self._counter(known.target)[_who(known.target)] += 1

    def _drop(self, key: Key) -> Known | None:
        known = self.known.pop(key, None)
        self.waiting.pop(key, None)
        if known is not None:
            counter, who = self._counter(known.target), _who(known.target)
            counter[who] -= 1
            if counter[who] <= 0:
                del counter[who]
        return known

    def _counter(self, target: Target) -> Counter[Target]:
        return self.services if target.instance else self.nodes

    def _observation(self, check: Check, status: Status, at: datetime, *, changed: bool = True) -> Observation:
        return Observation(
            target=self._scope.check(check),
            check=check.CheckID,
            status=status,
            output=clip(check.Output),
            index=check.ModifyIndex,
            at=at,
            name=check.Name or "",
            interval_s=interval_s(check),
            type=check.Type or "",
            changed=changed,
        )


def _who(target: Target) -> Target:
    return target.of_service() if target.instance else target


def is_maintenance(key: Key) -> bool:
    return key[4] == NODE_MAINTENANCE or key[4].startswith(SERVICE_MAINTENANCE)
