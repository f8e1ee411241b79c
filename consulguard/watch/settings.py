"""How the watcher reads: every pace with its reason. Nothing here decides what is done about what was read."""

from __future__ import annotations

from consulguard.model import Value

ZONE_KEYS = ("zone", "availability_zone", "topology.kubernetes.io/zone")


class WatchSettings(Value, frozen=True, kw_only=True):
    datacenter: str = ""  # empty: asked of Consul
    zone_keys: tuple[str, ...] = ZONE_KEYS  # of NodeMeta, the first that is there wins
    declared: dict[str, tuple[str, ...]] = {}  # service -> services it depends on, from a file
    kv_prefix: str = "consulguard/depends-on/"
    wait_s: float = 55.0  # of a blocking query: the longest a restored snapshot can leave a feed blind
    settle_s: float = 30.0  # after start, resync or change of agent, and two looks of every feed
    grace_s: float = 5.0  # an error this short does not cost the view its trust
    health_rate: float = 4.0  # reads a second of the critical feed under churn
    health_rate_warning: float = 0.5  # of the warning feed, which decides nothing by itself
    health_rate_quick: float = 20.0  # of both, while small answers bring news: 0.2 ms of the server's time each
    health_rate_big: float = 1.0  # the same while its answer is larger than big_bytes
    health_burst: int = 4
    quick_bytes: int = 100_000  # some 200 checks
    big_bytes: int = 1_000_000
    services_gap_s: float = 15.0  # catalog/services costs the server 135 ms at 100,000 instances
    nodes_gap_s: float = 30.0
    config_gap_s: float = 5.0  # every write of any entry wakes all these feeds
    confirm_after_s: float = 0.3  # a check that left one set may be on its way into the other
    probe_s: float = 10.0  # leader probe
    audit_s: float = 90.0  # jittered by a third: 60 to 120
    acl_probe: bool = True  # POST /v1/internal/acl/authorize, read-only; at start and every acl_probe_s
    acl_probe_once: bool = False  # the same in a one-shot read, which else sends nothing but GETs
    acl_probe_s: float = 3600.0
    ui_s: float = 900.0  # the whole fleet's counts, where the endpoint exists
    crawl_rate: float = 20.0  # services a second until each has been read once
    crawl_rate_steady: float = 0.5  # then; with the feeds this stays below one query a second
    crawl_round_s: float = 900.0  # a small mesh is read once in this long, not at the full steady rate
    linger_s: float = 90.0  # a service is read as one in trouble this long after its last news or focus
    refresh_s: float = 60.0  # services in trouble or focus are read again this often, in a crowd one a second
    forbidden_retry_s: float = 30.0  # after a 403
    backoff_min_s: float = 0.25
    backoff_max_s: float = 15.0
    resync_min_s: float = 1.0  # between two resyncs, doubled with each, less up to a half
    resync_max_s: float = 60.0  # and after so long without one the next is made at once
    heartbeat_s: float = 15.0  # View.as_of is told again when it has moved this far
    list_bytes: int = 256 * 1024 * 1024  # cap of the answers that grow with the fleet
