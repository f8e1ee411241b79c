"""Files, environment and flags become policy, playbooks and settings of the rooms."""

from consulguard.config.load import Loaded, Overlay, load

__all__ = ["Loaded", "Overlay", "load"]
