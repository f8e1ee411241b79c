"""``ssh.run`` on a real sshd, with and without ``consulguard-exec``."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from consulguard.act import ActContext, ActSettings
from consulguard.model import Intent, Outcome, Target
from consulguard.testing import FakeClock

from tests.shell.act.support import CLOCK, EPOCH, INSTANCE, closed_address, context, do, intent, look
from tests.support.consul import Server
from tests.support.sshd import Cable, Sshd
from tests.support.waiting import eventually

pytestmark = pytest.mark.real

TRICKS = ["web;rm -rf /", "$(id)", "`id`", "-rf", "--config=x", "../../etc", "a b", "\u0430pi"]
SLOW_S = 30.0  # for what takes far less


@pytest.fixture(scope="module")
def _fenced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("fenced")).open()
    yield server
    server.close()


@pytest.fixture(scope="module")
def _plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("plain"), wrapper=False).open()
    yield server
    server.close()


@pytest.fixture
def fenced(_fenced: Sshd) -> Sshd:
    """The key's forced command is the wrapper, which has seen nothing yet."""
    _fenced.fresh()
    return _fenced


@pytest.fixture
def plain(_plain: Sshd) -> Sshd:
    """The key may do what the user may."""
    _plain.fresh()
    return _plain


def restart(server: Sshd, *words: str, **fields: Any) -> Intent:
    given = {"expires_at": CLOCK.now() + timedelta(minutes=2)} | fields
    return intent("ssh.run", {"argv": [server.effect, *words]}, **given)


def over(server: Sshd, address: str = "", epoch: int = EPOCH, **fields: Any) -> ActContext:
    settings = ActSettings(ssh=server.settings(**fields))
    return context(address or closed_address(), settings, fence=lambda: epoch)


async def until(what: Callable[[], object]) -> None:
    async def seen() -> object:
        return what()

    await eventually(seen, bool, within_s=SLOW_S)


