"""The Consul twin: see ``ConsulTwin``."""

from consulguard.testing.twin.server import ConsulTwin

__all__ = ["ConsulTwin"]
