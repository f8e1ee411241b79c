"""May we? One file per guard, run in the order of ``order.py``. Pure."""
