"""The queue step: events as messages, one file per broker. Start reading at `step` and `broker` (the port)."""
