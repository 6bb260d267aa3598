"""The config file: read, checked and resolved. Start reading at `model` (its shape) and `load` (reading it)."""
