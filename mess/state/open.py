"""Creates the store for a state url."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mess.state.store import StateStore

_SQLITE = "sqlite:///"
RETRY_FOR = 60.0
"""Seconds for which a failing write is retried, long enough for a failover."""


def file_of(url: str | None) -> Path | None:
    """The SQLite file that a state URL names; None where the state is kept in MongoDB."""
    return Path(url.removeprefix(_SQLITE)) if url is not None and url.startswith(_SQLITE) else None


def open_store(url: str, relay: str, database: Any, *, retry_for: float = RETRY_FOR) -> StateStore:
    """A store that is not open yet: SQLite for `sqlite:///path`, else MongoDB in `database`, a handle of an async
    driver that the caller connects and closes."""
    if (file := file_of(url)) is not None:
        from mess.state.sqlite import SqliteStore

        return SqliteStore(file, relay, retry_for=retry_for)
    from mess.state.mongo import MongoStore

    return MongoStore(database, relay, retry_for=retry_for)
