"""The figures of docs/performance.md: ``python -m bench [detect|storm|decode ...]``; ratios in one run."""
