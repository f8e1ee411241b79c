"""From the file's words to what the rooms work with."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from consulguard.access import AccessPolicy
from consulguard.act import ActSettings, HttpHost, KubeSettings, Prometheus, SshSettings, grpc_health, knock
from consulguard.act.ssh_door import unsafe_files
from consulguard.config.files import HeadersFile, UnsafeFile, exists, read_secret, read_text, yaml_files
from consulguard.config.load import Loaded
from consulguard.config.probe import Probe
from consulguard.config.routing import build
from consulguard.config.values import split_host
from consulguard.consulapi import Consistency, ConsulClient, TokenSource
from consulguard.errors import ConfigError, PlaybookError
from consulguard.model import Mode, Playbook
from consulguard.plan import parse
from consulguard.policy import Budget, CorrelatePolicy, GuardPolicy, HealthPolicy, Policy, ProbePolicy
from consulguard.watch import WatchSettings

if TYPE_CHECKING:
    from consulguard.serve import TraceSettings  # metrics with it: too heavy for verbs that only read

SOCKET_BYTES = 107  # what Linux allows


def policy(loaded: Loaded) -> Policy:
    """What decides something, as the quiet rooms read it."""
    config = loaded.config
    health, correlate = config.health, config.correlate
    return Policy(
        mode=Mode(config.mode),
        datacenter=config.consul.datacenter,
        partition=(config.consul.partition or "default") if loaded.unit is not None else "",
        group_wait_s=config.notify.group_wait,
        route=build(config),
        health=HealthPolicy(
            recovery_s=health.recovery,
            flap_changes=health.flap_changes,
            flap_window_s=health.flap_window,
            calm_s=health.calm,
            vanished_s=health.vanished,
        ),
        correlate=CorrelatePolicy(
            warning_opens=correlate.warning_opens,
            service_share=correlate.service_share,
            group_share=correlate.group_share,
            group_min=correlate.group_min,
            resolve_s=correlate.resolve,
            reopen_s=correlate.reopen,
            infer=correlate.infer,
            failed_calls=correlate.calls.failing,
            probe=_probe(correlate.probe),
        ),
        guard=_guards(loaded),
    )


def _probe(probe: Probe) -> ProbePolicy:
    services = tuple(sorted(probe.services)) if probe.enabled else ()
    return ProbePolicy(services=services, every_s=probe.every, well_s=probe.well, most=probe.most)


def knocking(loaded: Loaded) -> tuple[dict[str, knock.Door], knock.Limits]:
    """How services may be probed; nobody where it is not enabled. Raises ConfigError."""
    given = loaded.config.correlate.probe
    if not given.enabled:
        return {}, knock.Limits()
    doors = {name: knock.Door(**door.model_dump()) for name, door in given.services.items()}
    if not grpc_health.available() and any(door.kind == "grpc" for door in doors.values()):
        raise ConfigError(f"a probe of kind grpc {grpc_health.EXTRA}", where="correlate.probe.services")
    where = "correlate.probe.ca_file"
    ca = _pem(loaded, given.ca_file, "the CA file of probes")
    return doors, knock.Limits(
        timeout_s=given.timeout,
        slow_s=given.slow,
        networks=tuple(given.networks),
        trust=_trusting(ca, where) if ca else None,
    )


def access(loaded: Loaded) -> AccessPolicy:
    """Who may say what."""
    return loaded.config.access.build()


def _guards(loaded: Loaded) -> GuardPolicy:
    guards = loaded.config.guards
    return GuardPolicy(
        max_open=guards.max_open,
        max_open_per_service=guards.max_open_per_service,
        max_open_per_node=guards.max_open_per_node,
        max_share=guards.max_share,
        min_start_interval_s=guards.min_start_interval,
        budget_per_service_h=guards.budget_per_service_per_hour,
        budget_total_h=guards.budget_total_per_hour,
        match_cap=guards.match_cap,
        min_healthy=guards.min_healthy,
        storm_window_s=guards.storm_window,
        storm_min=guards.storm_min,
        storm_share=guards.storm_share,
        storm_cooldown_s=guards.storm_cooldown,
        for_s=guards.hold_down,
        min_looks=guards.min_looks,
        cooldown_s=guards.cooldown,
        cooldown_max_s=guards.cooldown_max,
        service_cooldown_s=guards.service_cooldown,
        attempts_max=guards.attempts_max,
        attempts_window_s=guards.attempts_window,
        budgets={
            name: Budget(runs=budget.runs, per_s=budget.per, max_open=budget.max_open)
            for name, budget in guards.budgets.items()
        },
        windows={name: window.build() for name, window in guards.windows.items()},
        window=guards.window,
        error_budget_runs=guards.error_budget_runs,
        error_budget_bad=guards.error_budget_bad,
        root_settle_s=guards.root_settle,
        deny=("consul", "consulguard", *guards.deny_services),
        deny_nodes=tuple(guards.deny_nodes),
    )


def client(loaded: Loaded, *, consistency: Consistency = "default") -> ConsulClient:
    """The client of record, for the local agent and its fall-backs. Raises ConfigError."""
    consul = loaded.config.consul
    return ConsulClient(
        addresses=consul.http_addr,
        token=_token(loaded),
        ssl=_tls(loaded) if any(a.startswith("https://") for a in consul.http_addr) else None,
        datacenter=consul.datacenter,
        namespace=consul.namespace,
        partition=consul.partition,
        consistency=consistency,
    )


def _token(loaded: Loaded) -> TokenSource | None:
    name = loaded.config.consul.token_file
    if loaded.consul_token:
        return TokenSource(loaded.consul_token)
    return token_file(loaded, name, "the Consul token file") if name else None


def token_file(loaded: Loaded, name: str, what: str) -> TokenSource:
    """A token that follows its file. Raises ConfigError when the file is not one to trust."""
    path = loaded.resolve(name)
    read_secret(path, what)
    return TokenSource(file=path)


def _tls(loaded: Loaded) -> ssl.SSLContext:
    consul = loaded.config.consul
    ca, cert, key = (
        _pem(loaded, name, what)
        for name, what in (
            (consul.ca_file, "the CA file"),
            (consul.client_cert, "the client certificate"),
            (consul.client_key, "the client key"),
        )
    )
    return _trusting(ca, "consul.ca_file/client_cert", cert, key)


def _trusting(ca: str | None, where: str, cert: str | None = None, key: str | None = None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert is not None:
            context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise ConfigError(f"the TLS files cannot be used: {reason}", where=where) from None
    return context


def _pem(loaded: Loaded, name: str, what: str) -> str | None:
    if not name:
        return None
    path = loaded.resolve(name)
    read_text(path, what)
    return str(path)


def watch_settings(loaded: Loaded) -> WatchSettings:
    """How to watch."""
    watch = loaded.config.watch
    return WatchSettings(
        settle_s=watch.settle,
        audit_s=watch.audit_interval,
        zone_keys=tuple(watch.zone_keys),
        declared={caller: tuple(callees) for caller, callees in watch.depends_on.items()},
    )


def act_settings(loaded: Loaded) -> ActSettings:
    """What actions are allowed to touch. Raises ConfigError."""
    actions = loaded.config.actions
    hosts = tuple(
        HttpHost(name=name, url=host.url, private=host.private, headers=_headers(loaded, host.headers_file))
        for name, host in sorted(actions.http.hosts.items())
    )
    return ActSettings(
        allowed_hosts=hosts,
        allowed_commands=tuple(actions.exec.allowed_commands),
        agent_scheme=actions.agents.scheme,
        agent_port=actions.agents.port,
        agent_addresses=dict(actions.agents.addresses),
        prometheus=_prometheus(loaded),
        ssh=_ssh(loaded),
        kubernetes=_kubernetes(loaded),
    )


def _prometheus(loaded: Loaded) -> Prometheus | None:
    given = loaded.config.actions.prometheus
    if not given.address:
        return None
    ca = _pem(loaded, given.ca_file, "the CA file of Prometheus")
    return Prometheus(
        address=given.address,
        token=token_file(loaded, given.token_file, "the Prometheus token file") if given.token_file else None,
        ssl=_trusting(ca, "actions.prometheus.ca_file") if ca else True,
        timeout_s=given.timeout,
    )


def _ssh(loaded: Loaded) -> SshSettings | None:
    """How ``ssh.run`` reaches nodes; None when nothing is said. Raises ConfigError."""
    ssh = loaded.config.actions.ssh
    needed = {"user": ssh.user, "key_file": ssh.key_file, "known_hosts": ssh.known_hosts}
    if not any(needed.values()):
        return None
    if missing := [name for name, value in needed.items() if not value]:
        raise ConfigError(f"ssh.run also needs {' and '.join(missing)}", where="actions.ssh")
    settings = SshSettings(
        user=ssh.user,
        key_file=str(loaded.resolve(ssh.key_file)),
        known_hosts=str(loaded.resolve(ssh.known_hosts)),
        hosts={node: split_host(host, ssh.port) for node, host in ssh.hosts.items()},
        port=ssh.port,
        wrapper=ssh.wrapper,
        connect_timeout_s=ssh.connect_timeout,
    )
    if reason := unsafe_files(settings):
        raise UnsafeFile(reason, where="actions.ssh")
    return settings


def _kubernetes(loaded: Loaded) -> KubeSettings:
    given = loaded.config.actions.kubernetes
    path = loaded.resolve(given.kubeconfig) if given.kubeconfig else None
    if path is not None:
        read_text(path, "the kubeconfig")  # it may name commands: nobody else may write it
    own = KubeSettings().service_account
    return KubeSettings(
        kubeconfig=str(path) if path is not None else "",
        context=given.context,
        namespaces=tuple(given.namespaces),
        cordon=given.cordon,
        request_timeout_s=given.request_timeout,
        own_namespace=_own_namespace(Path(own)),
        own_pod=os.environ.get("POD_NAME") or os.environ.get("HOSTNAME", ""),
    )


def _own_namespace(service_account: Path) -> str:
    """Of the pod we run in; empty outside of Kubernetes."""
    try:
        return (service_account / "namespace").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _headers(loaded: Loaded, name: str) -> Mapping[str, str]:
    return HeadersFile(loaded.resolve(name)) if name else {}


def traces(loaded: Loaded) -> TraceSettings | None:
    """Where traces go; None: nowhere. Headers in the environment go over the file's. Raises ConfigError."""
    given = loaded.config.tracing
    if not given.enabled:
        return None
    from consulguard.serve import TraceSettings

    headers = _headers(loaded, given.headers_file)
    theirs = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in ("HEADERS", "TRACES_HEADERS"))
    return TraceSettings(
        endpoint=given.endpoint,
        ca_file=_pem(loaded, given.ca_file, "the CA file of the trace collector") or "",
        sample_ratio=given.sample_ratio,
        headers=(lambda: headers) if given.headers_file and not theirs else None,
    )


