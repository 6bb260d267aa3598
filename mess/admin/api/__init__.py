"""The admin API, version 1: start reading at `routes.py`, which lists its operations."""
