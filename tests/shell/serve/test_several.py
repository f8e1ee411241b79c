"""One door for several units: told apart by a label, ready when all are."""

from __future__ import annotations

import contextlib

from consulguard.serve import Health, Metrics, ServiceHealth, Several, Sights
from prometheus_client.parser import text_string_to_metric_families


def health(**given: object) -> Health:
    plain = {"alive": True, "turned_at": 1.0, "ready": True, "leader": False, "view_trusted": True}
    more = {"incidents": {}, "runs": 0, "storm": False, "paused": False}
    return Health(**{**plain, **more, **given})  # type: ignore[arg-type]


def sights(**given: object) -> Sights:
    found = [ServiceHealth(service="web", datacenter="dc1", state="passing")]
    return Sights(health=lambda: health(**given), services=lambda name: found, metrics=Metrics())


def test_it_is_ready_when_every_unit_is_and_leader_of_one_is_leader() -> None:
    door = Several(("dc1", "dc2"), reload=False)
    with contextlib.ExitStack() as stack:
        assert (door.alive(), door.role()) == (True, "")
        stack.enter_context(door.showing("dc1", sights(leader=True)))
        assert door.role() == ""
        with door.showing("dc2", sights(ready=False)):
            assert door.role() == ""
        with door.showing("dc2", sights(alive=False)):
            assert not door.alive()
        stack.enter_context(door.showing("dc2", sights()))
        assert (door.alive(), door.role()) == (True, "leader")
    with door.showing("dc1", sights()), door.showing("dc2", sights()):
        assert door.role() == "standby"


def test_every_series_says_its_unit_and_every_family_is_there_once() -> None:
    door, first, second = Several(("dc1", "dc2/web"), reload=False), sights(leader=True), sights()
    second.metrics.notifications.labels("console").inc()
    with door.showing("dc1", first), door.showing("dc2/web", second):
        text = door.exposing()().decode()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert text.count("# TYPE consulguard_is_leader ") == 1
    leads = {s.labels["unit"]: s.value for s in found["consulguard_is_leader"].samples}
    assert leads == {"dc1": 1.0, "dc2/web": 0.0}
    assert [s.labels for s in found["consulguard_notifications"].samples] == [
        {"integration": "console", "unit": "dc2/web"}
    ]
    assert all(s.labels["unit"] in ("dc1", "dc2/web") for family in found.values() for s in family.samples)
    one = {f.name for f in text_string_to_metric_families(first.exposing()().decode())}
    assert set(found) == one


async def test_a_reload_is_of_all_and_what_is_wrong_is_told_once() -> None:
    asked = []

    async def reload() -> str:
        asked.append(1)
        return "no such key"

    def with_reload() -> Sights:
        return Sights(health=health, reload=reload)

    door = Several(("dc1", "dc2"), reload=True)
    with door.showing("dc1", with_reload()), door.showing("dc2", with_reload()):
        assert door.reload is not None
        assert await door.reload() == "no such key"
    assert len(asked) == 2
    assert Several(("dc1",), reload=False).reload is None
