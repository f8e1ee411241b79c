"""The ceilings: Bayes' rule over the bench's own physics, told all that is true of a mesh or only what is shown.

``oracle`` knows of the simulator all but what was drawn for the case: the true calls with their strengths and
delays, how each check behaves and what it sees, how often each kind of fault and noise is drawn, how flips are
lost and late. ``onlooker`` knows how all that is drawn, and of the mesh what every ranker is shown. ``outsider``
is not told five of the rates either, and believes of some what the engine does (``rates.py``). None has a number
of its own but how finely it looks and how often it draws.
"""

from bench.correlation.oracle.ask import LARGEST, onlooker, oracle, outsider

__all__ = ["LARGEST", "onlooker", "oracle", "outsider"]
