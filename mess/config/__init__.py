"""The config file: reading, checking and resolving it. Start at `model` (its shape) and `load` (reading it)."""
