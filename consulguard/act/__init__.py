"""One file per action; ``base`` is what they share, ``runner`` the door every effect goes through."""

from consulguard.act.base import ActContext, Action, ActSettings, HttpHost, KubeSettings, SshSettings
from consulguard.act.prometheus_io import Prometheus

__all__ = ["ActContext", "ActSettings", "Action", "HttpHost", "KubeSettings", "Prometheus", "SshSettings"]
