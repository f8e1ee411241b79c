"""The append-only record of events and intents, one file per store."""
