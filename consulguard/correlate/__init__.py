"""Topology, root cause, incidents. Pure."""
