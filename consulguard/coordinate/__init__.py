"""Who may act: lease, epoch, membership."""

from consulguard.coordinate.lease import Lease
from consulguard.coordinate.single import SingleLease

__all__ = ["Lease", "SingleLease"]
