"""From the file's words to settings: tokens, TLS files, playbooks."""

import os
import subprocess
import sys

import pytest
from consulguard.config import load, settings
from consulguard.config.files import UnsafeFile
from consulguard.errors import ConfigError

GOOD = """name: {name}
match: {{scope: instance, matchers: ['service="web"']}}
steps: [{{name: drain, uses: consul.maintenance, with: {{enable: true}}}}]
"""
NOWHERE = {"HOME": "/nowhere", "XDG_CONFIG_HOME": "/nowhere"}


@pytest.fixture
def house(tmp_path):
    """A configuration with a playbook folder; ``house(text)`` loads it."""
    (tmp_path / "playbooks").mkdir()

    def make(text="mode: observe\n", **env):
        (tmp_path / "c.yaml").write_text(text)
        return load(str(tmp_path / "c.yaml"), None, NOWHERE | env)

    make.books = tmp_path / "playbooks"
    return make


class TestTokens:
    @pytest.fixture(params=["consul", "slack"])
    def named(self, request, house, tmp_path):
        """Loads a configuration that names the file ``tok``, and reads it."""
        if request.param == "consul":
            return tmp_path / "tok", lambda: settings.client(house("consul: {token_file: tok}\n"))
        text = "slack: {enabled: true, bot_token_file: tok}\n"
        return tmp_path / "tok", lambda: settings.slack_token(house(text))

    def test_a_missing_one(self, named):
        path, read = named
        with pytest.raises(ConfigError, match=f"{path}: the (Consul|Slack) token file does not exist"):
            read()

    def test_one_everybody_may_write(self, named):
        path, read = named
        path.write_text("s3cret-token")
        path.chmod(0o666)
        with pytest.raises(UnsafeFile, match="chmod o-w") as caught:
            read()
        assert "s3cret" not in str(caught.value)

    def test_a_fifo_or_device_does_not_hang(self, named):
        path, read = named
        os.mkfifo(path)
        with pytest.raises(ConfigError, match="not a regular file"):
            read()
        path.unlink()
        path.symlink_to("/dev/zero")
        with pytest.raises(ConfigError, match="not a regular file"):
            read()

    @pytest.mark.parametrize("text", ["", " \n", "two s3cret words", "s3cret\nline", "s3cretü"])
    def test_what_is_no_token_is_not_repeated(self, named, text):
        path, read = named
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            read()
        assert str(path) in str(caught.value)
        assert "s3cret" not in str(caught.value)

    def test_the_environment_comes_first(self, house, tmp_path):
        (tmp_path / "tok").write_text("from-file\n")
        text = "slack: {enabled: true, bot_token_file: tok}\n"
        assert settings.slack_token(house(text)).get() == "from-file"
        assert settings.slack_token(house(text, SLACK_BOT_TOKEN="from-env")).get() == "from-env"

    def test_slack_without_a_token(self, house):
        with pytest.raises(ConfigError, match="bot_token_file or \\$SLACK_BOT_TOKEN"):
            settings.slack_token(house("slack: {enabled: true}\n"))


class TestTls:
    TEXT = "consul: {http_addr: 'https://x:1', %s}\n"

    @pytest.mark.parametrize("key", ["ca_file", "client_cert"])
    def test_bad_files(self, house, tmp_path, key):
        with pytest.raises(ConfigError, match="does not exist"):
            settings.client(house(self.TEXT % f"{key}: pem"))
        os.mkfifo(tmp_path / "pem")
        with pytest.raises(ConfigError, match="not a regular file"):
            settings.client(house(self.TEXT % f"{key}: pem"))
        (tmp_path / "pem").unlink()
        (tmp_path / "pem").write_text("nothing of the kind")
        with pytest.raises(ConfigError, match="the TLS files cannot be used"):
            settings.client(house(self.TEXT % f"{key}: pem"))


def test_header_files_hold_names_and_values(house, tmp_path):
    text = "actions: {http: {hosts: {j: {url: 'http://j', headers_file: h}}}}\n"
    (tmp_path / "h").write_text("Authorization: Bearer s3cret\n\nX-B: c:d\n")
    (host,) = settings.act_settings(house(text)).allowed_hosts
    assert host.headers == {"Authorization": "Bearer s3cret", "X-B": "c:d"}
    (tmp_path / "h").write_text("Bearer s3cret")
    with pytest.raises(ConfigError, match="Name: value") as caught:
        settings.act_settings(house(text))
    assert "s3cret" not in str(caught.value)


