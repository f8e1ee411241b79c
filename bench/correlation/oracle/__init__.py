"""The ceiling: Bayes' rule over the bench's own physics. It knows of the simulator all but what it drew for the case."""

from bench.correlation.oracle.ask import oracle

__all__ = ["oracle"]
