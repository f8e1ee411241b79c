"""The ceiling: Bayes' rule over the bench's own physics.

It knows of the simulator all but what was drawn for the case: the true calls with their strengths and delays, how
each check behaves and what it sees, how often each kind of fault and noise is drawn, how flips are lost and late.
It has no number of its own but how finely it looks and how often it draws.
"""

from bench.correlation.oracle.ask import LARGEST, onlooker, oracle

__all__ = ["LARGEST", "onlooker", "oracle"]
