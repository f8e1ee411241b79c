"""``ssh.run``: one command on the target's node, over SSH; best through ``consulguard-exec``, which remembers."""

from __future__ import annotations

import json
import math
import shlex
from typing import ClassVar

import msgspec
from pydantic import Field, field_validator

from consulguard.act import ssh_door
from consulguard.act.base import (
    ActContext,
    Action,
    Ending,
    SshSettings,
    Strict,
    check_target,
    done,
    failed,
    retry,
    safe_name,
    unknown,
)
from consulguard.act.consul_agent import catalog_address
from consulguard.act.exec_run import plain_argv
from consulguard.act.text import masked, masked_argv, tidy
from consulguard.errors import ActionRefused
from consulguard.model import Intent, JsonObject, Outcome, Target

ARGV_MAX = 16 * 1024  # characters in all: the line must fit where SSH puts it
KEEP = 4096  # bytes kept of each of stdout and stderr
ANSWER_MAX = 256 * 1024  # of the wrapper's one line
ANSWER_S = 4.0  # after its deadline the wrapper ends the command, and says so
STATUS_WAIT_S = 5  # a probe waits this long for a command that still runs

_NOT_RUN_AND_MAY_BE = {"late", "busy"}  # of what the wrapper refuses


class SshParams(Strict):
    argv: list[str] = Field(min_length=1, max_length=64)

    @field_validator("argv")
    @classmethod
    def _argv(cls, argv: list[str]) -> list[str]:
        if sum(map(len, argv)) > ARGV_MAX:
            raise ValueError(f"more than {ARGV_MAX} characters in all")
        return plain_argv(argv)


class Answer(msgspec.Struct, frozen=True, rename={"version": "consulguard-exec"}):
    """The line ``consulguard-exec`` prints."""

    version: int
    state: str  # ended, deadline, running, unknown, never, refused
    code: int = 0
    kind: str = ""
    why: str = ""
    stdout: str = ""
    stderr: str = ""
    after_s: int = 0
    again: bool = False  # the first outcome of this attempt, told again


class SshRun(Action[SshParams]):
    """Run it on the node. The wrapper runs an attempt once and tells afterwards what became of it."""

    name: ClassVar[str] = "ssh.run"
    Params: ClassVar[type[Strict]] = SshParams
    touches: ClassVar[str] = "instance"
    overtime_s: ClassVar[float] = 25.0  # the connection's time, and the wrapper's to end the command and say so

    def check_target(self, target: Target) -> None:
        check_target(target)
        if not target.node:
            raise ActionRefused(f"{target.name} is on no one node: ssh.run needs an instance or a node")
        if target.instance and not safe_name(target.instance):
            raise ActionRefused(f"unsafe instance id {target.instance[:80]!a}: no command is run for it")

    def preview(self, intent: Intent, params: JsonObject) -> str:
        return f"run {masked_argv(self.parse(intent.target, params).argv)} on {intent.target.node}"

    async def do(self, params: SshParams, intent: Intent, ctx: ActContext) -> Ending:
        settings = _settings(ctx)
        seconds = max(1, math.ceil(intent.timeout_s))
        line = _request(params.argv, intent, seconds) if settings.wrapper else shlex.join(params.argv)
        what = f"{params.argv[0]} on {intent.target.node}"
        host, port = await _place(intent.target, ctx, settings)
        async with ssh_door.connected(settings, intent.target.node, host, port) as connection:
            within_s = seconds + ANSWER_S if settings.wrapper else intent.timeout_s
            keep = ANSWER_MAX if settings.wrapper else KEEP
            try:
                with ctx.effect(intent):
                    reply = await ssh_door.say(
                        connection, line, keep=keep, within_s=within_s, kill=not settings.wrapper
                    )
            except ConnectionError as error:
                return unknown(f"{what}: {error}")
        if reply is None:
            return unknown(f"{what}: no answer within {within_s:g} s")
        return _wrapped(what, reply) if settings.wrapper else _plain(what, reply)

    async def seen(self, intent: Intent, ctx: ActContext) -> Outcome:
        settings = _settings(ctx)
        if not settings.wrapper:
            return Outcome.UNKNOWN
        body = {"id": intent.id, "not_after_ms": _not_after(intent), "wait_s": STATUS_WAIT_S}
        host, port = await _place(intent.target, ctx, settings)
        async with ssh_door.connected(settings, intent.target.node, host, port) as connection:
            try:
                line = _line("status", body)
                within_s = STATUS_WAIT_S + ANSWER_S
                reply = await ssh_door.say(connection, line, keep=ANSWER_MAX, within_s=within_s)
            except ConnectionError:
                return Outcome.UNKNOWN
        answer = _answer(reply) if reply else None
        if answer is None or answer.state == "refused":  # of the question, not of the command
            return Outcome.UNKNOWN
        return _ending("", answer).outcome


