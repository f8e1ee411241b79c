"""The figures of docs/performance.md: ``python -m bench [detect|storm|decode ...]``. Ratios within one run only."""
