"""Dead letters in SQLite. Every function runs on the store's thread, those that write inside its transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from mess.state.letters import Packed, unpack
from mess.state.sqlite_schema import instant, millis
from mess.state.store import DeadLetter, Wanted

_HEAD = ("id", "pipeline", "step", "db", "coll", "operation", "key", "reason", "error", "attempts", "time")
_FIELDS = ", ".join(_HEAD)
_REPLACED = ", ".join(f"{field} = excluded.{field}" for field in (*_HEAD, "data") if field not in ("id", "time"))
_UPSERT = (
    f"INSERT INTO dead_letters (relay, {_FIELDS}, data) VALUES (?{', ?' * (len(_HEAD) + 1)}) "
    f"ON CONFLICT (relay, id) DO UPDATE SET {_REPLACED}"
)


def add(db: sqlite3.Connection, relay: str, packed: Sequence[Packed]) -> None:
    """See `StateStore.add_dead_letters`."""
    for each in packed:
        head = {**each.head, "time": millis(each.head["time"])}
        db.execute(_UPSERT, (relay, *(head[field] for field in _HEAD), b"".join(each.chunks)))


def page(db: sqlite3.Connection, relay: str, wanted: Wanted, after: DeadLetter | None, size: int) -> list[DeadLetter]:
    """See `StateStore._page`."""
    conditions: list[tuple[str, tuple[Any, ...]]] = [("relay = ?", (relay,))]
    if wanted.pipeline is not None:
        conditions.append(("pipeline = ?", (wanted.pipeline,)))
    if wanted.step is not None:
        conditions.append(("step = ?", (wanted.step,)))
    if wanted.namespace is not None:
        conditions.append(("db = ? AND coll = ?", tuple(wanted.namespace)))
    if wanted.since is not None:
        conditions.append(("time >= ?", (millis(wanted.since),)))
    if after is not None:
        conditions.append(("(time, id) < (?, ?)", (millis(after.time), after.id)))
    where = " AND ".join(text for text, _ in conditions)
    values = [value for _, values in conditions for value in values]
    rows = db.execute(
        f"SELECT {_FIELDS} FROM dead_letters WHERE {where} ORDER BY time DESC, id DESC LIMIT ?", (*values, size)
    )
    return [unpack(_head(row)) for row in rows]


def get(db: sqlite3.Connection, relay: str, id: str) -> DeadLetter | None:  # noqa: A002
    """See `StateStore.dead_letter`."""
    row = db.execute(f"SELECT {_FIELDS}, data FROM dead_letters WHERE relay = ? AND id = ?", (relay, id)).fetchone()
    return None if row is None else unpack(_head(row), [row[-1]])


def delete(db: sqlite3.Connection, relay: str, ids: Sequence[str]) -> int:
    """See `StateStore.delete_dead_letters`."""
    query = "DELETE FROM dead_letters WHERE relay = ? AND id = ?"
    return sum(db.execute(query, (relay, id)).rowcount for id in ids)  # noqa: A001


def count(db: sqlite3.Connection, relay: str) -> int:
    """See `StateStore.count_dead_letters`."""
    return int(db.execute("SELECT count(*) FROM dead_letters WHERE relay = ?", (relay,)).fetchone()[0])


def prune(db: sqlite3.Connection, relay: str, max_age: float | None, max_count: int | None) -> int:
    """See `StateStore.prune`."""
    deleted = 0
    if max_age is not None:
        oldest = millis(datetime.now(timezone.utc) - timedelta(seconds=max_age))
        deleted += db.execute("DELETE FROM dead_letters WHERE relay = ? AND time < ?", (relay, oldest)).rowcount
    if max_count is not None:
        # SQLite takes a negative limit for none.
        newest = "SELECT rowid FROM dead_letters WHERE relay = ? ORDER BY time DESC, id DESC LIMIT -1 OFFSET ?"
        query = f"DELETE FROM dead_letters WHERE rowid IN ({newest})"
        deleted += db.execute(query, (relay, max_count)).rowcount
    return deleted


def _head(row: Sequence[Any]) -> dict[str, Any]:
    head = dict(zip(_HEAD, row, strict=False))
    return {**head, "time": instant(head["time"])}
