"""consulguard: watches a Consul service mesh, names the root cause, repairs it behind strict guards."""

__version__ = "0.1.0"
