"""``exec.run``: one command of the allow-list, with its arguments as a list; never a shell."""

from __future__ import annotations

import os
import stat
from typing import ClassVar

from pydantic import Field, field_validator

from consulguard.act import process
from consulguard.act.base import (
    ActContext,
    Action,
    Ending,
    Strict,
    check_target,
    done,
    failed,
    retry,
    safe_name,
    unknown,
)
from consulguard.act.text import masked, masked_argv, tidy
from consulguard.errors import ActionRefused
from consulguard.model import Intent, JsonObject, Target


def plain_argv(argv: list[str]) -> list[str]:
    """The list itself. Raises ValueError for what no command line should be."""
    if not argv[0].startswith("/"):
        raise ValueError("the first item must be the absolute path of the command")
    if any(len(item) > 4096 or not item.isprintable() for item in argv):
        raise ValueError("an item is too long or holds control characters")
    return argv


class ExecParams(Strict):
    argv: list[str] = Field(min_length=1, max_length=64)
    idempotent: bool  # whether running it twice is running it once

    @field_validator("argv")
    @classmethod
    def _argv(cls, argv: list[str]) -> list[str]:
        return plain_argv(argv)


class ExecRun(Action[ExecParams]):
    """Run it; exit code 0 is DONE, any other FAILED, the deadline UNKNOWN (RETRY where it is idempotent)."""

    name: ClassVar[str] = "exec.run"
    Params: ClassVar[type[Strict]] = ExecParams
    touches: ClassVar[str] = "instance"
    idempotent_param: ClassVar[bool] = True
    overtime_s: ClassVar[float] = 10.0

    def check_target(self, target: Target) -> None:
        check_target(target)
        if target.instance and not safe_name(target.instance):
            raise ActionRefused(f"unsafe instance id {target.instance[:80]!a}: no command is run for it")

    def preview(self, intent: Intent, params: JsonObject) -> str:
        return f"run {masked_argv(self.parse(intent.target, params).argv)}"

    async def do(self, params: ExecParams, intent: Intent, ctx: ActContext) -> Ending:
        command = params.argv[0]
        if command not in ctx.settings.allowed_commands:
            raise ActionRefused(f"{command[:200]!a} is not in the allow-list of commands")
        if reason := _why_not(command):
            raise ActionRefused(f"{command} is not run: {reason}")
        extra = {"CONSULGUARD_INTENT": intent.id, "CONSULGUARD_EPOCH": str(intent.epoch)}
        grace_s = min(ctx.settings.kill_grace_s, self.overtime_s - 2)
        try:
            with ctx.effect(intent):
                ended = await process.run(params.argv, extra, timeout_s=intent.timeout_s, grace_s=grace_s)
        except OSError as error:
            return failed(f"{command} cannot be started: {error.strerror or error}")
        said = masked(tidy(ended.stderr or ended.stdout))
        tail = f": {said}" if said else ""
        if ended.code is None:
            sentence = f"{command} was ended after {intent.timeout_s:g} s{tail}"
            return retry(sentence) if params.idempotent else unknown(sentence)
        if ended.code == 0:
            return done(f"{command} ended well{tail}")
        how = f"exit code {ended.code}" if ended.code > 0 else f"signal {-ended.code}"
        return failed(f"{command} ended with {how}{tail}")


def _why_not(command: str) -> str:
    """A command that anybody may replace is not the one the operator has allowed."""
    try:
        found = os.stat(command)
    except OSError as error:
        return error.strerror or str(error)
    if not stat.S_ISREG(found.st_mode):
        return "not a regular file"
    if found.st_mode & stat.S_IWOTH:
        return "everybody may write to it"
    return ""