def test_prometheus_is_asked_where_and_as_the_file_says(house, tmp_path):
    assert settings.act_settings(house("mode: observe\n")).prometheus is None
    text = "actions: {prometheus: {address: 'https://p:9090/prom/', token_file: t, ca_file: %s, timeout: 3s}}\n"
    with pytest.raises(ConfigError, match="the Prometheus token file does not exist"):
        settings.act_settings(house(text % "''"))
    (tmp_path / "t").write_text("s3cret\n")
    made = settings.act_settings(house(text % "''")).prometheus
    assert (made.address, made.token.get(), made.ssl, made.timeout_s) == (
        "https://p:9090/prom",
        "s3cret",
        True,
        3.0,
    )
    assert "s3cret" not in repr(made)
    (tmp_path / "ca").write_text("nothing of the kind")
    with pytest.raises(ConfigError, match="the TLS files cannot be used"):
        settings.act_settings(house(text % "ca"))


class TestSsh:
    TEXT = "actions: {ssh: {user: cg, key_file: key, known_hosts: known%s}}\n"

    @pytest.fixture(autouse=True)
    def files(self, house, tmp_path):
        for name, mode in (("key", 0o600), ("known", 0o644)):
            (tmp_path / name).write_text("hunter2")
            (tmp_path / name).chmod(mode)

    def test_nothing_said_nothing_reached(self, house):
        assert settings.act_settings(house()).ssh is None

    def test_what_is_said(self, house, tmp_path):
        hosts = "{a: a.example, b: '10.0.0.2:22', c: '[::1]:3'}"
        more = f", port: 2022, wrapper: false, connect_timeout: 3s, hosts: {hosts}"
        ssh = settings.act_settings(house(self.TEXT % more)).ssh
        assert (ssh.user, ssh.wrapper, ssh.port, ssh.connect_timeout_s) == ("cg", False, 2022, 3.0)
        assert (ssh.key_file, ssh.known_hosts) == (str(tmp_path / "key"), str(tmp_path / "known"))
        assert ssh.hosts == {"a": ("a.example", 2022), "b": ("10.0.0.2", 22), "c": ("::1", 3)}

    def test_half_of_it(self, house):
        with pytest.raises(ConfigError, match="also needs key_file and known_hosts"):
            settings.act_settings(house("actions: {ssh: {user: cg}}\n"))

    @pytest.mark.parametrize("name", ["key", "known"])
    def test_files_that_others_may_change_or_read(self, house, tmp_path, name):
        (tmp_path / name).chmod(0o664)
        with pytest.raises(UnsafeFile, match=f"{name}; run: chmod") as caught:
            settings.act_settings(house(self.TEXT % ""))
        assert "hunter2" not in str(caught.value)
        (tmp_path / name).unlink()
        with pytest.raises(ConfigError, match="No such file"):
            settings.act_settings(house(self.TEXT % ""))

    @pytest.mark.parametrize(
        "more",
        ["hosts: {a: 'x y'}", "hosts: {a: 'x:0'}", "hosts: {a: 'x:99999'}", "hosts: {a: '-oProxyCommand=x'}",
         "hosts: {a: 'root@x'}", "hosts: {a: '::1'}", "connect_timeout: 21s", "port: 0", "password: x"],
    )  # fmt: skip
    def test_what_is_refused(self, house, more):
        with pytest.raises(ConfigError):
            settings.act_settings(house(self.TEXT % f", {more}"))


class TestKubernetes:
    def test_nothing_is_allowed_unless_it_is_named(self, house):
        kube = settings.act_settings(house()).kubernetes
        assert (kube.namespaces, kube.cordon, kube.kubeconfig) == ((), False, "")

    def test_a_kubeconfig_is_found_beside_the_configuration(self, house, tmp_path):
        (tmp_path / "kube").write_text("clusters: []\n")
        text = "actions: {kubernetes: {kubeconfig: kube, context: x, namespaces: [shop], request_timeout: 3s}}\n"
        kube = settings.act_settings(house(text)).kubernetes
        assert kube.kubeconfig == str(tmp_path / "kube")
        assert (kube.context, kube.namespaces, kube.request_timeout_s) == ("x", ("shop",), 3.0)

    def test_one_that_others_may_write_is_refused(self, house, tmp_path):
        (tmp_path / "kube").write_text("clusters: []\n")
        (tmp_path / "kube").chmod(0o666)
        with pytest.raises(ConfigError, match="everybody may write the kubeconfig"):
            settings.act_settings(house("actions: {kubernetes: {kubeconfig: kube}}\n"))
        with pytest.raises(ConfigError, match="does not exist"):
            settings.act_settings(house("actions: {kubernetes: {kubeconfig: none}}\n"))

    @pytest.mark.parametrize(
        ("name", "words"), [("kube-system", "never acted upon"), ("Shop", "not the name"), ("a/b", "not the name")]
    )
    def test_namespaces_that_cannot_be_meant(self, house, name, words):
        with pytest.raises(ConfigError, match=words):
            house(f"actions: {{kubernetes: {{namespaces: ['{name}']}}}}\n")


