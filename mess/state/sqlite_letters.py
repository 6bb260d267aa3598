"""Dead letters in SQLite. All functions run on the store's thread; those that write run inside its transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from mess.event import Namespace
from mess.state.letters import Packed, unpack
from mess.state.records import DeadLetter, Listed, Pointer, Wanted
from mess.state.sqlite_schema import instant, millis

_HEAD = ("id", "pipeline", "step", "db", "coll", "operation", "key", "reason", "error", "attempts", "time", "place")
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


def replace(db: sqlite3.Connection, relay: str, letters: Sequence[tuple[DeadLetter, Packed]]) -> int:
    """See `StateStore.replace_unchanged`."""
    unchanged = [packed for letter, packed in letters if _is_unchanged(db, relay, letter)]
    add(db, relay, unchanged)
    return len(unchanged)


def page(db: sqlite3.Connection, relay: str, wanted: Wanted, after: Listed | None, size: int) -> list[DeadLetter]:
    """See `StateStore.page`."""
    where, values = _where(relay, wanted)
    if after is not None:
        where, values = f"{where} AND (time, id) < (?, ?)", [*values, millis(after.time), after.id]
    rows = db.execute(
        f"SELECT {_FIELDS} FROM dead_letters WHERE {where} ORDER BY time DESC, id DESC LIMIT ?", (*values, size)
    )
    return [unpack(_head(row)) for row in rows]


def pointers(db: sqlite3.Connection, relay: str, wanted: Wanted) -> list[Pointer]:
    """See `StateStore.pointers`."""
    where, values = _where(relay, wanted)
    query = f"SELECT id, pipeline, step, db, coll, operation FROM dead_letters WHERE {where} ORDER BY place, time, id"
    return [
        Pointer(id=id_, pipeline=pipeline, step=step, namespace=Namespace(of_db, coll), operation=operation)
        for id_, pipeline, step, of_db, coll, operation in db.execute(query, values)
    ]


def places(db: sqlite3.Connection, relay: str) -> dict[tuple[str, str], int]:
    """See `StateStore.dead_letter_places`."""
    query = "SELECT pipeline, step, count(*) FROM dead_letters WHERE relay = ? GROUP BY pipeline, step"
    return {(pipeline, step): count for pipeline, step, count in db.execute(query, (relay,))}


def places_in_file(path: Path, relay: str) -> dict[tuple[str, str], int]:
    """The same for a file that may belong to a running relay: nothing is written, not even a lock.

    Empty if the file cannot be read. Letters of the last moments may be missing.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as db:
            return places(db, relay)
    except (sqlite3.Error, OSError, ValueError):
        return {}


def get(db: sqlite3.Connection, relay: str, id: str) -> DeadLetter | None:  # noqa: A002
    """See `StateStore.dead_letter`."""
    row = db.execute(f"SELECT {_FIELDS}, data FROM dead_letters WHERE relay = ? AND id = ?", (relay, id)).fetchone()
    return None if row is None else unpack(_head(row), [row[-1]])


def delete(db: sqlite3.Connection, relay: str, wanted: Wanted) -> int:
    """See `StateStore.delete_dead_letters`."""
    where, values = _where(relay, wanted)
    return db.execute(f"DELETE FROM dead_letters WHERE {where}", values).rowcount


def delete_unchanged(db: sqlite3.Connection, relay: str, letters: Sequence[DeadLetter]) -> int:
    """See `StateStore.delete_unchanged`."""
    ids = tuple(letter.id for letter in letters if _is_unchanged(db, relay, letter))
    return delete(db, relay, Wanted(ids=ids))


def count(db: sqlite3.Connection, relay: str, wanted: Wanted) -> int:
    """See `StateStore.count_dead_letters`."""
    where, values = _where(relay, wanted)
    return int(db.execute(f"SELECT count(*) FROM dead_letters WHERE {where}", values).fetchone()[0])


def prune(db: sqlite3.Connection, relay: str, max_age: float | None, max_count: int | None) -> int:
    """See `StateStore.prune`."""
    deleted = 0
    if max_age is not None:
        oldest = millis(datetime.now(timezone.utc) - timedelta(seconds=max_age))
        deleted += db.execute("DELETE FROM dead_letters WHERE relay = ? AND time < ?", (relay, oldest)).rowcount
    if max_count is not None:
        # SQLite interprets a negative limit as none.
        newest = "SELECT rowid FROM dead_letters WHERE relay = ? ORDER BY time DESC, id DESC LIMIT -1 OFFSET ?"
        query = f"DELETE FROM dead_letters WHERE rowid IN ({newest})"
        deleted += db.execute(query, (relay, max_count)).rowcount
    return deleted


def _head(row: Sequence[Any]) -> dict[str, Any]:
    head = dict(zip(_HEAD, row, strict=False))
    return {**head, "time": instant(head["time"])}


def _is_unchanged(db: sqlite3.Connection, relay: str, letter: DeadLetter) -> bool:
    stored = get(db, relay, letter.id)
    return stored is not None and stored.version == letter.version


def _where(relay: str, wanted: Wanted) -> tuple[str, list[Any]]:
    db, coll = wanted.db_and_coll
    conditions: list[tuple[str, Any]] = [
        ("relay = ?", relay),
        ("pipeline = ?", wanted.pipeline),
        ("step = ?", wanted.step),
        ("glob_matches(db, ?)", db),
        ("glob_matches(coll, ?)", coll),
        ("time >= ?", wanted.since and millis(wanted.since)),
        ("time <= ?", wanted.until and millis(wanted.until)),
        ("instr(casefold(reason), casefold(?)) > 0", wanted.reason),
        ("id IN (SELECT value FROM json_each(?))", None if wanted.ids is None else json.dumps(wanted.ids)),
    ]
    asked = [(condition, value) for condition, value in conditions if value is not None]
    return " AND ".join(condition for condition, _ in asked), [value for _, value in asked]
