"""Files that decide what we may do: every way in which one can be wrong, in one sentence with its name."""

import os
import stat
import subprocess
import sys

import pytest
from consulguard.config.files import MAX_BYTES, UnsafeFile, check, read_secret, read_text, yaml_files
from consulguard.errors import ConfigError


def refused(call, *args, **kwargs):
    with pytest.raises(ConfigError) as caught:
        call(*args, **kwargs)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def stat_of(mode, *, uid=0, size=1):
    return os.stat_result((stat.S_IFREG | mode, 1, 1, 1, uid, 0, size, 0, 0, 0))


def test_what_is_not_a_plain_file_is_refused_without_waiting(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (fifo, tmp_path, tmp_path / "none", loop, "/dev/zero", "/dev/stdin/none", "a\0b", "x" * 5000):
        assert str(path).replace("\0", "")[:20] in refused(read_text, path, "the file").replace("\0", "")


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: reading it would take hours
    assert f"more than the {MAX_BYTES} allowed" in refused(read_text, path, "the file")


def test_text_must_be_utf8(tmp_path):
    path = tmp_path / "latin"
    path.write_bytes("größe".encode("latin-1"))
    assert "not UTF-8 (byte 2)" in refused(read_text, path, "the file")


@pytest.mark.parametrize("mode", [0o602, 0o666, 0o777])
def test_a_world_writable_file_is_refused(tmp_path, mode):
    path = tmp_path / "f"
    path.write_text("x")
    path.chmod(mode)
    with pytest.raises(UnsafeFile, match=f"chmod o-w {path}"):
        read_text(path, "the file")
    assert read_text(path, "the file", anybodys=True) == "x"


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o444, 0o600, 0o644, 0o660, 0o664])
def test_readable_or_group_writable_is_fine(mode):
    check(stat_of(mode, uid=os.geteuid()), "the file", "f", max_bytes=10)


def test_a_file_of_somebody_else_is_refused_and_one_of_roots_is_not():
    stranger = os.geteuid() + 1
    with pytest.raises(UnsafeFile, match=f"f: the file belongs to user {stranger}"):
        check(stat_of(0o600, uid=stranger), "the file", "f", max_bytes=10)
    check(stat_of(0o600, uid=0), "the file", "f", max_bytes=10)
    check(stat_of(0o666, uid=stranger), "the file", "f", max_bytes=10, anybodys=True)


class TestPlaybookFolder:
    def test_only_its_own_yaml_files_in_order(self, tmp_path):
        for name in ("b.yml", "a.yaml", ".hidden.yaml", "c.txt"):
            (tmp_path / name).write_text("")
        (tmp_path / "inner").mkdir()
        (tmp_path / "inner" / "d.yaml").write_text("")
        assert [p.name for p in yaml_files(tmp_path)] == ["a.yaml", "b.yml"]

    def test_too_many_files(self, tmp_path):
        for number in range(201):
            (tmp_path / f"{number}.yaml").touch()
        assert "201 files, more than 200" in refused(yaml_files, tmp_path)

    def test_a_link_that_leads_out(self, tmp_path):
        folder = tmp_path / "playbooks"
        folder.mkdir()
        (tmp_path / "outside.yaml").write_text("")
        (folder / "in.yaml").symlink_to("../outside.yaml")
        assert refused(yaml_files, folder).startswith(f"{folder}/in.yaml: the link leads out")

    def test_links_as_kubernetes_makes_them_stay_inside(self, tmp_path):
        (tmp_path / "..2026_01").mkdir()
        (tmp_path / "..2026_01" / "a.yaml").write_text("")
        (tmp_path / "..data").symlink_to("..2026_01")
        (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
        assert [p.name for p in yaml_files(tmp_path)] == ["a.yaml"]

    def test_a_ring_of_links_is_left_to_the_reader(self, tmp_path):
        (tmp_path / "a.yaml").symlink_to("b.yaml")
        (tmp_path / "b.yaml").symlink_to("a.yaml")
        (path, _) = yaml_files(tmp_path)
        assert "cannot be read" in refused(read_text, path, "the playbook")

    def test_a_folder_everybody_may_write(self, tmp_path):
        folder = tmp_path / "playbooks"
        folder.mkdir()
        folder.chmod(0o777)
        with pytest.raises(UnsafeFile, match="everybody may write the playbook folder"):
            yaml_files(folder)
        folder.chmod(0o755)

    def test_a_folder_of_mode_777_that_is_mounted_read_only(self, tmp_path):
        """What a ConfigMap's volume is in a pod."""
        folder = tmp_path / "playbooks"
        folder.mkdir()
        (folder / "a.yaml").touch()
        folder.chmod(0o777)
        look = tmp_path / "look.py"
        look.write_text(
            "import sys\nfrom pathlib import Path\nfrom consulguard.config.files import yaml_files\n"
            "print(*(p.name for p in yaml_files(Path(sys.argv[1]))))\n"
        )
        mount = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
        inside = f"{mount} && exec {sys.executable} {look} {folder}"
        command = ["unshare", "--mount", "bash", "-c", inside]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        folder.chmod(0o755)
        if os.geteuid() != 0:
            pytest.skip("only root may mount")
        assert done.stdout.split() == ["a.yaml"], done.stderr

    def test_a_folder_that_is_none(self, tmp_path):
        assert "does not exist" in refused(yaml_files, tmp_path / "none")
        (tmp_path / "file").touch()
        assert "does not exist" in refused(yaml_files, tmp_path / "file")


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o444, 0o600, 0o640, 0o644])
def test_a_secret_may_be_readable_for_others(tmp_path, mode):
    path = tmp_path / "s"
    path.write_text("x")
    path.chmod(mode)
    assert read_secret(path, "the token file") == "x"


@pytest.mark.parametrize(("mode", "who"), [(0o660, "g-w"), (0o620, "g-w"), (0o602, "o-w"), (0o666, "o-w")])
def test_a_secret_that_others_may_write_is_refused(tmp_path, mode, who):
    path = tmp_path / "s"
    path.write_text("s3cret")
    path.chmod(mode)
    with pytest.raises(UnsafeFile, match=f"the token file; run: chmod {who} {path}") as caught:
        read_secret(path, "the token file")
    assert "s3cret" not in str(caught.value)
