"""What is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from consulguard.act.base import safe_instance, safe_name
from consulguard.act.text import masked, masked_argv, tidy
from consulguard.errors import ActionRefused
from consulguard.model import Target
from consulguard.plan.run import is_idempotent
from hypothesis import given
from hypothesis import strategies as st

from tests.shell.act.support import ACTIONS, INSTANCE, intent

GOOD: dict[str, dict[str, Any]] = {
    "consul.maintenance": {"enable": True, "reason": "drain"},
    "consul.service_resolver": {"redirect": {"service": "web-2"}},
    "consul.service_splitter": {"splits": [{"weight": 90, "service_subset": "v1"}, {"weight": 10.0}]},
    "consul.kv_put": {"key": "flags/web", "value": "off"},
    "consul.deregister": {},
    "consul.force_leave": {},
    "consul.intention": {"source": "batch", "action": "deny"},
    "http.request": {"method": "POST", "url": "https://jobs.example/run", "idempotent": False},
    "exec.run": {"argv": ["/bin/true"], "idempotent": True},
    "prometheus.query": {"query": "up{job='web'}", "expect": ">= 1"},
    "ssh.run": {"argv": ["/usr/bin/systemctl", "restart", "web"]},
    "wait": {"seconds": 30},
    "notify": {"text": "the standby takes over\nfor now"},
}
UNSAFE = [
    "web;rm -rf /", "$(id)", "`id`", "-rf", "--config=x", "../../agent/leave", "..", "a b", "web\n",
    "\u0430pi", "\uff57\uff45\uff42", "web\x00", "x\x1b[2J", "a" * 300,
]  # fmt: skip
BAD: list[tuple[str, dict[str, Any]]] = [
    ("consul.maintenance", {"enable": "yes"}),
    ("consul.maintenance", {"enable": 1}),
    ("consul.service_resolver", {}),
    ("consul.service_resolver", {"redirect": {}}),
    ("consul.service_resolver", {"redirect": {"servise": "x"}}),
    ("consul.service_resolver", {"failover": {"*": {}}}),
    ("consul.service_resolver", {"connect_timeout": "5"}),
    ("consul.service_resolver", {"redirect": {"service": "a"}, "failover": {"*": {"service": "b"}}}),
    ("consul.service_splitter", {"splits": []}),
    ("consul.service_splitter", {"splits": [{"weight": 99}]}),
    ("consul.service_splitter", {"splits": [{"weight": 150}, {"weight": -50}]}),
    ("consul.service_splitter", {"splits": [{"weight": float("nan")}]}),
    ("consul.kv_put", {"key": "consulguard/leader", "value": ""}),
    ("consul.kv_put", {"key": "a/../b", "value": ""}),
    ("consul.kv_put", {"key": "/a", "value": ""}),
    ("consul.kv_put", {"key": "a\n", "value": ""}),
    ("consul.kv_put", {"key": "a", "value": 1}),
    ("http.request", {"method": "POST", "url": "https://jobs.example/"}),
    ("http.request", {"method": "TRACE", "url": "https://jobs.example/", "idempotent": True}),
    ("http.request", GOOD["http.request"] | {"headers": {"Host": "evil"}}),
    ("http.request", GOOD["http.request"] | {"headers": {"idempotency-key": "1"}}),
    ("http.request", GOOD["http.request"] | {"headers": {"X-A": "1\r\nX-B: 2"}}),
    ("http.request", GOOD["http.request"] | {"expect_status": [42]}),
    ("exec.run", {"argv": ["/bin/true"]}),
    ("exec.run", {"argv": "/bin/true", "idempotent": True}),
    ("exec.run", {"argv": [], "idempotent": True}),
    ("exec.run", {"argv": ["true"], "idempotent": True}),
    ("exec.run", {"argv": ["/bin/echo", "a\nb"], "idempotent": True}),
    ("exec.run", {"argv": ["/bin/echo", "a\x00"], "idempotent": True}),
    ("consul.intention", {}),
    ("consul.intention", {"source": ""}),
    ("consul.intention", {"source": "*"}),
    ("consul.intention", {"source": "a/b"}),
    ("consul.intention", {"source": "batch", "action": "Deny"}),
    ("prometheus.query", {"query": "up"}),
    ("prometheus.query", {"query": "", "expect": "> 1"}),
    ("prometheus.query", {"query": "a" * 4097, "expect": "> 1"}),
    *(
        ("prometheus.query", {"query": "up", "expect": expect})
        for expect in (
            "",
            "1",
            "=> 1",
            "= 1",
            "> x",
            "> NaN",
            "> Inf",
            "> 1e999",
            "> 1 or 2",
            "> 1\n",
            "<  1",
            ">5%",
        )
    ),
    ("ssh.run", {}),
    ("ssh.run", {"argv": "systemctl restart web"}),
    ("ssh.run", {"argv": []}),
    ("ssh.run", {"argv": ["systemctl", "restart", "web"]}),
    ("ssh.run", {"argv": ["/bin/echo", "a\nb"]}),
    ("ssh.run", {"argv": ["/bin/echo", "a\x00"]}),
    ("ssh.run", {"argv": ["/bin/echo", *["x" * 4000] * 5]}),
    ("ssh.run", {"argv": ["/bin/true"], "host": "elsewhere"}),
    ("ssh.run", {"argv": ["/bin/true"], "idempotent": True}),
    ("wait", {}),
    ("wait", {"seconds": 0}),
    ("wait", {"seconds": 3601}),
    ("wait", {"seconds": 1.5}),
    ("wait", {"seconds": "30"}),
    ("notify", {"text": ""}),
    ("notify", {"text": "turned \u202e round"}),
]


@pytest.mark.parametrize("name", sorted(GOOD))
def test_good_params_are_taken_and_previewed(name: str) -> None:
    assert ACTIONS[name].preview(intent(name, GOOD[name]), GOOD[name])


@pytest.mark.parametrize(("name", "params"), BAD)
def test_bad_params_are_refused_in_one_line_that_names_the_action(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(ActionRefused) as caught:
        ACTIONS[name].parse(INSTANCE, params)
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)


def test_the_value_itself_is_not_in_the_error() -> None:
    with pytest.raises(ActionRefused) as caught:
        ACTIONS["consul.kv_put"].parse(INSTANCE, {"key": "a", "value": ["hunter2"]})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(GOOD))
@pytest.mark.parametrize("field", ["service", "node", "instance"])
@pytest.mark.parametrize("text", UNSAFE)
def test_unsafe_names_from_consul_are_never_acted_upon(name: str, field: str, text: str) -> None:
    with pytest.raises(ActionRefused):
        ACTIONS[name].parse(msgspec.structs.replace(INSTANCE, **{field: text}), GOOD[name])


@given(st.text(max_size=40))
def test_a_safe_name_has_no_meaning_to_a_shell_a_path_or_an_option_parser(text: str) -> None:
    if safe_name(text):
        assert text.isascii()
        assert not text.startswith(("-", "."))
        assert not set(text) & set(" /\\;&|<>$`'\"*?[](){}!#~\n\r\t\x00")
    if safe_instance(text):
        assert text.isascii()
        assert not text.startswith(("-", ".", "/"))
        assert not {"", ".", ".."} & set(text.split("/"))


@pytest.mark.parametrize(
    "text", ["web", "web-1", "_nomad-task-0f-web-http-8080", "web.prod", "host:web:8080", "pod/web-1", "a~b"]
)
def test_real_instance_ids_are_fine(text: str) -> None:
    assert safe_instance(text)


def test_what_an_action_cannot_work_on() -> None:
    service, node = Target(dc="dc1", service="web"), Target(dc="dc1", node="n1")
    for name, target in (("consul.maintenance", service), ("consul.service_resolver", node)):
        with pytest.raises(ActionRefused):
            ACTIONS[name].parse(target, GOOD[name])
    with pytest.raises(ActionRefused, match="peer"):
        ACTIONS["consul.service_resolver"].parse(Target(dc="dc1", service="web", peer="other"), {})
    for name in ("exec.run", "ssh.run"):
        with pytest.raises(ActionRefused, match="unsafe instance"):
            ACTIONS[name].parse(msgspec.structs.replace(INSTANCE, instance="a:b"), GOOD[name])
    with pytest.raises(ActionRefused, match="no one node"):
        ACTIONS["ssh.run"].parse(service, GOOD["ssh.run"])


@pytest.mark.parametrize("name", ["http.request", "exec.run"])
def test_only_the_literal_true_makes_it_idempotent(name: str) -> None:
    action = ACTIONS[name]
    assert action.info().idempotent is False
    assert action.info().idempotent_param is True
    assert is_idempotent(action.info(), intent(name, {"idempotent": True}))
    for params in ({"idempotent": False}, {"idempotent": "true"}, {"idempotent": 1}, {"idempotent": None}, {}):
        assert not is_idempotent(action.info(), intent(name, params))


def test_secrets_are_masked() -> None:
    assert masked("token=abc&x=1") == "token=***&x=1"
    assert masked("Authorization: Bearer abc") == "Authorization: ***"
    assert masked('{"api_key":"abc","n":1}') == '{"api_key":"***","n":1}'
    assert masked("https://u:p@host/x") == "https://***@host/x"
    assert masked("it said hunter2", ["hunter2"]) == "it said ***"
    assert masked_argv(["/x", "--token", "abc", "--password=abc", "y"]) == [
        "/x",
        "--token",
        "***",
        "--password=***",
        "y",
    ]


@given(st.text(max_size=400), st.integers(min_value=1, max_value=100))
def test_tidy_is_one_short_printable_line(text: str, limit: int) -> None:
    shown = tidy(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
