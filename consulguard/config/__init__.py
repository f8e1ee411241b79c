"""Files, environment and flags become policy, playbooks and settings of the rooms."""

from consulguard.config.environment import Overlay
from consulguard.config.load import Loaded, load

__all__ = ["Loaded", "Overlay", "load"]
