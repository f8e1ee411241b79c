"""One file or folder per channel, and the outbox worker."""
