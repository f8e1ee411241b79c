"""The simple rules that the engine has to beat. Each ranks (entity, score), best first, and all see the same.

* first to fail: what fails for the longest
* no failing dependency: what Alertmanager's inhibition rules do; the earlier first
* PageRank, personalised, from caller to callee among what fails (L. Wu et al., "MicroRCA", NOMS 2020)
* set cover: greedy, by the share of what a cause would break that is broken (R. Kompella et al., NSDI 2005)
* codebook: the nearest code by weighted distance (S. Yemini et al., "High speed and robust event correlation",
  IEEE Communications Magazine 1996)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.correlation.state import Events, Links, Ranking, Topology, failing, links, reach

Ranker = Callable[[Topology, Events, float], Ranking]

_UP, _DOWN = 3, 2  # how far an effect is followed, and how far a cause is sought
_DAMPING, _ROUNDS = 0.85, 40
_FADES = 0.6  # of an effect with each step
_PICKS, _MOST = 8, 20


def first_to_fail(topology: Topology, events: Events, now: float) -> Ranking:
    return sorted(((e, -since) for e, since in failing(events, now).items()), key=lambda x: (-x[1], x[0]))


def no_failing_dependency(topology: Topology, events: Events, now: float) -> Ranking:
    bad, mesh = failing(events, now), links(topology)
    inhibited = {e: any(d in bad for d in mesh.needs.get(e, ())) for e in bad}
    order = sorted(bad, key=lambda e: (inhibited[e], bad[e], e))
    return [(e, float(-place)) for place, e in enumerate(order)]


def pagerank(topology: Topology, events: Events, now: float) -> Ranking:
    found, mesh = failing(events, now), links(topology)
    bad = sorted(found)
    there = {e: [d for d in mesh.needs.get(e, ()) if d in found] for e in bad}
    score = dict.fromkeys(bad, 1 / max(len(bad), 1))
    for _ in range(_ROUNDS):
        lost = sum(score[e] for e in bad if not there[e])
        new = dict.fromkeys(bad, (1 - _DAMPING + _DAMPING * lost) / max(len(bad), 1))
        for e in bad:
            for d in there[e]:
                new[d] += _DAMPING * score[e] / len(there[e])
        score = new
    return sorted(score.items(), key=lambda x: (-x[1], x[0]))


def _candidates(bad: Mapping[str, float], mesh: Links) -> list[str]:
    """What fails, and what it needs."""
    found = {d for e in bad for d in reach(e, lambda e: mesh.needs.get(e, ()), _DOWN)}
    return sorted(found)


def _effects(cause: str, mesh: Links) -> dict[str, int]:
    return reach(cause, lambda e: mesh.needed_by.get(e, ()), _UP)


def set_cover(topology: Topology, events: Events, now: float) -> Ranking:
    bad, mesh = failing(events, now), links(topology)
    covers = {c: set(_effects(c, mesh)) for c in _candidates(bad, mesh)}
    hit = {c: len(cover & bad.keys()) / len(cover) for c, cover in covers.items()}
    left = set(bad)
    order: list[str] = []
    while left and len(order) < _PICKS:
        open_ = [c for c in covers if c not in order]
        best = max(open_, key=lambda c: (len(covers[c] & left) * hit[c], c in bad), default=None)
        if best is None or not covers[best] & left:
            break
        order.append(best)
        left -= covers[best]
    rest = sorted((c for c in covers if c not in order), key=lambda c: (-hit[c] * len(covers[c] & bad.keys()), c))
    return [(c, float(-place)) for place, c in enumerate((order + rest)[:_MOST])]


def codebook(topology: Topology, events: Events, now: float) -> Ranking:
    bad, mesh = failing(events, now), links(topology)
    scores = {}
    for cause in _candidates(bad, mesh):
        code = _effects(cause, mesh)
        seen = sum(_FADES**steps for e, steps in code.items() if e in bad)
        lost = sum(_FADES**steps for e, steps in code.items() if e not in bad and mesh.watched(e))
        spurious = sum(e not in code for e in bad)
        scores[cause] = seen - 0.5 * lost - 0.5 * spurious
    return sorted(scores.items(), key=lambda x: (-x[1], x[0]))[:_MOST]


BASELINES: Mapping[str, Ranker] = {
    "first to fail": first_to_fail,
    "no failing dependency": no_failing_dependency,
    "PageRank": pagerank,
    "set cover": set_cover,
    "codebook": codebook,
}
