"""Backfills in SQLite. All functions run on the store's thread; those that write run inside its transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from mess.state.backfills import ENDED, Backfill, BackfillProgress, remedy
from mess.state.records import damaged
from mess.state.sqlite_schema import instant, millis, rows

_TIMES = ("created", "started", "updated", "ended")


def add(db: sqlite3.Connection, relay: str, backfill: Backfill) -> bool:
    """See `StateStore.add_backfill`."""
    row = {"relay": relay, **_columns(backfill.fields())}
    values = ", ".join(f":{name}" for name in row)
    added = db.execute(f"INSERT OR IGNORE INTO backfills ({_names(row)}) VALUES ({values})", row)
    return added.rowcount == 1


def read(db: sqlite3.Connection, relay: str, *, active: bool) -> list[Backfill]:
    """See `StateStore.backfills`."""
    ended = ENDED if active else ()
    query = f"SELECT * FROM backfills WHERE relay = ? AND state NOT IN ({', '.join('?' * len(ended))})"
    return _read(db, relay, f"{query} ORDER BY created, id", relay, *ended)


def want(db: sqlite3.Connection, relay: str, id: str, wanted: str) -> Backfill | None:  # noqa: A002 - the field's name
    """See `StateStore.want_backfill`."""
    found = _read(db, relay, "SELECT * FROM backfills WHERE relay = ? AND id = ?", relay, id)
    for backfill in found:
        after = backfill.wanting(wanted)
        _update(db, relay, id, after.fields())
        return after
    return None


def save(db: sqlite3.Connection, relay: str, moved: Mapping[str, BackfillProgress]) -> None:
    """See `StateStore.save`; the caller has checked the epoch."""
    for id_, progress in moved.items():
        _update(db, relay, id_, progress.fields())


def prune(db: sqlite3.Connection, relay: str, max_age: float) -> None:
    """Delete those that ended longer than `max_age` seconds ago."""
    oldest = millis(datetime.now(timezone.utc) - timedelta(seconds=max_age))
    db.execute("DELETE FROM backfills WHERE relay = ? AND ended < ?", (relay, oldest))


def _update(db: sqlite3.Connection, relay: str, id: str, fields: Mapping[str, Any]) -> None:  # noqa: A002
    row = _columns(fields)
    changes = ", ".join(f"{_quoted(name)} = :{name}" for name in row)
    db.execute(f"UPDATE backfills SET {changes} WHERE relay = :relay AND id = :id", {**row, "relay": relay, "id": id})


def _read(db: sqlite3.Connection, relay: str, query: str, *values: str) -> list[Backfill]:
    return [_understood(relay, row) for row in rows(db, query, *values)]


def _understood(relay: str, columns: Mapping[str, Any]) -> Backfill:
    try:
        times = {name: columns[name] if columns[name] is None else instant(columns[name]) for name in _TIMES}
        return Backfill.of_fields({**columns, **times})
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        name = columns["id"]
        removal = f"DELETE FROM backfills WHERE relay = '{relay}' AND id = '{name}'"
        raise damaged(name, "table backfills", error, remedy(removal)) from error


def _columns(fields: Mapping[str, Any]) -> dict[str, Any]:
    times = {name: None if fields[name] is None else millis(fields[name]) for name in _TIMES if name in fields}
    return {**fields, **times}


def _names(row: Mapping[str, Any]) -> str:
    return ", ".join(map(_quoted, row))


def _quoted(name: str) -> str:
    return f'"{name}"'  # match is a word of SQLite's
