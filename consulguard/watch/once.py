"""One look at everything, for ``plan``: the same facts through the same code, without feeds and without writes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable

from consulguard.clock import Clock
from consulguard.consulapi import Answer, ConsulClient
from consulguard.errors import BadAnswer, ConsulRefused, ConsulUnavailable
from consulguard.events import AnyEvent, Learned, Observed, ViewChanged
from consulguard.model import EdgesFact, Fact, Observation
from consulguard.watch.audit import LEADER, NOT_PASSING, LeaderProbe
from consulguard.watch.catalog import NODES, SERVICES
from consulguard.watch.decode import Check, is_odd
from consulguard.watch.feed import MAX_CONTACT_MS, Source
from consulguard.watch.health import CRITICAL, ODD, WARNING
from consulguard.watch.mesh import Mesh
from consulguard.watch.server import detect
from consulguard.watch.settings import WatchSettings
from consulguard.watch.sight import Sight
from consulguard.watch.sources import UI_SERVICES
from consulguard.watch.view import ViewKeeper

PARALLEL = 8
VITAL = (CRITICAL, WARNING, SERVICES, NODES)  # without these there is nothing to plan on


class _Once:
    def __init__(
        self, client: ConsulClient, clock: Clock, settings: WatchSettings, mesh: Mesh, view: ViewKeeper
    ) -> None:
        self.client = client
        self.clock = clock
        self.settings = settings
        self.mesh = mesh
        self.view = view
        self.focus: frozenset[str] = frozenset()  # read in detail whatever their health
        self._gate = asyncio.Semaphore(PARALLEL)

    async def source(self, source: Source) -> None:
        """Read one feed's path once. A vital one raises; any other becomes a reason for distrust."""
        async with self._gate:
            try:
                answer = await self.client.get(
                    source.path,
                    params=source.params,
                    max_bytes=self.settings.list_bytes,
                    missing_ok=source.missing_ok,
                )
                if answer.known_leader is False or (answer.last_contact_ms or 0) > MAX_CONTACT_MS:
                    raise ConsulUnavailable(f"{source.name}: the server has no contact with a leader")
                if answer.filtered_by_acls:
                    self.view.problem(
                        source.name, f"{source.name}: Consul left results out for lack of ACL rights"
                    )
                await source.apply(answer)
            except (ConsulUnavailable, ConsulRefused, BadAnswer) as error:
                if source.name in VITAL:
                    raise
                tell = self.view.problem if source.essential else self.view.note
                tell(source.name, f"{source.name}: {error}")

    async def odd(self) -> None:
        """States that Consul does not define are in no set of their own."""

        async def apply(answer: Answer) -> None:
            checks = answer.json(list[Check])
            await self.mesh.health.take(ODD, [c for c in checks if is_odd(c)])

        await self.source(Source(name=ODD, path="/v1/health/state/any", params=NOT_PASSING, apply=apply))

    async def counts(self) -> None:
        """Unstable API: nice to have."""
        try:
            answer = await self.client.get(UI_SERVICES, max_bytes=self.settings.list_bytes)
            await self.mesh.catalog.counts(answer)
        except (ConsulRefused, BadAnswer):
            pass

    async def service(self, name: str, *, detailed: bool) -> list[Fact]:
        async with self._gate:
            return await self._fact(f"service {name!r}", self.mesh.reader.service(name, detailed=detailed))

    async def node(self, name: str) -> list[Fact]:
        async with self._gate:
            return await self._fact(f"node {name!r}", self.mesh.reader.node(name))

    async def _fact(self, what: str, reading: Awaitable[list[Fact]]) -> list[Fact]:
        try:
            return await reading
        except (ConsulUnavailable, ConsulRefused, BadAnswer) as error:
            # A name that Consul itself will not look up (control characters) hides that one thing, not the mesh.
            refused = isinstance(error, ConsulRefused) and error.status == 400
            tell = self.view.note if refused else self.view.problem
            tell(what, f"{what} cannot be read: {error}")
            return []

    async def details(self) -> list[Fact]:
        """Every service, and in detail what is in trouble with its node's and sidecars' services."""
        census, book = self.mesh.census, self.mesh.book
        nodes = sorted(target.node for target in book.nodes)
        facts = await _all(self.node(name) for name in nodes)
        troubled = {t.service for t in book.services} | (self.focus & set(census.names))
        for name in nodes:
            node = census.nodes.get(name)
            troubled |= {t.service for t in (node.instances if node else None) or ()}
        for name in sorted(troubled):
            troubled |= census.proxies.get(name, set())
        facts += await _all(self.service(name, detailed=name in troubled) for name in sorted(census.names))
        destinations = {census.services[n].destination for n in troubled if n in census.services} - troubled - {""}
        return facts + await _all(self.service(name, detailed=True) for name in sorted(destinations))


async def read_once(
    client: ConsulClient, clock: Clock, settings: WatchSettings, *, focus: Iterable[str] = ()
) -> list[AnyEvent]:
    """``Learned`` (all), ``Observed`` (all that is not passing), ``ViewChanged``. One look is never settled.

    ``focus``: services to be read in detail even if nothing of them fails. Only GETs, unless
    ``settings.acl_probe_once`` allows the read-only ACL probe. Raises ConsulUnavailable,
    ConsulRefused or BadAnswer when health or catalog cannot be read.
    """
    events: list[AnyEvent] = []

    async def keep(event: AnyEvent) -> None:
        events.append(event)

    view = ViewKeeper(clock, settings, keep)
    mesh = Mesh(client, clock, settings, view, await detect(client, settings.datacenter))
    once = _Once(client, clock, settings, mesh, view)
    once.focus = frozenset(focus)
    await mesh.catalog.declared()
    await _settle([once.source(source) for source in mesh.sources])
    await once.odd()
    await once.counts()
    await mesh.crawler.tell(await once.details())
    if await LeaderProbe(client, view, settings).once():
        view.clear(LEADER)
    if settings.acl_probe_once:
        await Sight(client, clock, view, settings).ask()
    return _in_order(events, view, clock)


def _in_order(events: Iterable[AnyEvent], view: ViewKeeper, clock: Clock) -> list[AnyEvent]:
    """The last fact of each thing, then what is not passing, then whether to believe it."""
    facts: dict[tuple[str, str], Fact] = {}
    observed: list[Observation] = []
    for event in events:
        if isinstance(event, Learned):
            facts |= {_identity(fact): fact for fact in event.facts}
        elif isinstance(event, Observed):
            observed += event.observations
    view.pending.clear()
    at = clock.now()
    return [
        Learned(at=at, facts=tuple(facts.values())),
        Observed(at=at, observations=tuple(observed)),
        ViewChanged(at=at, view=view.at_once()),
    ]


def _identity(fact: Fact) -> tuple[str, str]:
    return (type(fact).__name__, fact.source if isinstance(fact, EdgesFact) else fact.target.key)


async def _settle(work: Iterable[Awaitable[None]]) -> None:
    """All of them; then the first error, if any."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _all(work: Iterable[Awaitable[list[Fact]]]) -> list[Fact]:
    return [fact for facts in await asyncio.gather(*work) for fact in facts]
