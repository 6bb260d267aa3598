"""A relay's progress in SQLite: its epoch, its coverage map, and its streams' checkpoints."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import bson

from mess.commands import command, quoted
from mess.errors import DamagedState
from mess.state.letters import OPTIONS
from mess.state.records import Checkpoint, LegacyCheckpoint, Positions
from mess.state.sqlite_schema import VERSION, instant, millis, numbers, rows, timestamp
from mess.state.store import superseded

T = TypeVar("T")

_LEGACY = "SELECT * FROM checkpoints WHERE relay = ? ORDER BY stream"
_CURRENT = "SELECT * FROM positions WHERE relay = ? AND arrangement = ? ORDER BY stream"


def take_over(db: sqlite3.Connection, relay: str) -> int:
    """See `StateStore.take_over`."""
    # From here on, MESS 0.1 refuses the file instead of starting from scratch.
    db.execute(f"PRAGMA user_version = {VERSION}")
    written = db.execute("SELECT max(epoch) FROM coverage WHERE relay = ?", (relay,)).fetchone()[0] or 0
    row = db.execute(
        "INSERT INTO relays (relay, epoch) VALUES (?, ? + 1) "
        "ON CONFLICT (relay) DO UPDATE SET epoch = max(epoch, ?) + 1 RETURNING epoch",
        (relay, written, written),
    ).fetchone()
    return int(row[0])


def epochs(db: sqlite3.Connection, relay: str) -> tuple[int, int]:
    """See `StateStore.epochs`."""
    known = db.execute("SELECT max(epoch) FROM relays WHERE relay = ?", (relay,)).fetchone()[0] or 0
    written = db.execute("SELECT max(epoch) FROM coverage WHERE relay = ?", (relay,)).fetchone()[0] or 0
    return int(known), int(written)


def read(db: sqlite3.Connection, relay: str) -> Positions:
    """See `StateStore.positions`."""
    row = db.execute("SELECT arrangement, rules FROM coverage WHERE relay = ?", (relay,)).fetchone()
    if row is None:
        return Positions(legacy=tuple(_read(db, LegacyCheckpoint.of_fields, "checkpoints", _LEGACY, relay)))
    arrangement, rules = row
    coverage = _understood(relay, lambda: json.loads(rules), "coverage")
    return Positions(coverage, tuple(_read(db, Checkpoint.of_fields, "positions", _CURRENT, relay, arrangement)))


def arrange(
    db: sqlite3.Connection,
    relay: str,
    epoch: int,
    arrangement: str,
    coverage: list[Any],
    checkpoints: Sequence[Checkpoint],
) -> None:
    """See `StateStore.arrange`."""
    _check(db, relay, epoch)
    for table in ("checkpoints", "positions"):
        db.execute(f"DELETE FROM {table} WHERE relay = ?", (relay,))
    rules = json.dumps(coverage, separators=(",", ":"))
    db.execute("INSERT OR REPLACE INTO coverage VALUES (?, ?, ?, ?)", (relay, arrangement, epoch, rules))
    _write(db, relay, arrangement, checkpoints)


def remove(db: sqlite3.Connection, relay: str, epoch: int, stream: str) -> bool:
    """See `StateStore.remove_position`."""
    _check(db, relay, epoch)
    removed = 0
    for table in ("checkpoints", "positions"):
        removed += db.execute(f"DELETE FROM {table} WHERE relay = ? AND stream = ?", (relay, stream)).rowcount
    return removed > 0


def save(db: sqlite3.Connection, relay: str, epoch: int, arrangement: str, checkpoints: Sequence[Checkpoint]) -> bool:
    """See `StateStore._save`."""
    _check(db, relay, epoch)
    found = db.execute("SELECT arrangement FROM coverage WHERE relay = ?", (relay,)).fetchone()
    if found is None or found[0] != arrangement:
        return False
    _write(db, relay, arrangement, checkpoints)
    return True


def _write(db: sqlite3.Connection, relay: str, arrangement: str, checkpoints: Sequence[Checkpoint]) -> None:
    known = {column[1] for column in db.execute("PRAGMA table_info(positions)")}
    for each in checkpoints:
        row = {"relay": relay, "arrangement": arrangement, **_columns(each.fields())}
        for name in sorted(row.keys() - known):
            db.execute(f"ALTER TABLE positions ADD COLUMN {name}")
        known |= row.keys()
        values = ", ".join(f":{name}" for name in row)
        db.execute(f"INSERT OR REPLACE INTO positions ({', '.join(row)}) VALUES ({values})", row)


def _columns(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's fields as columns: those of types that SQLite lacks in its own way, the others as they are."""
    others = {name: value for name, value in fields.items() if name not in ("token", "time", "updated")}
    token, (t, i) = fields["token"], numbers(fields["time"])
    encoded = None if token is None else bson.encode(token)
    return {**others, "token": encoded, "time_t": t, "time_i": i, "updated": millis(fields["updated"])}


def _fields(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `_columns`."""
    token = columns["token"]
    decoded = None if token is None else bson.decode(token, OPTIONS)
    time = timestamp(columns["time_t"], columns["time_i"])
    return {**columns, "token": decoded, "time": time, "updated": instant(columns["updated"])}


def _check(db: sqlite3.Connection, relay: str, epoch: int) -> None:
    row = db.execute("SELECT epoch FROM relays WHERE relay = ?", (relay,)).fetchone()
    if row is not None and row[0] > epoch:
        raise superseded(relay, epoch, row[0])


def _read(
    db: sqlite3.Connection, of_fields: Callable[[Mapping[str, Any]], T], table: str, query: str, *values: str
) -> Iterator[T]:
    for columns in rows(db, query, *values):
        yield _understood(columns["stream"], partial(_decoded, of_fields, columns), table)


def _decoded(of_fields: Callable[[Mapping[str, Any]], T], columns: Mapping[str, Any]) -> T:
    return of_fields(_fields(columns))


def _understood(record: str, read: Callable[[], T], table: str) -> T:
    try:
        return read()
    except (bson.errors.BSONError, KeyError, TypeError, ValueError, OverflowError) as error:
        option = "--all" if table == "coverage" else f"--stream {quoted(record)}"
        raise DamagedState(
            f"the record {record!r} in table {table} is damaged: {error}. Restore it from a backup, or give up the "
            f"position: {command(f'checkpoints reset {option}')}"
        ) from error
