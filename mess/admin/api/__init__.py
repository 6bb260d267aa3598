"""The admin API, version 1. Start reading at `routes`, which lists its operations."""
