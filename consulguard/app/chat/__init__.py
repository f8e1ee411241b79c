"""The room where people and the bot talk: what came in by Slack's doors, and what is answered."""

from consulguard.app.chat.people import People
from consulguard.app.chat.room import Room
from consulguard.app.chat.service import Rotating, chatting

__all__ = ["People", "Room", "Rotating", "chatting"]
