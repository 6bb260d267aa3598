"""The queue step: sends events as messages, with one file per broker. Start reading at `step` and `broker` (the
port)."""
