"""The two doors of Slack, Socket Mode and HTTP, and the way back: both doors feed one handler."""

from consulguard.serve.slack.envelope import BadPayload, Envelope, Kind, from_command, from_interaction
from consulguard.serve.slack.http import SlackHttpDoor
from consulguard.serve.slack.inbox import Inbox
from consulguard.serve.slack.signature import problem, sign
from consulguard.serve.slack.socket import SlackSocket
from consulguard.serve.slack.web import SlackSaysNo, SlackWeb

__all__ = [
    "BadPayload",
    "Envelope",
    "Inbox",
    "Kind",
    "SlackHttpDoor",
    "SlackSaysNo",
    "SlackSocket",
    "SlackWeb",
    "from_command",
    "from_interaction",
    "problem",
    "sign",
]
