"""Gaps in SQLite. All functions run on the store's thread; those that write run inside its transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from mess.state.records import Gap, damaged
from mess.state.sqlite_schema import instant, millis, numbers, rows, timestamp

_AS_THEY_ARE = ("stream", "reason", "kind", "pipeline", "step", "count", "first", "last")
_TIMES = ("since", "until", "resume")
_LISTS = ("namespaces", "unannounced")


def record(db: sqlite3.Connection, relay: str, gaps: Sequence[Gap]) -> None:
    """See `StateStore.record_gaps`."""
    for gap in gaps:
        row = {"relay": relay, "id": gap.id, **_columns(gap)}
        names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
        db.execute(f"INSERT OR REPLACE INTO gap_records ({names}) VALUES ({values})", row)


def remove(db: sqlite3.Connection, relay: str, gap: Gap) -> None:
    """See `StateStore.remove_gap`."""
    db.execute("DELETE FROM gap_records WHERE relay = ? AND id = ?", (relay, gap.id))


def read(db: sqlite3.Connection, relay: str) -> list[Gap]:
    """The gaps, oldest first."""
    old = "SELECT stream, since_t, since_i, until_t, until_i, reason, time FROM gaps WHERE relay = ?"
    found = [
        Gap(stream=stream, since=timestamp(st, si), until=timestamp(ut, ui), reason=reason, time=instant(time))
        for stream, st, si, ut, ui, reason, time in db.execute(old, (relay,)).fetchall()
    ]
    found += [_understood(relay, row) for row in rows(db, "SELECT * FROM gap_records WHERE relay = ?", relay)]
    return sorted(found, key=lambda gap: gap.time)


def _columns(gap: Gap) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(gap, name) for name in _AS_THEY_ARE}
    for name in _TIMES:
        row[f"{name}_t"], row[f"{name}_i"] = numbers(getattr(gap, name))
    for name in _LISTS:
        row[name] = json.dumps(getattr(gap, name))
    return {**row, "open": gap.open, "time": millis(gap.time)}


def _understood(relay: str, row: Mapping[str, Any]) -> Gap:
    try:
        fields: dict[str, Any] = {name: row[name] for name in (*_AS_THEY_ARE, "open")}
        fields |= {name: timestamp(row[f"{name}_t"], row[f"{name}_i"]) for name in _TIMES}
        fields |= {name: json.loads(row[name]) for name in _LISTS}
        return Gap.of_fields({**fields, "time": instant(row["time"])})
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        name = row["id"]
        removal = f"remove it: DELETE FROM gap_records WHERE relay = '{relay}' AND id = '{name}'"
        raise damaged(name, "table gap_records", error, removal) from error