def _settings(ctx: ActContext) -> SshSettings:
    if ctx.settings.ssh is None:
        raise ActionRefused("ssh.run needs actions.ssh: user, key_file and known_hosts")
    return ctx.settings.ssh


async def _place(target: Target, ctx: ActContext, settings: SshSettings) -> tuple[str, int]:
    """Where the node is: as the operator says, else as the catalog says now."""
    if target.node in settings.hosts:
        return settings.hosts[target.node]
    return await catalog_address(target, ctx), settings.port


# ---- what is said to the wrapper


def _request(argv: list[str], intent: Intent, seconds: int) -> str:
    body = {
        "id": intent.id,
        "epoch": intent.epoch,
        "not_after_ms": _not_after(intent),
        "timeout_s": seconds,
        "argv": argv,
    }
    return _line("run", body)


def _not_after(intent: Intent) -> int:
    return int(intent.expires_at.timestamp() * 1000)


def _line(verb: str, body: JsonObject) -> str:
    """ASCII, and quoted: a shell in the place of the wrapper would find one word and nothing to expand."""
    return shlex.join(["consulguard-exec", verb, json.dumps(body)])


# ---- what comes back


def _answer(reply: ssh_door.Reply) -> Answer | None:
    try:
        answer = msgspec.json.decode(reply.stdout, type=Answer)
    except msgspec.MsgspecError:
        return None
    return answer if answer.version == 1 else None


def _wrapped(what: str, reply: ssh_door.Reply) -> Ending:
    answer = _answer(reply)
    if answer is None:
        said = masked(tidy(reply.stderr or reply.stdout))
        return unknown(f"{what}: it was not consulguard-exec that answered" + (f": {said}" if said else ""))
    return _ending(what, answer)


def _ending(what: str, answer: Answer) -> Ending:
    match answer.state:
        case "ended":
            first = " (the first outcome of this attempt)" if answer.again else ""
            return _ended(what + first, answer.code, answer.stderr or answer.stdout)
        case "deadline":
            said = masked(tidy(answer.stderr or answer.stdout))
            return unknown(f"{what} was ended after {answer.after_s} s" + (f": {said}" if said else ""))
        case "never":
            return retry(f"{what}: it never came")
        case "refused":
            sentence = f"{what} was refused: {tidy(answer.why)}"
            return retry(sentence) if answer.kind in _NOT_RUN_AND_MAY_BE else failed(sentence)
        case _:
            return unknown(f"{what}: {tidy(answer.why)}")


def _plain(what: str, reply: ssh_door.Reply) -> Ending:
    said = reply.stderr or reply.stdout
    if reply.signal:
        return failed(f"{what} ended with signal {tidy(reply.signal, 20)}: {masked(tidy(said))}")
    if reply.code is None:
        return unknown(f"{what}: the connection ended without an exit code")
    return _ended(what, reply.code, said)


def _ended(what: str, code: int, said: str) -> Ending:
    tail = f": {masked(tidy(said))}" if said.strip() else ""
    if code == 0:
        return done(f"{what} ended well{tail}")
    return failed(f"{what} ended with " + (f"exit code {code}" if code > 0 else f"signal {-code}") + tail)
