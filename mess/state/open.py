"""The store that a state url names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mess.state.store import StateStore

PATIENCE = 60.0
"""Seconds for which a failing write is tried again, as a failover may take."""


def open_store(url: str, relay: str, database: Any, *, patience: float = PATIENCE) -> StateStore:
    """A store that is not open yet: SQLite for `sqlite:///path`, else MongoDB by `database`, a handle of an async
    driver that the caller connects and closes."""
    if url.startswith("sqlite:///"):
        from mess.state.sqlite import SqliteStore

        return SqliteStore(Path(url.removeprefix("sqlite:///")), relay, patience=patience)
    from mess.state.mongo import MongoStore

    return MongoStore(database, relay, patience=patience)
