"""The doors of the daemon: control socket, HTTP, metrics."""
