"""The config file: reading, checking and resolving it. Start reading at `model` (its shape) and `load` (reading it)."""
