"""The playbook language: what becomes of a good text, and safety.md section 3, items 13, 16-18, 21-27."""

from __future__ import annotations

import hashlib
import json

import pytest
from consulguard import plan
from consulguard.errors import PlaybookError
from consulguard.model import Matcher, Mode, State
from hypothesis import given
from hypothesis import strategies as st

from tests.core.plan.helpers import TEXT, changed, playbook, wrong


def test_a_good_playbook_becomes_what_it_says() -> None:
    file = plan.parse_file(TEXT, "dir/p.yaml")
    made = file.playbook
    assert (made.id, made.source, made.digest) == (
        "restart",
        "dir/p.yaml:1",
        hashlib.sha256(TEXT.encode()).hexdigest(),
    )
    assert (made.mode, made.priority, made.on_failure) == (Mode.APPROVE, 50, "undo")
    assert made.match.matchers[0] == Matcher(name="service", op="=~", value="pay-.*")
    assert (made.match.for_s, made.match.states) == (90.0, (State.CRITICAL,))
    assert (made.limits.min_healthy, made.limits.cooldown_s, made.limits.attempts_max) == (0.5, 900.0, 3)
    assert made.approval.approvers == {"slack_usergroups": ("sre-oncall",)}
    assert made.approval.ttl_s == 900.0
    assert [s.name for s in made.steps] == ["drain", "restart"]
    assert made.steps[0].undo is not None
    assert made.steps[0].undo.params == {"enable": False}
    assert (made.steps[1].retry_count, made.steps[1].timeout_s) == (2, 120.0)
    assert made.verify is not None
    assert (made.verify.within_s, made.verify.passing_for, made.verify.dependents_depth) == (120.0, 3, 1)
    assert [(e.after_s, e.playbook, e.notify) for e in made.escalate] == [
        (300, "fail-over", ""),
        (600, "", "oncall"),
    ]
    assert file.tests[0].steps == ("drain", "restart")
    assert plan.parse(TEXT, "dir/p.yaml") == made


def test_little_is_enough() -> None:
    made = plan.parse("name: tell\nmatch: {matchers: ['service=\"x\"']}\nsteps: []\n", "p.yaml")
    assert (made.mode, made.match.scope, made.match.for_s, made.verify) == (Mode.OBSERVE, "service", 60.0, None)
    assert made.match.unless == ("maintenance", "flapping", "untrusted_view")


