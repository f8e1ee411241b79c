"""Configuration: where a value comes from, and what is said when it is wrong."""

import string

import pytest
from consulguard.config import Loaded, load
from consulguard.config.load import find
from consulguard.config.schema import Config
from consulguard.errors import ConfigError
from consulguard.plan.duration import format_duration
from hypothesis import assume, example, given
from hypothesis import strategies as st


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "c.yaml"
        path.write_text(text)
        return str(path)

    return write


def refusal(path, env=None, flags=None):
    with pytest.raises(ConfigError) as caught:
        load(path, flags, env or {})
    assert caught.value.exit_code == 78
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 500
    return sentence


BAD = [  # text, line, key, what is said
    ("mode: AUTO\n", 1, "mode", "not one of observe, approve, auto"),
    ("mode:\n", 1, "mode", "not one of"),
    ("\ngaurds: {}\n", 2, "gaurds", "did you mean guards?"),
    ("guards:\n  max_opn: 1\n", 2, "guards.max_opn", "did you mean max_open?"),
    ("guards:\n  max_target: 1\n", 2, "guards.max_target", "unknown key"),
    ("guards: [1]\n", 1, "guards", "must be a mapping"),
    ("guards:\n", 1, "guards", "must be a mapping"),
    ("guards: {max_open: -1}\n", 1, "guards.max_open", "at least 0"),
    ("guards: {max_open: 1e3}\n", 1, "guards.max_open", "must be a whole number"),
    ("guards: {max_open: true}\n", 1, "guards.max_open", "must be a whole number"),
    ('guards: {max_open: "10%"}\n', 1, "guards.max_open", "must be a whole number"),
    ("guards: {max_open: 99999999}\n", 1, "guards.max_open", "at most"),
    ("guards: {max_share: 1000%}\n", 1, "guards.max_share", "not a percentage"),
    ("guards: {max_share: 0.5}\n", 1, "guards.max_share", "not a percentage"),
    ("guards: {storm_share: 0%}\n", 1, "guards.storm_share", "more than 0%"),
    ("guards: {cooldown: 5}\n", 1, "guards.cooldown", "5 is not a duration"),
    ("guards: {cooldown: -5m}\n", 1, "guards.cooldown", "is not a duration"),
    ("guards: {cooldown: 1d1d}\n", 1, "guards.cooldown", "is not a duration"),
    ("guards: {cooldown: 9999999d}\n", 1, "guards.cooldown", "30 days"),
    ("journal: {min_free: 64}\n", 1, "journal.min_free", "64 is not a size"),
    ("journal: {min_free: -1MiB}\n", 1, "journal.min_free", "is not a size"),
    ("journal: {min_free: 1.5GiB}\n", 1, "journal.min_free", "write 512KiB"),
    ("notify: {digest: 0s}\n", 1, "notify.digest", "longer than zero"),
    ("watch:\n  zone_keys:\n    - a\n    - 1\n", 4, "watch.zone_keys[1]", "must be text"),
    ("watch: {depends_on: {a: b}}\n", 1, "watch.depends_on.a", "must be a list"),
    ("consul: {http_addr: ftp://x}\n", 1, "consul.http_addr", "expected http://host:port"),
    ("consul: {http_addr: http://u:secret@x}\n", 1, "consul.http_addr", "only scheme, host and port"),
    ("consul: {http_addr: []}\n", 1, "consul.http_addr", "must be an address"),
    ("consul: {http_addr: {a: 1}}\n", 1, "consul.http_addr", "must be an address"),
    ("consul: {token: secret}\n", 1, "consul.token", "set token_file"),
    ("slack: {bot_token: xoxb-secret}\n", 1, "slack.bot_token", "set bot_token_file"),
    ("slack: {bot_token_file: xoxb-secret}\n", 1, "slack.bot_token_file", "looks like a secret"),
    ("actions: {http: {hosts: {j: {ulr: http://x}}}}\n", 1, "actions.http.hosts.j.ulr", "did you mean url?"),
    ("actions: {http: {hosts: {j: {private: true}}}}\n", 1, "actions.http.hosts.j.url", "is required"),
    ("actions: {http: {hosts: {j: {url: http://x/y}}}}\n", 1, "actions.http.hosts.j.url", "nothing more"),
    (
        "actions: {http: {hosts: {j: {url: http://ok@1.2.3.4}}}}\n",
        1,
        "actions.http.hosts.j.url",
        "nothing",
    ),
    ("actions: {exec: {allowed_commands: [ls]}}\n", 1, "actions.exec.allowed_commands[0]", "absolute path"),
    *(
        (f"actions: {{prometheus: {{address: '{address}'}}}}\n", 1, "actions.prometheus.address", "nothing more")
        for address in (
            "prom:9090",
            "ftp://p",
            "http://u@p",
            "http://p/a?b",
            "http://p/..",
            "http://p:0",
            "http://",
        )
    ),
    ("actions: {agents: {port: 65536}}\n", 1, "actions.agents.port", "at most 65535"),
    ("server: {listen: 9415}\n", 1, "server.listen", "must be text"),
    ("server: {listen: ':9415'}\n", 1, "server.listen", "not host:port"),
    ("notify: {console: yes}\n", 1, "notify.console", "must be true or false"),
    ("a: &x 1\n", 1, "a", "anchors"),
    ("mode: auto\nmode: observe\n", 2, "mode", "stands twice"),
    ("mode: auto\n---\nmode: auto\n", 2, "", "second document"),
    ("", 1, "", "must not be empty"),
    ("- mode\n", 1, "", "must hold a mapping"),
    ("null: 1\n", 1, "", "is not text"),
    ("mode: !!python/object/apply:os.system [id]\n", 1, "mode", "tags"),
    ("mode: a\N{RIGHT-TO-LEFT OVERRIDE}b\n", 1, "", "invisible character U+202E"),
    ("mode: [\n", 2, "", "not valid YAML"),
]


