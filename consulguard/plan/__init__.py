"""Playbooks: schema, matching, and the state machine of a run. Pure."""