def journal_path(loaded: Loaded) -> Path:
    """Where the journal is. Its folder is made by the daemon, not by readers."""
    if loaded.config.journal.path:
        return loaded.resolve(loaded.config.journal.path)
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    return home / "consulguard/journal.sqlite"


def socket_path(loaded: Loaded) -> Path:
    """The daemon's control socket, beside the journal. Raises ConfigError when no socket can have that name."""
    path = journal_path(loaded).with_suffix(".sock")
    if len(os.fsencode(path)) > SOCKET_BYTES:
        raise ConfigError(f"the path is longer than the {SOCKET_BYTES} bytes of a socket's name", where=str(path))
    return path


def slack_token(loaded: Loaded) -> TokenSource:
    """Slack's bot token. Raises ConfigError when there is none."""
    name = loaded.config.slack.bot_token_file
    if loaded.slack_token:
        return TokenSource(loaded.slack_token)
    if not name:
        raise ConfigError("slack.enabled needs slack.bot_token_file or $SLACK_BOT_TOKEN", where="slack")
    return token_file(loaded, name, "the Slack token file")


def heartbeat_url(loaded: Loaded) -> TokenSource | None:
    """What is called while all is well; None: nobody. Raises ConfigError, without repeating the URL."""
    name = loaded.config.notify.heartbeat_url_file
    if not name:
        return None
    source = token_file(loaded, name, "the heartbeat URL file")
    try:
        parts = urlsplit(source.get())
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError("the heartbeat URL file must hold one http(s) URL", where=str(loaded.resolve(name)))
    return source


