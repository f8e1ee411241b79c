"""Slack, one way: one message per incident, edited in place, its steps in the thread."""

from consulguard.notify.slack.client import SlackNotifier, SlackSettings

__all__ = ["SlackNotifier", "SlackSettings"]