async def told(server: Sshd, wanted: Intent) -> Outcome:
    """What a probe tells, once the command has had its time."""
    return await eventually(
        lambda: look(wanted, over(server)), lambda seen: seen is not Outcome.UNKNOWN, within_s=SLOW_S
    )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestWithTheWrapper:
    async def test_exit_code_and_output_are_kept(self, fenced: Sshd) -> None:
        good = await do(restart(fenced, "shows"), over(fenced))
        assert good.outcome is Outcome.DONE, good.detail
        names = "['CONSULGUARD_EPOCH', 'CONSULGUARD_INTENT', 'HOME', 'LANG', 'PATH'"
        assert names in good.detail
        bad = await do(restart(fenced, "fails", id="run-1/1/1"), over(fenced))
        assert (bad.outcome, "exit code 1: no such unit" in bad.detail) == (Outcome.FAILED, True)
        much = await do(restart(fenced, "talks", id="run-1/2/1"), over(fenced))
        assert much.outcome is Outcome.DONE
        assert 300 < len(much.detail) < 600
        assert fenced.effects() == ["run-1/0/1 shows", "run-1/1/1 fails", "run-1/2/1 talks"]

    async def test_an_attempt_is_run_once_whoever_asks_again(self, fenced: Sshd) -> None:
        first, second = [await do(restart(fenced, "fails"), over(fenced)) for _ in range(2)]
        assert (first.outcome, second.outcome) == (Outcome.FAILED, Outcome.FAILED)
        assert "first outcome" in second.detail
        assert await look(restart(fenced, "fails"), over(fenced)) is Outcome.FAILED
        assert fenced.effects() == ["run-1/0/1 fails"]
        other = await do(restart(fenced, "shows"), over(fenced))
        assert (other.outcome, "another command" in other.detail) == (Outcome.FAILED, True)
        assert len(fenced.effects()) == 1

    async def test_a_connection_cut_after_the_effect(self, fenced: Sshd) -> None:
        wanted = restart(fenced, "waits")
        async with Cable(fenced.port) as cable:
            ctx = over(fenced, hosts={"local": ("127.0.0.1", cable.port)})
            task = asyncio.create_task(do(wanted, ctx))
            await until(fenced.effects)
            cable.cut()
            result = await task
        assert result.outcome is Outcome.UNKNOWN
        fenced.gate.touch()
        assert await told(fenced, wanted) is Outcome.DONE
        again = await do(wanted, over(fenced))
        assert (again.outcome, fenced.effects()) == (Outcome.DONE, ["run-1/0/1 waits"])

    async def test_a_bot_that_is_stopped_leaves_the_command_to_its_end(self, fenced: Sshd) -> None:
        wanted = restart(fenced, "waits")
        task = asyncio.create_task(do(wanted, over(fenced)))
        await until(fenced.effects)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        fenced.gate.touch()
        assert await told(fenced, wanted) is Outcome.DONE

    async def test_an_effect_that_hangs_is_ended_on_the_target_with_all_it_started(self, fenced: Sshd) -> None:
        wanted = restart(fenced, "hangs", timeout_s=4.0)
        result = await do(wanted, over(fenced))
        assert result.outcome is Outcome.UNKNOWN
        assert re.search("ended after 4 s|no answer within 8 s", result.detail)  # a busy target says it too late
        family = [int(p) for p in fenced.pids.read_text().split()]
        await until(lambda: not any(map(alive, family)))
        assert await look(wanted, over(fenced)) is Outcome.UNKNOWN  # half done: a person looks
        assert len(fenced.effects()) == 1

    async def test_what_never_came_will_not_come_any_more(self, fenced: Sshd) -> None:
        wanted = restart(fenced)
        assert await look(wanted, over(fenced)) is Outcome.RETRY
        late = await do(wanted, over(fenced))
        assert (late.outcome, "given up" in late.detail) == (Outcome.FAILED, True)
        assert fenced.effects() == []
        assert (await do(restart(fenced, id="run-1/0/2"), over(fenced))).outcome is Outcome.DONE

    async def test_an_older_epoch_is_refused(self, fenced: Sshd) -> None:
        newer = restart(fenced, id="run-2/0/1", epoch=EPOCH + 1)
        assert (await do(newer, over(fenced, epoch=EPOCH + 1))).outcome is Outcome.DONE
        older = await do(restart(fenced), over(fenced))
        assert (older.outcome, "epoch" in older.detail) == (Outcome.FAILED, True)
        assert len(fenced.effects()) == 1

    async def test_what_is_late_for_the_target_is_refused_there(self, fenced: Sshd) -> None:
        """Our own clock stood still while the request was under way."""
        now = CLOCK.now()
        ctx = over(fenced)
        asleep = ActContext(
            consul=ctx.consul,
            settings=ctx.settings,
            fence=ctx.fence,
            clock=FakeClock(now - timedelta(minutes=5)),
        )
        result = await do(restart(fenced, expires_at=now - timedelta(seconds=1)), asleep)
        assert (result.outcome, "too late" in result.detail) == (Outcome.RETRY, True)
        assert fenced.effects() == []

    async def test_words_the_allow_list_does_not_hold_are_refused(self, fenced: Sshd) -> None:
        for nth, words in enumerate((["$(id)"], ["a'b; id"], ["shows", "--config=x"])):
            result = await do(restart(fenced, *words, id=f"run-1/{nth}/1"), over(fenced))
            assert (result.outcome, "does not hold" in result.detail) == (Outcome.FAILED, True)
        assert fenced.effects() == []

    async def test_an_allow_list_that_others_may_write_allows_nothing(self, fenced: Sshd) -> None:
        fenced.allow.chmod(0o646)
        result = await do(restart(fenced), over(fenced))
        assert (result.outcome, "others may write" in result.detail) == (Outcome.FAILED, True)
        assert fenced.effects() == []

    async def test_a_damaged_memory_runs_nothing_and_tells_nothing(self, fenced: Sshd) -> None:
        assert (await do(restart(fenced), over(fenced))).outcome is Outcome.DONE
        (fenced.state / "state.json").write_text("{}")
        result = await do(restart(fenced, id="run-1/0/2"), over(fenced))
        assert (result.outcome, "damaged" in result.detail) == (Outcome.FAILED, True)
        assert await look(restart(fenced), over(fenced)) is Outcome.UNKNOWN
        assert len(fenced.effects()) == 1