@pytest.mark.parametrize(("text", "line", "key", "told"), BAD, ids=[repr(b[0]) for b in BAD])
def test_a_bad_file_is_one_sentence_with_its_place(write, text, line, key, told):
    path = write(text)
    sentence = refusal(path)
    assert sentence.startswith(f"{path}:{line}: {key}: " if key else f"{path}:{line}: ")
    assert told in sentence
    assert "secret@" not in sentence
    assert "xoxb" not in sentence


def test_zero_means_nothing_is_allowed(write):
    assert load(write("guards: {max_open: 0}\n"), None, {}).config.guards.max_open == 0


ENVIRONMENT = [
    ("CONSULGUARD_GUARD_MAX_OPEN", "1", "did you mean CONSULGUARD_GUARDS_MAX_OPEN?"),
    ("CONSULGUARD_MOED", "auto", "did you mean CONSULGUARD_MODE?"),
    ("CONSULGUARD_CONSUL_TOKEN", "x", "did you mean CONSULGUARD_CONSUL_TOKEN_FILE?"),
    ("CONSULGUARD_MODE", "AUTO", "not one of"),
    ("CONSULGUARD_GUARDS_MAX_OPEN", "9" * 5000, "must be a whole number"),
    ("CONSULGUARD_GUARDS_MAX_OPEN", "-1", "must be a whole number"),
    ("CONSULGUARD_GUARDS_COOLDOWN", "5", "not a duration"),
    ("CONSULGUARD_NOTIFY_CONSOLE", "maybe", "must be true or false"),
    ("CONSULGUARD_WATCH_DEPENDS_ON", "a=b", "only be given in the file"),
    ("CONSULGUARD_ACTIONS_HTTP_HOSTS", "x", "only be given in the file"),
    ("CONSULGUARD_ACTIONS_AGENTS_PORT", "0", "at least 1"),
    ("CONSUL_HTTP_ADDR", "a:b:c", "Consul address"),
]


@pytest.mark.parametrize(("name", "value", "told"), ENVIRONMENT)
def test_a_bad_variable_is_named(write, name, value, told):
    sentence = refusal(write("mode: auto\n"), {name: value})
    assert sentence.startswith(f"${name}: ")
    assert told in sentence


def test_variables_kubernetes_makes_for_our_own_service_are_not_settings():
    made = {
        "CONSULGUARD_SERVICE_HOST": "10.0.0.1",
        "CONSULGUARD_SERVICE_PORT": "80",
        "CONSULGUARD_SERVICE_PORT_METRICS": "80",
        "CONSULGUARD_PORT": "tcp://10.0.0.1:80",
        "CONSULGUARD_PORT_80_TCP": "tcp://10.0.0.1:80",
        "CONSULGUARD_PORT_80_TCP_ADDR": "10.0.0.1",
        "CONSULGUARD_METRICS_PORT": "tcp://10.0.0.2:80",
        "CONSULGUARD_METRICS_SERVICE_HOST": "10.0.0.2",
    }
    assert load(None, None, made | {"HOME": "/nowhere"}).config == Config()


