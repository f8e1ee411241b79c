"""``consulguard completion SHELL``: a script for the shell to read."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell to complete for.")]) -> None:
    """Print the completion script: source <(consulguard completion bash)."""
    print(get_completion_script(prog_name="consulguard", complete_var="_CONSULGUARD_COMPLETE", shell=shell.value))
