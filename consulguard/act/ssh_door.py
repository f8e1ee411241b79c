"""SSH as ``ssh.run`` uses it: a machine we know, our one key, one line to run; nothing else of SSH.

asyncssh is imported when it is needed: it takes its time, and most processes never connect.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from consulguard.act.base import SshSettings
from consulguard.act.text import tidy
from consulguard.errors import ActionRefused, NotSent

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection, SSHClientProcess, SSHReader

NOTHING_ELSE: dict[str, Any] = {
    "config": None,  # nobody's ~/.ssh/config
    "agent_path": None,
    "agent_forwarding": False,
    "preferred_auth": ("publickey",),
    "password_auth": False,
    "kbdint_auth": False,
    "host_based_auth": False,
    "gss_host": None,
    "gss_kex": False,
    "gss_auth": False,
    "x509_trusted_certs": None,
    "compression_algs": None,
    "request_pty": False,
    "send_env": None,
    "env": None,
}
END_S = 2.0  # for the server's good-bye


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """``code`` is None when the connection ended without one."""

    code: int | None
    signal: str = ""
    stdout: str
    stderr: str


def unsafe_file(path: str, what: str, *, secret: bool) -> str:
    """Why this file cannot be used, in one sentence; empty when it can. Its content is in no sentence."""
    try:
        info = os.stat(path)
    except OSError as error:
        return f"{what} {path}: {error.strerror}"
    if not stat.S_ISREG(info.st_mode):
        return f"{what} {path} is not a regular file"
    if info.st_uid not in (0, os.geteuid()):
        return f"{what} {path} belongs to user {info.st_uid}, neither root nor the one we run as"
    if secret and info.st_mode & 0o077:
        return f"others may read or write {what} {path}; run: chmod 600 {path}"
    if info.st_mode & 0o022:
        return f"others may write {what} {path}; run: chmod go-w {path}"
    return ""


def unsafe_files(settings: SshSettings) -> str:
    """As ``unsafe_file``, for all that ``ssh.run`` trusts."""
    return unsafe_file(settings.key_file, "the SSH key", secret=True) or unsafe_file(
        settings.known_hosts, "the known_hosts file", secret=False
    )


@asynccontextmanager
async def connected(settings: SshSettings, node: str, host: str, port: int) -> AsyncIterator[SSHClientConnection]:
    """A connection to the machine that known_hosts knows under the node's name.

    Raises ActionRefused where trying again is no use, NotSent where it may be; in neither case anything was run.
    """
    await asyncio.to_thread(import_module, "asyncssh")  # long enough to hold up the loop
    import asyncssh

    key, known = _trusted(settings, node)
    where = f"{node} at {host} port {port}"
    try:
        async with asyncio.timeout(settings.connect_timeout_s):
            connection = await asyncssh.connect(
                host,
                port,
                username=settings.user,
                client_keys=[key],
                known_hosts=known,
                host_key_alias=node,
                keepalive_interval=15,
                **NOTHING_ELSE,
            )
    except asyncssh.HostKeyNotVerifiable:
        raise ActionRefused(f"{where} shows a host key that known_hosts does not have for {node}") from None
    except asyncssh.PermissionDenied:
        raise ActionRefused(f"{where} does not take our key for user {settings.user}") from None
    except (asyncssh.KeyExchangeFailed, asyncssh.ProtocolNotSupported) as error:
        raise ActionRefused(f"{where} and we have no common way to talk: {tidy(str(error))}") from None
    except (OSError, asyncssh.Error) as error:  # OSError: also TimeoutError
        reason = tidy(str(error)) or f"no connection within {settings.connect_timeout_s:g} s"
        raise NotSent(f"nothing was sent to {where}: {reason}") from error
    try:
        yield connection
    finally:
        connection.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await connection.wait_closed()


def _trusted(settings: SshSettings, node: str) -> tuple[Any, Any]:
    """Our key, and what known_hosts has under the node's name (and under no address: Consul names those)."""
    import asyncssh

    if reason := unsafe_files(settings):
        raise ActionRefused(reason)
    try:
        key = asyncssh.read_private_key(settings.key_file)
    except (OSError, ValueError, asyncssh.KeyImportError):
        raise ActionRefused(f"{settings.key_file} is not a private key without a passphrase") from None
    try:
        known = asyncssh.read_known_hosts(settings.known_hosts).match(node, "", None)
    except (OSError, ValueError):
        raise ActionRefused(f"{settings.known_hosts} is no known_hosts file") from None
    if not known[0] and not known[1]:
        raise ActionRefused(f"{settings.known_hosts} has no host key for {node}: nothing is sent to a stranger")
    return key, known


async def say(
    connection: SSHClientConnection, line: str, *, keep: int, within_s: float, kill: bool = False
) -> Reply | None:
    """Have ``line`` run; None when it has not ended within ``within_s``.

    Raises ConnectionError when the connection is lost. ``keep``: bytes of each of stdout and stderr. ``kill``: the
    server is asked to kill what is not waited for any longer; whether it does, nothing tells.
    """
    import asyncssh

    try:
        async with asyncio.timeout(within_s):
            process = await connection.create_process(line, encoding=None, stdin=asyncssh.DEVNULL)
            return await _ended(process, keep, kill)
    except TimeoutError:
        return None
    except asyncssh.Error as error:
        raise ConnectionError(tidy(str(error)) or "the connection was lost") from error


async def _ended(process: SSHClientProcess[bytes], keep: int, kill: bool) -> Reply:
    over = False
    try:
        out, err = await asyncio.gather(_kept(process.stdout, keep), _kept(process.stderr, keep))
        await process.wait_closed()
        over = True
    finally:
        if kill and not over:
            process.kill()
    signal = process.exit_signal
    return Reply(
        code=None if signal else process.exit_status, signal=signal[0] if signal else "", stdout=out, stderr=err
    )


async def _kept(pipe: SSHReader[bytes], keep: int) -> str:
    """Read to the end, keep the first bytes."""
    kept = bytearray()
    while chunk := await pipe.read(65536):
        kept += chunk[: max(0, keep - len(kept))]
    return kept.decode("utf-8", "replace")
