"""``consulguard shards``, and verbs where there are several units."""

from __future__ import annotations

from pathlib import Path

from consulguard.testing import RealConsul

from tests.shell.cli.support import Cli

UNITS = [{"datacenter": "dc1"}, {"datacenter": "dc2", "partition": "web"}]


def several(folder: Path, address: str) -> Cli:
    (folder / "dsn").write_text("host=127.0.0.1 port=1 user=nobody dbname=none connect_timeout=1\n")
    (folder / "dsn").chmod(0o600)
    journal = {"path": "state/journal.sqlite", "store": "postgresql", "dsn_file": "dsn"}
    return Cli(folder, address, journal=journal, coordinate={"backend": "consul", "units": UNITS})


def test_one_unit_is_all_there_is(tmp_path: Path) -> None:
    done = Cli(tmp_path).with_config("shards", "-o", "json")
    assert done.code == 0
    nobody = {"datacenter": "", "partition": "", "owner": None, "holder": "", "epoch": None}
    assert done.json == {"units": [nobody], "members": []}


def test_nobody_is_there(tmp_path: Path, real_consul_module: RealConsul) -> None:
    cli = several(tmp_path, real_consul_module.address)
    told = cli.with_config("shards", "-o", "json")
    assert told.code == 0, told.err
    nobody = {"owner": None, "holder": "", "epoch": None}
    assert told.json["units"] == [
        {"datacenter": "dc1", "partition": "", **nobody},
        {"datacenter": "dc2", "partition": "web", **nobody},
    ]
    shown = cli.with_config("shards")
    assert shown.out.splitlines()[0].split() == ["DATACENTER", "PARTITION", "OWNER", "HOLDER", "EPOCH"]


def test_a_verb_is_about_one_unit(tmp_path: Path) -> None:
    cli = several(tmp_path, "http://127.0.0.1:1")
    for verb in (("status",), ("pause", "--reason", "x", "--datacenter", "dc9")):
        done = cli.with_config(*verb)
        assert done.code == 2
        assert "--datacenter dc1, --datacenter dc2 --partition web" in done.err
    named = cli.with_config("status", "--datacenter", "dc2")
    assert "unit" not in named.err
    assert cli.with_config("run", "--datacenter", "dc1").code == 2
    assert cli.with_config("playbook", "lint").code == 0