def playbook_dir(loaded: Loaded) -> Path:
    """Configured, else ``playbooks/`` beside the configuration file."""
    return loaded.resolve(loaded.config.playbooks.dir or "playbooks")


def playbooks(loaded: Loaded) -> tuple[tuple[Playbook, ...], tuple[PlaybookError, ...]]:
    """The playbooks that can be used, and what is wrong with the others.

    Raises ConfigError on an empty folder, UnsafeFile on a file that somebody else could have written.
    """
    folder, given = playbook_dir(loaded), loaded.config.playbooks
    if not given.dir and not exists(folder) and (given.allow_empty or loaded.path is None):
        return (), ()
    good: list[Playbook] = []
    bad: list[PlaybookError] = []
    for path in yaml_files(folder):
        try:
            good.append(parse(read_text(path, "the playbook"), str(path)))
        except UnsafeFile:
            raise
        except PlaybookError as error:
            bad.append(error)
        except ConfigError as error:
            bad.append(PlaybookError(error.message, where=error.where))
    if not good and not bad and not given.allow_empty:
        raise ConfigError("there is no playbook; set playbooks.allow_empty to run without", where=str(folder))
    return _unique(good, bad)


def _unique(
    good: list[Playbook], bad: list[PlaybookError]
) -> tuple[tuple[Playbook, ...], tuple[PlaybookError, ...]]:
    """Two playbooks of one name: neither is used, because nobody knows which was meant."""
    named: dict[str, list[Playbook]] = {}
    for playbook in good:
        named.setdefault(playbook.id, []).append(playbook)
    for twins in (t for t in named.values() if len(t) > 1):
        for one in twins:
            others = ", ".join(t.source for t in twins if t is not one)
            bad.append(
                PlaybookError(f"the name {one.id} is taken: {others}; rename one", where=f"{one.source}: name")
            )
    return tuple(t[0] for t in named.values() if len(t) == 1), tuple(bad)
