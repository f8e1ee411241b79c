"""Playbooks: schema, matching, and the state machine of a run. Pure."""

from consulguard.plan.lint import Finding, lint
from consulguard.plan.load import parse, parse_file, read
from consulguard.plan.lookup import fill, scope
from consulguard.plan.match import Choice, choose, labels
from consulguard.plan.matcher import format_matcher, matches, parse_matcher
from consulguard.plan.schema import PlaybookFile, Story, json_schema
from consulguard.plan.yaml import Document, load_yaml

__all__ = [
    "Choice",
    "Document",
    "Finding",
    "PlaybookFile",
    "Story",
    "choose",
    "fill",
    "format_matcher",
    "json_schema",
    "labels",
    "lint",
    "load_yaml",
    "matches",
    "parse",
    "parse_file",
    "parse_matcher",
    "read",
    "scope",
]
