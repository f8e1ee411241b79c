"""The check, instance, service and node state machines. Pure."""