AUTO = ("mode: approve", "mode: auto")
NO_VERIFY = (
    "verify:\n  within: 120s\n  target: {passing_for: 3}\n  dependents: {depth: 1, required: false}\n",
    "",
)
FIRST = "'service=~\"pay-.*\"'"
ONLY = "matchers: ['service=~\"pay-.*\"', 'datacenter=\"dc1\"']"
ARGV = '[/usr/bin/restart, "${target.meta.unit}"]'
DRAIN = '{enable: true, reason: "consulguard ${incident.id}"}'
STEPS = TEXT[TEXT.index("steps:\n") : TEXT.index("verify:")]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        # 13: unknown keys, at every depth
        ("priority: 50", "priorty: 50", "p.yaml:4: priorty: unknown key 'priorty'; did you mean priority?"),
        ("min_healthy", "min_helthy", "p.yaml:13: guards.min_helthy: unknown key 'min_helthy'; did you mean"),
        ("    timeout: 10s", "    timeuot: 10s", "steps[0].timeuot: unknown key 'timeuot'; did you mean timeout?"),
        ("interval: 10s", "intervall: 10s", "steps[1].retry.intervall"),
        ("slack_usergroups", "slack_groups", "did you mean slack_usergroups"),
        ("name: restart\n", "", "p.yaml:1: name: this key is required"),
        ("name: restart\n", "name: Restart Me\n", "p.yaml:1: name: 'Restart Me' has a character"),
        ('name: restart\n', 'name: "restart"\nname: x\n', "the key stands twice"),
        # 16: numbers and booleans are what they are
        ("max: 3", "max: -1", "guards.attempts.max: must be at least 0"),
        ("max: 3", "max: 1e3", "must be a whole number"),
        ("max: 3", 'max: "10%"', "must be a whole number, not '10%'"),
        ("max: 3", "max: true", "must be a whole number, not true"),
        ("max: 3", "max: ~", "must be a whole number, not empty"),
        ("max: 3", "max: [3]", "must be a whole number, not a list"),
        ("50%", "1000%", "'1000%' is not a percentage"),
        ("50%", "-5%", "is not a percentage"),
        ("50%", "0.5", "0.5 is not a percentage"),
        ("50%", ".nan", "not a usable number"),
        ("50%", "nan%", "is not a percentage"),
        ("50%", "١٠%", "is not a percentage"),
        ("enable: false}}", "enable: false}, x: 1}", "steps[0].undo.x: unknown key"),
        ("forbid_self: true", "forbid_self: yes", "must be true or false, not 'yes'"),
        # 17: durations
        ("cooldown: 15m", "cooldown: 5", "guards.cooldown: 5 is not a duration"),
        ("cooldown: 15m", "cooldown: -5m", "is not a duration"),
        ("cooldown: 15m", "cooldown: 1d1d", "is not a duration"),
        ("cooldown: 15m", "cooldown: 99999999d", "is not a duration"),
        ("cooldown: 15m", "cooldown: 31d", "longer than the 30 days"),
        ("cooldown: 15m", "cooldown: 0s", "longer than zero"),
        # 18: what selects everything
        (ONLY, "matchers: []", "selects everything"),
        (ONLY, "states: [critical]", "the key stands twice"),
        (FIRST, "'service=\"\"'", "never empty"),
        (FIRST, "'service=\"*\"'", "* is not a wildcard"),
        (FIRST, "'service=~\".*\"'", "selects everything"),
        (FIRST, "'service=~\".+\"'", "selects everything"),
        (FIRST, "'service=~\"[a-z].*\"'", "selects everything"),
        (FIRST, "'service=~\"web|.*\"'", "selects everything"),
        (FIRST, "'service!=\"web\"'", "selects everything"),
        (FIRST, "'service!~\"web\"'", "selects everything"),
        (FIRST, "'meta.x=~\".*\"'", "selects everything"),
        (FIRST, "'namespace=\"default\"'", "selects everything"),
        # 21: loops and too much
        ("on_failure: undo", "on_failure: self", "'self' is not one of undo, hold"),
        ("playbook: fail-over", "playbook: restart", "escalate to itself"),
        ("after: 600s", "after: 300s", "escalate[1].after: each rung must come later"),
        ("name: drain", "name: restart", "used twice"),
        (STEPS, "steps:\n" + "  - {name: s, uses: x}\n" * 51, "must have at most 50 entries"),
        ("    uses: exec.run\n", "    uses: exec.run\n    goto: drain\n", "unknown key 'goto'"),
        # 22: no way out of the folder
        ("fixtures/pay.jsonl", "../../etc/passwd", "tests[0].given"),
        ("fixtures/pay.jsonl", "/dev/zero", "tests[0].given"),
        ("name: restart\n", "name: restart\ninclude: ../x.yaml\n", "unknown key 'include'"),
        # 23: paths that do not exist
        ("incident.id", "svc.__class__", "there is no value 'svc.__class__'"),
        ("incident.id", "env.SLACK_TOKEN", "there is no value 'env.SLACK_TOKEN'"),
        ("incident.id", "target.meta.", "does not name a meta key"),
        ("incident.id", "target.output", "there is no value"),
        ("consulguard ${incident.id}", "{{ incident.id }}", "template left over"),
        ("consulguard ${incident.id}", "${incident.id", "template left over"),
        ("consulguard ${incident.id}", "${${incident.id}}", "template left over"),
        # 25: no look-up in a target or a verb
        ("uses: exec.run", 'uses: "exec.${target.meta.x}"', "steps[1].uses"),
        ("name: drain", 'name: "${target.service}"', "steps[0].name"),
        (FIRST, "'service=\"${target.service}\"'", "a matcher must be fixed text"),
        (DRAIN, '{"${target.service}": 1}', "a key may not hold a look-up"),
        (DRAIN, '{service: "${target.meta.x}"}', "may not choose what is acted upon"),
        (DRAIN, '{scope: "${target.meta.x}"}', "may not choose what is done"),
        (DRAIN, '{workload: "deployment/${target.service}"}', "may not choose what is done"),
        (DRAIN, '{host: "${target.meta.x}"}', "may not choose what is done"),
        # 26: argv
        (ARGV, '"systemctl restart ${target.service}"', "steps[1].with.argv: must be a list of texts"),
        (ARGV, '[sh, -c, "restart ${target.meta.unit}"]', "with.argv[2]: a look-up must be the whole item"),
        (ARGV, '["${target.meta.unit}"]', "with.argv[0]: a look-up may not choose the command"),
        (ARGV, '[/x, "${target.meta.a}${target.meta.b}"]', "must be the whole item"),
        (ARGV, "[/x, 1]", "must be a list of texts"),
        # 27: hosts
        (DRAIN, '{url: "http://${target.meta.host}/"}', "the host may not hold a look-up"),
        (DRAIN, '{url: "${target.meta.url}"}', "the host may not hold a look-up"),
        (DRAIN, '{url: "http://ok${target.meta.x}"}', "the host may not hold a look-up"),
        (DRAIN, '{url: "http://ok@169.254.169.254/"}', "no user"),
        (DRAIN, '{url: "http://ok\\\\@evil/"}', "no user, no backslash"),
        (DRAIN, '{url: "file:///etc/passwd"}', "must be http"),
        (DRAIN, '{body: "{\\"s\\": \\"${target.service}\\"}"}', "write the body as a mapping"),
        # what can never be
        (FIRST, "'service=\"consul\"'", "match.matchers[0]: service=\"consul\" aims at consul"),
        (FIRST, "'service=~\"(web|consulguard)\"'", "protected"),
        (DRAIN, "{service: consul}", "protected"),
        ("states: [critical]", "states: [unknown]", "what we cannot see"),
        ("states: [critical]", "states: [passing]", "'passing' is not one of"),
        ("states: [critical]", "states: [flapping]", "asked for and excluded"),
        ("states: [critical]", "states: []", "at least 1 entries"),
        (", untrusted_view]", "]", "never run on a view that is not trusted"),
        ("scope: instance", "scope: any", "scope any is only for playbooks without steps"),
        ("scope: instance", "scope: pod", "'pod' is not one of instance, service, node, zone, any"),
        ("{passing_for: 3}", "{passing_for: 0}", "the dependents must decide"),
        ("depth: 1, required: false", "depth: 0, required: true", "need a depth"),
        ("notify: oncall", "notify: oncall, playbook: x", "name either a playbook or somebody"),
        ("${target.meta.unit}", "${target.node}x", "must be the whole item"),
    ],
)  # fmt: skip
def test_refused_with_place_and_sentence(old: str, new: str, says: str) -> None:
    message = wrong(changed((old, new)))
    assert says in message
    assert message.startswith("p.yaml:")
    assert "\n" not in message
    assert "Traceback" not in message


