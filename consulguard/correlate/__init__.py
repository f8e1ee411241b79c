"""From troubles to incidents: the graph of who depends on whom, who is to blame, and what belongs together."""

from consulguard.correlate.abroad import hear_of, lose_sight, news
from consulguard.correlate.ask import callers, describes, explained, find, hosts_most, instances, on_node
from consulguard.correlate.blame import blame
from consulguard.correlate.book import Book, graph_at, learn, measure, next_wake, open_incidents, remember
from consulguard.correlate.cause.memory import Trail, calls_fail
from consulguard.correlate.cause.rank import Suspect, Verdict, suspects
from consulguard.correlate.graph import Graph
from consulguard.correlate.incident import update
from consulguard.correlate.keys import root_key, root_target
from consulguard.correlate.knocks import answered, forget_doors, knock, next_knock
from consulguard.correlate.machine import to_mermaid as incident_mermaid
from consulguard.correlate.subjects import healthy, root_subject, subjects
from consulguard.correlate.topology import ServiceNode, Topology, TopologyEdge, to_dot, to_mermaid, topology

__all__ = [
    "Book",
    "Graph",
    "ServiceNode",
    "Suspect",
    "Topology",
    "TopologyEdge",
    "Trail",
    "Verdict",
    "answered",
    "blame",
    "callers",
    "calls_fail",
    "describes",
    "explained",
    "find",
    "forget_doors",
    "graph_at",
    "healthy",
    "hear_of",
    "hosts_most",
    "incident_mermaid",
    "instances",
    "knock",
    "learn",
    "lose_sight",
    "measure",
    "news",
    "next_knock",
    "next_wake",
    "on_node",
    "open_incidents",
    "remember",
    "root_key",
    "root_subject",
    "root_target",
    "subjects",
    "suspects",
    "to_dot",
    "to_mermaid",
    "topology",
    "update",
]
