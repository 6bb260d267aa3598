"""Pauses in SQLite. All functions run on the store's thread; those that write run inside its transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from mess.state.pauses import Pause, Target
from mess.state.records import damaged
from mess.state.sqlite_schema import instant, millis, rows


def read(db: sqlite3.Connection, relay: str) -> list[Pause]:
    """See `StateStore.pauses`."""
    return [_understood(relay, row) for row in rows(db, "SELECT * FROM pauses WHERE relay = ? ORDER BY since", relay)]


def add(db: sqlite3.Connection, relay: str, pause: Pause) -> None:
    """See `StateStore.pause`."""
    row = {"relay": relay, "id": pause.target.id, **pause.fields(), "since": millis(pause.since)}
    names, values = ", ".join(f'"{name}"' for name in row), ", ".join(f":{name}" for name in row)
    db.execute(f"INSERT OR IGNORE INTO pauses ({names}) VALUES ({values})", row)


def remove(db: sqlite3.Connection, relay: str, target: Target) -> bool:
    """See `StateStore.resume`."""
    return db.execute("DELETE FROM pauses WHERE relay = ? AND id = ?", (relay, target.id)).rowcount > 0


def _understood(relay: str, row: Mapping[str, Any]) -> Pause:
    try:
        return Pause.of_fields({**row, "since": instant(row["since"])})
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        removal = f"remove all pauses: DELETE FROM pauses WHERE relay = '{relay}'"
        raise damaged(str(row["id"]), "table pauses", error, removal) from error