class TestPrecedence:
    """flag > environment > file > default, for a plain setting and for the ones that have two names."""

    def test_a_plain_setting(self, write):
        path, env, flag = (
            write("mode: approve\n"),
            {"CONSULGUARD_MODE": "auto"},
            {("mode",): ("observe", "--mode")},
        )
        assert Config().mode == "observe"
        assert load(path, None, {}).config.mode == "approve"
        assert load(path, None, env).config.mode == "auto"
        assert load(path, flag, env).config.mode == "observe"

    def test_the_address_and_its_scheme(self, write):
        path = write("consul: {http_addr: [http://file:1, http://file:2]}\n")

        def address(env, flag=""):
            flags = {("consul", "http_addr"): (flag, "--http-addr")} if flag else None
            return load(path, flags, env).config.consul.http_addr

        secure = {"CONSUL_HTTP_SSL": "true"}
        assert address({}) == ["http://file:1", "http://file:2"]
        assert address({"CONSUL_HTTP_ADDR": "env:1"}) == ["http://env:1"]
        assert address({"CONSUL_HTTP_ADDR": "env:1"} | secure) == ["https://env:1"]
        assert address({"CONSUL_HTTP_ADDR": "env:1"} | secure, "flag:1") == ["https://flag:1"]
        assert address(secure, "http://flag:1") == ["http://flag:1"]
        both = {"CONSUL_HTTP_ADDR": "foreign:1", "CONSULGUARD_CONSUL_HTTP_ADDR": "ours:1,ours:2"}
        assert address(both) == ["http://ours:1", "http://ours:2"]

    @pytest.mark.parametrize("section", ["consul", "slack"])
    def test_a_token_in_the_environment_beats_the_file_and_yields_to_a_file_named_there(self, write, section):
        key, value, named, slot = {
            "consul": ("token_file", "CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "consul_token"),
            "slack": ("bot_token_file", "SLACK_BOT_TOKEN", "CONSULGUARD_SLACK_BOT_TOKEN_FILE", "slack_token"),
        }[section]
        path = write(f"{section}: {{{key}: by-file}}\n")
        assert getattr(load(path, None, {}), slot) == ""
        assert getattr(load(path, None, {value: "t"}), slot) == "t"
        loaded = load(path, None, {value: "t", named: "by-env"})
        assert getattr(loaded, slot) == ""
        assert getattr(getattr(loaded.config, section), key) == "by-env"

    def test_an_empty_variable_counts_as_none(self, write):
        env = {"CONSULGUARD_MODE": "", "CONSUL_HTTP_ADDR": "", "CONSULGUARD_WATCH_ZONE_KEYS": ""}
        assert load(write("mode: auto\n"), None, env).config == load(write("mode: auto\n"), None, {}).config

    def test_kinds_of_variables(self):
        env = {
            "CONSULGUARD_GUARDS_MAX_OPEN": "7",
            "CONSULGUARD_GUARDS_MAX_SHARE": "25%",
            "CONSULGUARD_NOTIFY_CONSOLE": "0",
            "CONSULGUARD_WATCH_ZONE_KEYS": "rack, zone",
            "CONSULGUARD_ACTIONS_AGENTS_PORT": "8501",
            "HOME": "/nowhere",
        }
        config = load(None, None, env).config
        assert (config.guards.max_open, config.guards.max_share, config.notify.console) == (7, 0.25, False)
        assert (config.watch.zone_keys, config.actions.agents.port) == (["rack", "zone"], 8501)

    def test_where_the_file_is_looked_for(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
        assert find(None, {"HOME": str(tmp_path)}) is None or str(find(None, env)).startswith("/etc/")
        (tmp_path / "xdg/consulguard").mkdir(parents=True)
        (tmp_path / "xdg/consulguard/config.yaml").touch()
        assert find(None, env) == tmp_path / "xdg/consulguard/config.yaml"
        (tmp_path / "consulguard.yaml").touch()
        assert str(find(None, env)) == "consulguard.yaml"
        assert str(find(None, env | {"CONSULGUARD_CONFIG": "e.yaml"})) == "e.yaml"
        assert str(find("f.yaml", env | {"CONSULGUARD_CONFIG": "e.yaml"})) == "f.yaml"


def test_no_secret_is_shown_by_what_holds_them():
    env = {"CONSUL_HTTP_TOKEN": "s3cret", "SLACK_BOT_TOKEN": "xoxb-s3cret", "HOME": "/nowhere"}
    loaded = load(None, None, env)
    assert isinstance(loaded, Loaded)
    assert "s3cret" not in repr(loaded)


words = st.text(string.printable, max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
KEYS = [(s, k) for s, f in Config.model_fields.items() for k in getattr(f.annotation, "model_fields", {})]


def refused_or_none(flags, env):
    try:
        load(None, flags, env)
    except ConfigError as error:
        return error
    return None


@given(key=st.sampled_from(KEYS), value=values)
@example(key=("guards", "max_open"), value=float("nan"))
@example(key=("consul", "http_addr"), value="http://[::1")
@example(key=("server", "listen"), value="[::]:\N{ARABIC-INDIC DIGIT NINE}")
def test_any_value_is_taken_or_refused_with_its_key(key, value):
    flags = {key: (value, "--somewhere")}
    error = refused_or_none(flags, {"HOME": "/nowhere"})
    assert error is None or (error.where.startswith("--somewhere") and error.message)


@given(seconds=st.integers(0, 30 * 86_400))
def test_every_duration_is_read_back(seconds):
    flags = {("guards", "cooldown"): (format_duration(seconds), "f")}
    assert load(None, flags, {"HOME": "/nowhere"}).config.guards.cooldown == seconds


@given(name=st.text(string.ascii_uppercase + "_", max_size=30), value=words)
def test_any_variable_is_taken_or_refused_by_its_name(name, value):
    assume(name != "CONFIG")
    error = refused_or_none(None, {f"CONSULGUARD_{name}": value, "HOME": "/nowhere"})
    assert error is None or f"CONSULGUARD_{name}" in error.where
