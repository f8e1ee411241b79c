"""One file per action."""
