"""The sample shop: which services there are, who calls whom, and where their instances run."""

from __future__ import annotations

from dataclasses import dataclass

LOCAL = ""  # the node of the agent the mesh registers with


@dataclass(frozen=True)
class Shop:
    """One service of the shop: what it calls, and the node of each of its instances."""

    name: str
    calls: tuple[str, ...]
    nodes: tuple[str, ...]
    team: str

    def instance_ids(self) -> list[str]:
        return [f"{self.name}-{number}" for number in range(1, len(self.nodes) + 1)]


# Nodes without an agent, as an external monitor keeps them in the catalog: name -> zone
EXTERNAL_NODES = {"rack-1": "zone-a", "rack-2": "zone-b"}

SHOP = (
    Shop("gateway", ("frontend",), (LOCAL, LOCAL), "edge"),
    Shop("frontend", ("catalog", "cart", "checkout", "recommendation"), (LOCAL, LOCAL, LOCAL), "web"),
    Shop("catalog", ("inventory",), (LOCAL, LOCAL, "rack-1"), "goods"),
    Shop("cart", ("inventory",), (LOCAL, LOCAL), "orders"),
    Shop("checkout", ("cart", "payment", "shipping"), (LOCAL, LOCAL), "orders"),
    Shop("payment", ("ledger",), (LOCAL, LOCAL, LOCAL), "money"),
    Shop("reporting", ("ledger",), (LOCAL, LOCAL), "money"),
    Shop("ledger", (), (LOCAL, LOCAL), "money"),
    Shop("inventory", (), (LOCAL, "rack-1", "rack-2"), "goods"),
    Shop("shipping", (), (LOCAL, LOCAL, "rack-2"), "orders"),
    Shop("recommendation", ("catalog",), (LOCAL, "rack-1", "rack-2"), "web"),
)
