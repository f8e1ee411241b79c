"""Consul's answers become observations, facts and a view that is trusted or not."""

from consulguard.watch.once import read_once
from consulguard.watch.places import Place, where
from consulguard.watch.provenance import TABLE as PROVENANCES
from consulguard.watch.settings import ZONE_KEYS, WatchSettings
from consulguard.watch.watcher import Watcher

__all__ = ["PROVENANCES", "ZONE_KEYS", "Place", "WatchSettings", "Watcher", "read_once", "where"]