class TestWhoIsTrusted:
    @pytest.mark.parametrize(
        ("name", "key", "why"),
        [
            ("local", "other", "host key"),
            ("elsewhere", "host", "has no host key for local"),
            ("127.0.0.1", "host", "has no host key for local"),  # the address is Consul's word only
        ],
    )
    async def test_a_host_key_that_is_not_the_nodes(
        self, fenced: Sshd, tmp_path: Path, name: str, key: str, why: str
    ) -> None:
        known = tmp_path / "known"
        known.write_text(f"{name} {fenced.public(key)}")
        result = await do(restart(fenced), over(fenced, known_hosts=str(known)))
        assert (result.outcome, why in result.detail) == (Outcome.FAILED, True), result.detail
        assert fenced.effects() == []

    async def test_a_host_certificate_is_for_the_nodes_name(self, fenced: Sshd, tmp_path: Path) -> None:
        known = tmp_path / "known"
        known.write_text(f"@cert-authority * {fenced.public('ca')}")
        good = await do(restart(fenced), over(fenced, known_hosts=str(known)))
        assert good.outcome is Outcome.DONE, good.detail
        target = msgspec.structs.replace(INSTANCE, node="impostor")
        wanted = restart(fenced, target=target, id="run-1/0/2")
        hosts = {"impostor": ("127.0.0.1", fenced.port)}
        bad = await do(wanted, over(fenced, known_hosts=str(known), hosts=hosts))
        assert (bad.outcome, "host key" in bad.detail) == (Outcome.FAILED, True), bad.detail
        assert len(fenced.effects()) == 1

    async def test_a_key_the_target_does_not_know(self, fenced: Sshd) -> None:
        result = await do(restart(fenced), over(fenced, key_file=str(fenced.folder / "other")))
        assert (result.outcome, "does not take our key" in result.detail) == (Outcome.FAILED, True)
        assert fenced.effects() == []

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
    async def test_a_key_that_others_may_read(self, fenced: Sshd, tmp_path: Path, mode: int) -> None:
        copy = tmp_path / "key"
        copy.write_bytes((fenced.folder / "client").read_bytes())
        copy.chmod(mode)
        before = fenced.connections()
        result = await do(restart(fenced), over(fenced, key_file=str(copy)))
        assert (result.outcome, "chmod 600" in result.detail) == (Outcome.FAILED, True)
        assert fenced.connections() == before

    @pytest.mark.parametrize("text", ["", "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n"])
    async def test_what_is_no_key(self, fenced: Sshd, tmp_path: Path, text: str) -> None:
        bad = tmp_path / "key"
        bad.write_text(text)
        bad.chmod(0o600)
        result = await do(restart(fenced), over(fenced, key_file=str(bad)))
        assert (result.outcome, "not a private key" in result.detail) == (Outcome.FAILED, True)
        assert "hunter2" not in result.detail

    @pytest.mark.parametrize("name", TRICKS)
    @pytest.mark.parametrize("field", ["node", "service", "instance"])
    async def test_a_target_with_such_a_name_is_not_even_called(self, fenced: Sshd, field: str, name: str) -> None:
        before = fenced.connections()
        target = msgspec.structs.replace(INSTANCE, **{field: name})
        wanted = restart(fenced, target=target)
        result = await do(wanted, over(fenced, hosts={name: ("127.0.0.1", fenced.port)}))
        assert (result.outcome, "unsafe" in result.detail) == (Outcome.FAILED, True)
        assert await look(wanted, over(fenced)) is Outcome.UNKNOWN
        assert fenced.connections() == before

    async def test_without_settings_nothing_is_reached(self, fenced: Sshd) -> None:
        result = await do(restart(fenced), context(closed_address()))
        assert (result.outcome, "actions.ssh" in result.detail) == (Outcome.FAILED, True)


