"""Who may act: lease, epoch, membership."""

from consulguard.coordinate.lease import Lease, LeaseSettings, Lock, SharedLease
from consulguard.coordinate.members import Alive, Members
from consulguard.coordinate.ring import POINTS, Unit, owner, shares
from consulguard.coordinate.single import SingleLease

__all__ = [
    "POINTS",
    "Alive",
    "Lease",
    "LeaseSettings",
    "Lock",
    "Members",
    "SharedLease",
    "SingleLease",
    "Unit",
    "owner",
    "shares",
]
