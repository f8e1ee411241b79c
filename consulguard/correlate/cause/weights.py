"""What the model believes before it looks: one place for every number, each with its unit and its reason.

They were fitted on simulated and recorded faults (``docs/correlation.md`` says which, and how well that works).
"""

from __future__ import annotations

from typing import NamedTuple


class Weights(NamedTuple):
    # how a check behaves, seconds and shares; see trail.py
    noise_rate: float = 1 / 1500  # a healthy check blips this often, per second
    fault_rate: float = 1 / 48  # a fault shows at a check within about a minute
    blip_s: tuple[float, float] = (10.0, 36.0)  # a blip lasts between these
    stuck: float = 0.095  # a healthy check that was told to fail and never told to pass (a lost answer)
    stuck_s: float = 149
    flapper: float = 0.0743  # checks that come and go without anybody's fault
    flap_s: float = 56  # mean length of either phase
    soft_s: float = 39  # a broken thing's check fails for this long, and passes by luck ...
    hard_s: float = 468  # ... or hardly ever passes
    hard: float = 0.43
    lucky_s: float = 12  # a lucky pass lasts one interval, mostly
    calm_s: float = 18.4  # or more
    calm: float = 0.17
    warning: float = -0.4  # log: only warnings were seen
    fresh_s: float = 600  # what began earlier is another story
    bound: float = 12.1  # log: no single check says more
    several: float = 2.45  # log: two symptoms agree
    outside: float = 0.54  # a fault of resources shows in the service's symptoms
    strains: float = 0.962  # a fault shows in the service's resources
    strained: float = 0.0095  # ... and in the resources of what leans on it
    # rolling restarts, see rolling.py
    rolling: float = 0.11
    step_s: float = 32  # until the next unit's turn
    overlap_s: float = 5.56
    restart_s: float = 75  # of one unit
    # services
    sees_own: float = 0.617  # a service's check sees its own fault
    sees_deps: float = 0.679  # ... sees that something it needs is broken
    partial: float = 0.165  # a fault of some of the service's units only
    strays: float = 0.128  # a unit that stands while its service is broken
    delay_s: float = 73  # until a fault is seen, mean
    # calls as they are measured; believed, not fitted: no recorded faults hold them
    sees_calls: float = 0.9  # a service that is broken, or needs what is, fails its callers' calls
    calls_alone: float = 1.5  # log: where all that one caller calls fails, it may be the caller
    # doors, see doors.py: log of P(met so | broken) / P(met so | well); believed, not fitted
    door_well: float = -1.2  # callers may see what a probe does not
    door_open: float = -0.2  # a port that takes connections says little
    door_slow: float = 2.5
    door_badly: float = 3.5
    door_shut: float = 4.0  # refused, or no answer in time
    door_s: float = 300  # how long an answer holds
    door_known_s: float = 86_400  # a door that has answered well within this time is one that answers
    # edges
    leans: float = 0.62  # a caller fails with what it calls
    unseen: float = 0.0636  # calls of a service that nobody told us of, in number
    early_s: float = 25  # an effect may be seen this much before its cause
    # places
    node_hit: float = 0.625  # a unit shows that its node is sick
    fells: float = 0.733  # a service fails as a whole when all its units are gone; in proportion where some are
    maimed: float = 0.85  # ... or its callers lean on it as much as on the part that is gone, times this
    serf: float = 11.9  # log: a node check fails
    serf_quiet: float = 0  # log: it does not
    zone_hit: float = 0.977  # a node of a sick zone is sick
    # priors, log
    noisy: float = 0.9  # how much less likely each is, the more has come and gone lately (1: in proportion)
    gone: float = 2.0  # ... of units that blipped, counted from here on
    service: float = -2.5
    node: float = -4.7
    zone: float = -5.75
    changed: float = 1.1  # of a service that was changed shortly before; believed, not fitted
    changed_s: float = 600  # how shortly
    second: float = -1.9  # one more cause at the same time
    # answers
    doubt: float = 0.5  # below this chance that anybody is to blame: we do not know


WEIGHTS = Weights()