def test_a_socket_needs_a_short_name(house, tmp_path):
    with pytest.raises(ConfigError, match="longer than the 107 bytes"):
        settings.socket_path(house(f"journal: {{path: {'x' * 150}/j.sqlite}}\n"))


class TestPlaybooks:
    def test_a_broken_one_does_not_stop_the_good_ones(self, house):
        (house.books / "good.yaml").write_text(GOOD.format(name="good"))
        (house.books / "bad.yaml").write_text("name: bad\nstepz: []\n")
        (house.books / "latin.yaml").write_bytes(b"name: \xff\n")
        (house.books / "gone.yaml").symlink_to("nothing.yaml")
        os.mkfifo(house.books / "pipe.yaml")
        good, bad = settings.playbooks(house())
        assert [p.id for p in good] == ["good"]
        told = sorted(str(e) for e in bad)
        assert [t.rpartition("playbooks/")[2].split(":")[0] for t in told] == [
            "bad.yaml",
            "gone.yaml",
            "latin.yaml",
            "pipe.yaml",
        ]
        assert "bad.yaml:2: stepz: unknown key 'stepz'; did you mean steps?" in told[0]

    def test_two_of_one_name_are_both_disabled_and_name_each_other(self, house):
        for file in ("a", "b"):
            (house.books / f"{file}.yaml").write_text(GOOD.format(name="same"))
        (house.books / "c.yaml").write_text(GOOD.format(name="other"))
        good, bad = settings.playbooks(house())
        assert [p.id for p in good] == ["other"]
        assert len(bad) == 2
        assert "a.yaml:1: name" in str(bad[0])
        assert "b.yaml:1; rename one" in str(bad[0])

    def test_one_that_anybody_may_write_stops_everything(self, house):
        (house.books / "good.yaml").write_text(GOOD.format(name="good"))
        (house.books / "open.yaml").write_text(GOOD.format(name="open"))
        (house.books / "open.yaml").chmod(0o666)
        with pytest.raises(UnsafeFile, match=r"open\.yaml"):
            settings.playbooks(house())

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away; test_files.py proves the rule")
    def test_one_of_a_stranger_stops_everything(self, house):
        (house.books / "foreign.yaml").write_text(GOOD.format(name="foreign"))
        os.chown(house.books / "foreign.yaml", 12345, 12345)
        with pytest.raises(UnsafeFile, match="belongs to user 12345"):
            settings.playbooks(house())

    def test_an_empty_folder_is_an_error_unless_allowed(self, house):
        with pytest.raises(ConfigError, match="allow_empty"):
            settings.playbooks(house())
        assert settings.playbooks(house("playbooks: {allow_empty: true}\n")) == ((), ())

    def test_a_missing_folder(self, house, monkeypatch):
        with pytest.raises(ConfigError, match="does not exist"):
            settings.playbooks(house("playbooks: {dir: none}\n"))
        house.books.rmdir()
        with pytest.raises(ConfigError, match="does not exist"):
            settings.playbooks(house())
        assert settings.playbooks(house("playbooks: {allow_empty: true}\n")) == ((), ())
        monkeypatch.chdir(house.books.parent)
        assert settings.playbooks(load(None, None, NOWHERE)) == ((), ())


def test_a_directory_we_may_not_look_into_is_not_there(tmp_path):
    """$XDG_CONFIG_HOME of another user: no traceback, only no file. Root may look everywhere, so nobody asks."""
    code = (
        "import os, sys; from consulguard.config import load\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "print(load(None, None, {'HOME': sys.argv[1], 'XDG_CONFIG_HOME': sys.argv[1]}).path)"
    )
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    done = subprocess.run([sys.executable, "-c", code, str(closed)], capture_output=True, text=True, check=False)
    closed.chmod(0o700)
    assert (done.returncode, done.stdout.strip()) == (0, "None"), done.stderr
