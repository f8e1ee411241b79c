"""Who may act: lease, epoch, membership."""

from consulguard.coordinate.lease import Lease, LeaseSettings, Lock, SharedLease
from consulguard.coordinate.single import SingleLease

__all__ = ["Lease", "LeaseSettings", "Lock", "SharedLease", "SingleLease"]
