"""Who is to blame: simulated faults on public topologies, the engine beside simple rules and beside two oracles.

``python -m bench correlation --help`` tells its options. It ends with 1 when a simple rule is better than the
engine at a kind of fault by more than chance: two standard errors of the difference, case by case.
"""