class TestWhereItIs:
    async def test_the_address_is_read_from_consul_just_before(self, fenced: Sshd, consul_server: Server) -> None:
        fenced.known_hosts.write_text(f"{consul_server.node} {fenced.public('host')}")
        target = Target(dc="dc1", service="web", node=consul_server.node, instance="web-1")
        try:
            ctx = over(fenced, consul_server.address, hosts={}, port=fenced.port)
            async with ctx.consul:
                here = await do(restart(fenced, target=target), ctx)
                assert here.outcome is Outcome.DONE, here.detail
                gone = msgspec.structs.replace(target, node="no-such-node")
                nowhere = await do(restart(fenced, target=gone, id="run-1/0/2"), ctx)
                assert (nowhere.outcome, "not registered" in nowhere.detail) == (Outcome.FAILED, True)
        finally:
            fenced.known_hosts.write_text(f"{fenced.node} {fenced.public('host')}")
        assert len(fenced.effects()) == 1

    async def test_nobody_there_or_nobody_who_speaks(self, fenced: Sshd) -> None:
        closed = int(closed_address().rsplit(":", 1)[1])
        nobody = await do(restart(fenced), over(fenced, hosts={"local": ("127.0.0.1", closed)}))
        assert nobody.outcome is Outcome.RETRY, nobody.detail

        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            ctx = over(fenced, hosts={"local": ("127.0.0.1", port)}, connect_timeout_s=0.5)
            silent = await do(restart(fenced), ctx)
        assert (silent.outcome, "0.5 s" in silent.detail) == (Outcome.RETRY, True), silent.detail
        assert fenced.effects() == []

    async def test_consul_cannot_tell(self, fenced: Sshd) -> None:
        ctx = over(fenced, hosts={})
        async with ctx.consul:
            assert (await do(restart(fenced), ctx)).outcome is Outcome.RETRY


class TestWithoutTheWrapper:
    async def test_exit_codes_and_a_shell_that_finds_nothing_to_expand(self, plain: Sshd, tmp_path: Path) -> None:
        trap = tmp_path / "trap"
        tricky = f"$(touch {trap}); `touch {trap}` | touch {trap} 'x' \"y\" *"
        good = await do(restart(plain, "shows", tricky), over(plain))
        assert (good.outcome, "$(touch" in good.detail) == (Outcome.DONE, True), good.detail
        assert not trap.exists()
        bad = await do(restart(plain, "fails"), over(plain))
        assert (bad.outcome, "exit code 1: no such unit" in bad.detail) == (Outcome.FAILED, True)
        much = await do(restart(plain, "talks"), over(plain))
        assert (much.outcome, len(much.detail) < 600) == (Outcome.DONE, True)

    async def test_nobody_can_tell_after_a_cut(self, plain: Sshd) -> None:
        wanted = restart(plain, "waits")
        async with Cable(plain.port) as cable:
            task = asyncio.create_task(do(wanted, over(plain, hosts={"local": ("127.0.0.1", cable.port)})))
            await until(plain.effects)
            cable.cut()
            assert (await task).outcome is Outcome.UNKNOWN
        plain.gate.touch()
        assert await look(wanted, over(plain)) is Outcome.UNKNOWN
        assert len(plain.effects()) == 1

    async def test_the_deadline(self, plain: Sshd) -> None:
        wanted = restart(plain, "hangs", timeout_s=2.0)
        result = await do(wanted, over(plain))
        assert (result.outcome, "no answer within 2 s" in result.detail) == (Outcome.UNKNOWN, True)
        for pid in map(int, plain.pids.read_text().split() if plain.pids.exists() else ()):
            if alive(pid):
                os.kill(pid, 9)

    async def test_a_shell_where_the_wrapper_should_be_does_nothing(self, plain: Sshd, tmp_path: Path) -> None:
        trap = tmp_path / "trap"
        wanted = restart(plain, f"$(touch {trap})", f"'; touch {trap}; '")
        result = await do(wanted, over(plain, wrapper=True))
        assert (result.outcome, "not consulguard-exec" in result.detail) == (Outcome.UNKNOWN, True)
        assert await look(wanted, over(plain, wrapper=True)) is Outcome.UNKNOWN
        assert (trap.exists(), plain.effects()) == (False, [])
