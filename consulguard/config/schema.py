"""The configuration file's shape. Every key says its unit and what its default is for.

The published JSON Schema (docs/config.schema.json) is made from these models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from consulguard.config import values
from consulguard.config.access import Access
from consulguard.config.probe import Probe
from consulguard.config.replicas import Coordinate
from consulguard.config.routing import Receiver, Route, TimeInterval
from consulguard.config.tracing import Tracing
from consulguard.config.values import Addresses, Count, SecretFile, SomeCount, SomeShare, Words
from consulguard.config.windows import ChangeWindow, WindowName
from consulguard.plan.duration import shorten
from consulguard.plan.strict import Duration, Share, Size, SomeDuration, Strict

_BY = "sum by (consul_source_service, consul_destination_service)"
_ALL = f"{_BY} (rate(envoy_cluster_upstream_rq_total[1m]))"
_5XX = f'{_BY} (rate(envoy_cluster_upstream_rq_xx{{envoy_response_code_class="5"}}[1m]))'
ENVOY = f"({_5XX} or 0 * {_ALL}) / {_ALL}"


class Section(Strict):
    """One mapping of the file."""


class Consul(Section):
    http_addr: Addresses = Field(
        ["http://127.0.0.1:8500"],
        description="The local agent; further ones in a list are fall-backs.",
    )
    token_file: SecretFile = Field("", description="File with the ACL token; read again when it changes.")
    ca_file: str = Field("", description="CA certificates to trust, PEM. Empty: the system's.")
    client_cert: str = Field("", description="Client certificate, PEM.")
    client_key: str = Field("", description="Its key, where the certificate's file does not hold it.")
    tls_server_name: str = Field("", description="Name to expect in the server's certificate.")
    datacenter: str = Field("", description="Empty: the agent's own.")
    namespace: str = Field("", description="Enterprise; empty: the token's own.")
    partition: str = Field("", description="Enterprise; empty: the agent's own.")


class Watch(Section):
    settle: Duration = Field(30.0, description="No remediation this long after start, resync or fail-over.")
    audit_interval: SomeDuration = Field(90.0, description="Full comparison with the server's not-passing checks.")
    zone_keys: Words = Field(
        ["zone", "availability_zone", "topology.kubernetes.io/zone"],
        description="Node meta keys that name the zone; the first one present counts.",
    )
    depends_on: dict[str, Words] = Field({}, description="Edges no other source knows: caller to callees.")


class Health(Section):
    recovery: Duration = Field(30.0, description="Passing this long counts as recovered.")
    flap_changes: SomeCount = Field(4, description="This many changes within flap_window are flapping.")
    flap_window: SomeDuration = Field(600.0, description="See flap_changes.")
    calm: Duration = Field(300.0, description="No change for this long ends flapping.")
    vanished: Duration = Field(3600.0, description="A vanished thing is remembered this long.")


class Calls(Section):
    """Where ``actions.prometheus.address`` is set, how calls between services fare is evidence too."""

    query: str = Field(
        ENVOY,
        description="PromQL: the share of failed calls, 0 to 1, by caller and callee. Empty: not asked.",
    )
    caller: str = Field("consul_source_service", description="The label that names the caller's service,")
    callee: str = Field("consul_destination_service", description="and the one that names who is called.")
    failing: SomeShare = Field(0.1, description="Calls fail from this share on, and then down to half of it.")
    every: SomeDuration = Field(15.0, description="Between two queries.")


class Correlate(Section):
    warning_opens: bool = Field(False, description="Whether a warning alone opens an incident.")
    service_share: SomeShare = Field(
        0.5, description="The root is the service from this share of its instances on."
    )
    group_share: SomeShare = Field(
        0.8, description="A node or zone is the root from this share of its members on."
    )
    group_min: SomeCount = Field(2, description="And from this many failing members on.")
    resolve: Duration = Field(30.0, description="An incident is resolved when nothing of it failed this long.")
    reopen: Duration = Field(600.0, description="The same root within this time opens the old incident again.")
    infer: bool = Field(
        True,
        description="Weigh causes by how well they explain what fails and what does not, over the checks' last"
        " flips; false: plain inhibition alone.",
    )
    calls: Calls = Calls()
    probe: Probe = Probe()


class Budget(Section):
    runs: Count = Field(description="Runs of all playbooks that name it,")
    per: Duration = Field(3600.0, description="started within this time.")
    max_open: Count = Field(3, description="Targets they work on at once.")


class Guards(Section):
    max_open: Count = Field(3, description="Targets worked on at once, in the whole fleet. 0: none.")
    max_open_per_service: Count = Field(1, description="The same for one service.")
    max_open_per_node: Count = Field(1, description="The same for one node.")
    max_share: Share = Field(0.10, description="Of a service's expected instances, at least one.")
    min_start_interval: Duration = Field(10.0, description="Between the starts of two runs.")
    budget_per_service_per_hour: Count = Field(5, description="Runs for one service in an hour.")
    budget_total_per_hour: Count = Field(20, description="Runs in an hour.")
    match_cap: Count = Field(10, description="A playbook that matches more at once is denied whole.")
    min_healthy: Share = Field(0.5, description="Never fewer healthy instances of a service by our own hand.")
    storm_window: Duration = Field(120.0, description="The brake counts failures of this time.")
    storm_min: Count = Field(5, description="The brake needs this many unexplained failing instances,")
    storm_share: SomeShare = Field(0.20, description="and this share of the fleet.")
    storm_cooldown: Duration = Field(300.0, description="Clear this long releases the brake.")
    hold_down: Duration = Field(60.0, description="The least time something must fail before a playbook may act.")
    min_looks: Count = Field(2, description="Answers of Consul that must have shown it failing.")
    cooldown: Duration = Field(120.0, description="Per target, doubled with each try up to cooldown_max.")
    cooldown_max: Duration = Field(3600.0, description="See cooldown.")
    service_cooldown: Duration = Field(300.0, description="Per service, after a failed run.")
    attempts_max: Count = Field(2, description="Tries of a playbook on one target within attempts_window.")
    attempts_window: Duration = Field(3600.0, description="See attempts_max.")
    budgets: dict[str, Budget] = Field({}, description="Limits shared by the playbooks that name one, by name.")
    windows: dict[WindowName, ChangeWindow] = Field({}, description="When changes may be made, by name.")
    window: str = Field("", description="The window that holds for every playbook. Empty: always open.")
    error_budget_runs: SomeCount = Field(10, description="Of a playbook's last so many runs,")
    error_budget_bad: SomeCount = Field(3, description="so many that did not help make it ask a person.")
    root_settle: Duration = Field(10.0, description="No action on a root cause younger than this.")
    deny_services: Words = Field([], description="Never acted upon, besides Consul itself and this bot.")
    deny_nodes: Words = Field([], description="Never acted upon.")

    @field_validator("window")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        windows = info.data.get("windows", {name: None})
        if name and name not in windows:
            raise values.wrong(f"there is no window {shorten(name)} in guards.windows")
        return name


class Journal(Section):
    store: Literal["sqlite", "postgresql"] = Field("sqlite", description="postgresql is for several replicas.")
    path: str = Field(
        "", description="Empty: journal.sqlite under $XDG_STATE_HOME/consulguard. Mark and socket lie beside it."
    )
    dsn_file: SecretFile = Field("", description="File with PostgreSQL's connection string.")
    retention: Duration = Field(7 * 86_400.0, description="Entries older than this are compacted away.")
    min_free: Size = Field(64 << 20, description="With less left on its disk nothing is done.")


class Notify(Section):
    console: bool = Field(True, description="Tell on standard output.")
    group_wait: Duration = Field(5.0, description="An incident is told when it is this old.")
    heartbeat_url_file: SecretFile = Field(
        "", description="File with the URL that is called while all is well, for somebody to miss the calls."
    )
    heartbeat_method: Literal["GET", "POST"] = Field("GET", description="How it is called.")
    heartbeat_interval: SomeDuration = Field(30.0, description="Between two calls.")
    digest: SomeDuration = Field(4 * 3600.0, description="Between two digests of the open incidents.")
    remind: Duration = Field(
        1800.0,
        description="What nobody took is brought up again after so long, then after twice that ... 0s: never.",
    )
    board_interval: Duration = Field(
        10.0, description="Between two edits of Slack's board of what still fails. 0s: no board."
    )


class Slack(Section):
    enabled: bool = Field(False, description="Tell in Slack.")
    channel: str = Field("", description="Channel id (C...) or #name.")
    bot_token_file: SecretFile = Field("", description="File with the bot token (xoxb-...).")
    dashboard_url: Annotated[str, AfterValidator(values.dashboard)] = Field(
        "", description="For the menu; {service}, {node}, {datacenter} and {incident} are filled in. Empty: none."
    )
    app_id: Annotated[str, AfterValidator(values.app_id)] = Field(
        "", description="The app's id (A...); what another app sends is refused. Needed for commands and buttons."
    )
    app_token_file: SecretFile = Field(
        "", description="File with the app-level token (xapp-...), for Socket Mode."
    )
    socket_mode: bool = Field(True, description="Whether an app token, where there is one, is used.")
    listen: Annotated[str, AfterValidator(values.listen)] = Field(
        "", description="host:port for Slack's signed requests, instead of or besides Socket Mode. Empty: off."
    )
    signing_secret_file: SecretFile = Field("", description="File with the signing secret, for slack.listen.")
    api_url: str = Field("https://slack.com/api/", description="Another address only for tests and proxies.")


class Agents(Section):
    scheme: Literal["http", "https"] = Field("http", description="How agents of other nodes are reached.")
    port: Annotated[int, Field(ge=1, le=65_535)] = Field(8500, description="HTTP port of every node's own agent.")
    addresses: dict[str, str] = Field({}, description="Node name to agent address, where it is another.")


class HttpHost(Section):
    url: Annotated[str, AfterValidator(values.origin)] = Field(description="scheme://host[:port], nothing more.")
    private: bool = Field(False, description="Whether the name may resolve to a private or loopback address.")
    headers_file: SecretFile = Field(
        "",
        description="File of 'Name: value' lines sent along, never shown; read again when it changes.",
    )


class Http(Section):
    hosts: dict[str, HttpHost] = Field({}, description="Hosts http.request may call, by name. Empty: none.")


class Exec(Section):
    allowed_commands: list[Annotated[str, AfterValidator(values.command)]] = Field(
        [], description="Absolute paths exec.run may start. Empty: none."
    )


class Prometheus(Section):
    address: Annotated[str, AfterValidator(values.base_url)] = Field(
        "", description="http(s)://host[:port], with a path where the API has one. Empty: not to be asked."
    )
    token_file: SecretFile = Field("", description="File with a bearer token; read again when it changes.")
    ca_file: str = Field("", description="CA certificates to trust, PEM. Empty: the system's.")
    timeout: SomeDuration = Field(10.0, description="Of one query.")


class Ssh(Section):
    user: str = Field("", description="Whom ssh.run signs in as. Empty, as the two files: it reaches nothing.")
    key_file: SecretFile = Field("", description="Its private key, without a passphrase, readable for us only.")
    known_hosts: str = Field("", description="Host keys, each under its Consul node's name. None is ever learned.")
    hosts: dict[str, Annotated[str, AfterValidator(values.ssh_host)]] = Field(
        {}, description="Node name to host[:port], where it is not the node's address in Consul."
    )
    port: Annotated[int, Field(ge=1, le=65_535)] = Field(22, description="Where hosts says no other.")
    wrapper: bool = Field(True, description="Whether consulguard-exec is the key's forced command on the targets.")
    connect_timeout: Annotated[SomeDuration, Field(le=20)] = Field(10.0, description="20 s at most.")


class Kubernetes(Section):
    kubeconfig: str = Field("", description="Path of a kubeconfig. Empty: the pod's own service account.")
    context: str = Field("", description="Of the kubeconfig. Empty: its current one.")
    namespaces: list[Annotated[str, AfterValidator(values.namespace)]] = Field(
        [], description="Namespaces kubernetes.* actions may touch. Empty: none."
    )
    cordon: bool = Field(
        False, description="Whether kubernetes.cordon may cordon nodes, which are in no namespace."
    )
    request_timeout: SomeDuration = Field(10.0, description="For each answer of the API server.")


class Actions(Section):
    agents: Agents = Agents()
    http: Http = Http()
    exec: Exec = Exec()
    prometheus: Prometheus = Prometheus()
    ssh: Ssh = Ssh()
    kubernetes: Kubernetes = Kubernetes()


class Playbooks(Section):
    dir: str = Field("", description="Empty: playbooks/ beside the configuration file.")
    allow_empty: bool = Field(False, description="Start without any playbook.")
    reload: SomeDuration = Field(
        10.0, description="How often the running daemon looks for changed playbooks and settings."
    )


class DeadMan(Section):
    loop_lag: Duration = Field(5.0, description="The event loop is stuck for this long. 0s: not looked at.")
    append: Duration = Field(5.0, description="One commit of the journal takes this long. 0s: not looked at.")
    silence: Duration = Field(
        30.0, description="The decision loop does not turn for this long. 0s: not looked at."
    )


class Server(Section):
    listen: Annotated[str, AfterValidator(values.listen)] = Field(
        "", description="host:port for /metrics, /-/healthy, /-/ready, /v1/health. Empty: off."
    )
    reload: bool = Field(
        False, description="Whether POST /-/reload reads playbooks and settings again; SIGHUP does."
    )
    dead_man: DeadMan = DeadMan()


class Config(Section):
    """consulguard.yaml"""

    mode: Literal["observe", "approve", "auto"] = Field("observe", description="The most any playbook may do.")
    consul: Consul = Consul()
    watch: Watch = Watch()
    health: Health = Health()
    correlate: Correlate = Correlate()
    guards: Guards = Guards()
    journal: Journal = Journal()
    coordinate: Coordinate = Coordinate()
    notify: Notify = Notify()
    slack: Slack = Slack()
    access: Access = Access()
    receivers: dict[WindowName, Receiver] = Field(
        {}, description="Who can be told besides console and slack, by name."
    )
    route: Route | None = Field(None, description="Who is told what. Empty: console and slack, everything.")
    time_intervals: dict[WindowName, TimeInterval] = Field({}, description="For mute_time_intervals, by name.")
    actions: Actions = Actions()
    playbooks: Playbooks = Playbooks()
    server: Server = Server()
    tracing: Tracing = Tracing()


SECRETS = {"token", "bot_token", "app_token", "signing_secret", "password"}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file, for editors."""
    schema = Config.model_json_schema(mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "consulguard configuration"
    return schema
