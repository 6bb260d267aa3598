"""The store that a state url names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mess.state.store import StateStore

RETRY_FOR = 60.0
"""Seconds for which a failing write is tried again, as a failover may take."""


def open_store(url: str, relay: str, database: Any, *, retry_for: float = RETRY_FOR) -> StateStore:
    """A store that is not open yet: SQLite for `sqlite:///path`, else MongoDB by `database`, a handle of an async
    driver that the caller connects and closes."""
    if url.startswith("sqlite:///"):
        from mess.state.sqlite import SqliteStore

        return SqliteStore(Path(url.removeprefix("sqlite:///")), relay, retry_for=retry_for)
    from mess.state.mongo import MongoStore

    return MongoStore(database, relay, retry_for=retry_for)