def test_the_empty_and_the_zero_that_are_meant() -> None:
    assert playbook(("max: 3", "max: 0")).limits.attempts_max == 0
    assert playbook(("for: 90s", "for: 0s")).match.for_s == 0.0


def test_match_all_is_possible_but_never_auto() -> None:
    everything = (ONLY, "match_all: true")
    assert playbook(everything).match.match_all
    assert "can never be auto" in wrong(changed(everything, AUTO))


def test_auto_needs_verify_and_more_than_one_instance() -> None:
    assert playbook(AUTO).mode is Mode.AUTO
    assert "p.yaml:3: mode: a playbook without verify" in wrong(changed(AUTO, NO_VERIFY))
    assert playbook(NO_VERIFY).verify is None
    last = ("  cooldown: 15m", "  cooldown: 15m\n  allow_last_instance: true")
    assert playbook(last).limits.allow_last_instance
    assert "needs a person" in wrong(changed(AUTO, last))


@pytest.mark.parametrize(("scope", "path"), [("service", "node"), ("service", "instance"), ("node", "service")])
def test_a_value_the_target_never_has_is_refused_at_load(scope: str, path: str) -> None:
    text = changed(("scope: instance", f"scope: {scope}"), ("incident.id", f"target.{path}"))
    assert f"target.{path} is empty for a target of scope {scope}" in wrong(text)


