"""The command line."""

from consulguard.cli.main import main

__all__ = ["main"]