def test_look_ups_that_are_fine() -> None:
    for good in (
        '{service: "${target.service}"}',
        '{url: "https://ops:8443/x/${target.service}?n=${target.node}"}',
    ):
        assert playbook((DRAIN, good))
    assert playbook(("${target.meta.unit}", "${target.meta.consulguard.io/restart}"))


def kubernetes(params: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """The first step as a Kubernetes action with these parameters."""
    return ("uses: consul.maintenance", "uses: kubernetes.evict_pod"), (DRAIN, params)


@pytest.mark.parametrize(
    "params",
    [
        '{namespace: "${target.meta.k8s-namespace}", pod: "${target.meta.pod-name}"}',
        '{namespace: shop, service: "${target.meta.k8s-service-name}"}',
        "{namespace: shop, service: web}",
        "{namespace: shop, workload: deployment/web}",
        '{node: "${target.node}"}',
        '{node: "${target.meta.k8s-node-name}"}',
    ],
)
def test_what_a_kubernetes_action_may_be_aimed_at(params: str) -> None:
    assert playbook(*kubernetes(params))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ("{pod: web-0}", "a pod is found by its instance only"),
        ('{pod: "${target.instance}"}', "a pod is found by its instance only"),
        ('{pod: "x${target.meta.pod-name}"}', "a pod is found by its instance only"),
        ('{namespace: "${target.namespace}"}', "only ${target.meta.k8s-namespace} may stand here"),
        ('{namespace: "${target.meta.other}"}', "only ${target.meta.k8s-namespace} may stand here"),
        ('{service: "${target.service}"}', "only ${target.meta.k8s-service-name} may stand here"),
        ('{node: "${target.meta.other}"}', "may stand here"),
        ('{workload: "deployment/${target.service}"}', "may not choose what is done, or where"),
        ("{service: consul}", "protected"),
    ],
)
def test_no_other_look_up_aims_a_kubernetes_action(params: str, words: str) -> None:
    assert words in wrong(changed(*kubernetes(params)))


def test_everything_wrong_is_told_in_the_order_of_the_file() -> None:
    found = plan.read(changed(("15m", "5"), ("on_failure: undo", "on_failure: x"), ("max: 3", "max: x")), "p.yaml")
    assert isinstance(found, tuple)
    assert [str(e).split(": ")[0] for e in found] == ["p.yaml:14", "p.yaml:15", "p.yaml:34"]
    assert all(isinstance(e, PlaybookError) for e in found)


LINES = TEXT.splitlines(keepends=True)


@given(
    st.integers(0, len(LINES) - 1),
    st.sampled_from(["", "x\n", "- \n", "a: [\n", "  b: 1\n", "\x00\n", "steps: 1\n"]),
)
def test_a_damaged_playbook_is_refused_or_read_but_never_breaks_us(number: int, instead: str) -> None:
    found = plan.read("".join([*LINES[:number], instead, *LINES[number + 1 :]]), "p.yaml")
    assert isinstance(found, plan.PlaybookFile) or all(str(e).startswith("p.yaml:") for e in found)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("${target.service}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from([line.split(":")[0] for line in LINES if line[0].isalpha()])


@given(st.dictionaries(KEYS | st.text(max_size=5), VALUES, min_size=1))
def test_any_data_is_refused_in_sentences(data: dict[str, object]) -> None:
    found = plan.read(json.dumps(data), "p.yaml")
    assert isinstance(found, plan.PlaybookFile) or all("\n" not in str(e) for e in found)
