"""Opens the SQLite file, and defines its schema."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bson import Timestamp

from mess.errors import StateError
from mess.files import PRIVATE, make_private

VERSION = 2
"""The version of the file's layout. A file of MESS 0.1, which has version 1, is upgraded when a relay takes it over."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_SCHEMA = """
CREATE TABLE relays (relay TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE checkpoints (
    relay TEXT NOT NULL, stream TEXT NOT NULL, plan TEXT NOT NULL, selection TEXT NOT NULL,
    token BLOB, time_t INTEGER, time_i INTEGER, updated INTEGER NOT NULL,
    PRIMARY KEY (relay, stream)
) WITHOUT ROWID;
CREATE TABLE dead_letters (
    relay TEXT NOT NULL, id TEXT NOT NULL, pipeline TEXT NOT NULL, step TEXT NOT NULL, db TEXT NOT NULL,
    coll TEXT NOT NULL, operation TEXT NOT NULL, key BLOB, reason TEXT NOT NULL, error TEXT NOT NULL,
    attempts INTEGER NOT NULL, time INTEGER NOT NULL, data BLOB NOT NULL, place TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (relay, id)
);
CREATE INDEX dead_letters_by_time ON dead_letters (relay, time, id);
CREATE TABLE gaps (
    relay TEXT NOT NULL, stream TEXT NOT NULL, since_t INTEGER, since_i INTEGER, until_t INTEGER, until_i INTEGER,
    reason TEXT NOT NULL, time INTEGER NOT NULL
);
"""
# The version stays the same, since an earlier MESS can use the file as well.
_INSTANCES = """
CREATE TABLE IF NOT EXISTS instances (relay TEXT PRIMARY KEY, instance TEXT NOT NULL, since INTEGER NOT NULL)
"""

# These exist beside those of version 1, which keeps using its file until a newer relay takes it over.
_ADDED = """
CREATE TABLE IF NOT EXISTS coverage (
    relay TEXT PRIMARY KEY, arrangement TEXT NOT NULL, epoch INTEGER NOT NULL, rules TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions (
    relay TEXT NOT NULL, stream TEXT NOT NULL, plan TEXT NOT NULL, token BLOB, time_t INTEGER, time_i INTEGER,
    updated INTEGER NOT NULL, arrangement TEXT NOT NULL, PRIMARY KEY (relay, stream)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gap_records (
    relay TEXT NOT NULL, id TEXT NOT NULL, stream TEXT NOT NULL, since_t INTEGER, since_i INTEGER, until_t INTEGER,
    until_i INTEGER, resume_t INTEGER, resume_i INTEGER, reason TEXT NOT NULL, namespaces TEXT NOT NULL,
    open INTEGER NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (relay, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS backfills (
    relay TEXT NOT NULL, id TEXT NOT NULL, db TEXT NOT NULL, coll TEXT NOT NULL, origin TEXT NOT NULL,
    created INTEGER NOT NULL, "match" TEXT, step TEXT, pipeline TEXT, rate REAL, wanted TEXT NOT NULL,
    state TEXT NOT NULL, reason TEXT, last BLOB, documents INTEGER NOT NULL, estimated INTEGER, started INTEGER,
    updated INTEGER, ended INTEGER, PRIMARY KEY (relay, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (
    relay TEXT PRIMARY KEY, instance TEXT NOT NULL, count INTEGER NOT NULL, lease REAL NOT NULL,
    locked INTEGER NOT NULL, wish TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pauses (
    relay TEXT NOT NULL, id TEXT NOT NULL, stream TEXT, pipeline TEXT, step TEXT, since INTEGER NOT NULL,
    "by" TEXT NOT NULL, reason TEXT, PRIMARY KEY (relay, id)
) WITHOUT ROWID;
"""

_GAP_COLUMNS = {
    "kind": "TEXT NOT NULL DEFAULT 'history_lost'",
    "pipeline": "TEXT",
    "step": "TEXT",
    "count": "INTEGER",
    "first": "TEXT",
    "last": "TEXT",
    "unannounced": "TEXT NOT NULL DEFAULT '[]'",
}


def connect(path: Path, retry_for: float, *, lasting: bool = True) -> sqlite3.Connection:
    """Open the file, creating it and its tables if necessary.

    Without `lasting`, the file does not change: what is missing exists only for this connection, inside a transaction
    that is rolled back when the connection is closed. It blocks other writers; close it soon.

    Raises StateError, with the remedy, if the file cannot be created, written or read.
    """
    if not path.parent.is_dir():
        raise StateError(f"state.url: the folder {path.parent} of {path.name} does not exist; create it")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise StateError(
            f"state.url: {path} cannot be written; give the relay's user permission to write it, or choose another file"
        )
    try:
        real = path.resolve()  # SQLite puts its other files beside the target of a link
        if lasting:
            _create_private(real)
        # Used by one thread, but a test or a shutdown may close it from another one.
        place = path if lasting or path.exists() else ":memory:"
        db = sqlite3.connect(place, timeout=retry_for, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise StateError(f"state.url: {path} cannot be opened: {error}") from error
    try:
        if lasting:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
        db.create_function("glob_matches", 2, fnmatchcase, deterministic=True)
        db.create_function("casefold", 1, str.casefold, deterministic=True)
        db.execute("BEGIN IMMEDIATE")  # also checks, at startup, that the file can be written
        _prepare(db, path)
        if lasting:
            db.execute("COMMIT")
            for suffix in ("", "-wal", "-shm"):
                make_private(Path(f"{real}{suffix}"))
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error):
            hint = remedy(error, path) or "; make sure that it is the relay's file, or choose another one"
            raise StateError(f"state.url: {path} cannot be used: {error}{hint}") from error
        raise
    return db


def remedy(error: sqlite3.Error, path: Path) -> str:
    """How to fix an error, as the end of its message; empty if there is nothing to suggest."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_CORRUPT:
        return (
            f". Restore a backup: stop every process that uses the file, delete {path}-wal and {path}-shm, which do "
            f"not belong to the backup and would damage it, and put it in the place of {path}"
        )
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return ". Free space on its disk"
    return ""


def _create_private(path: Path) -> None:
    """Create the file if it does not exist, so that only its owner can ever read it. SQLite gives the files beside it
    the same mode."""
    # Not for an existing file: closing a descriptor of it would drop the locks that SQLite has for this process.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE))


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise StateError(f"state.url: {path} was written by a newer MESS (schema {version}); use that, or another file")
    if version == 0:
        for statement in _SCHEMA.split(";\n"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
    for statement in _ADDED.split(";\n"):
        db.execute(statement)
    db.execute(_INSTANCES)
    # The version stays the same, since an earlier MESS can read the file as well.
    _add_columns(db, "dead_letters", {"place": "TEXT NOT NULL DEFAULT ''"})
    _add_columns(db, "gap_records", _GAP_COLUMNS)


def _add_columns(db: sqlite3.Connection, table: str, columns: Mapping[str, str]) -> None:
    known = {column[1] for column in db.execute(f"PRAGMA table_info({table})")}
    for name, kind in columns.items():
        if name not in known:
            db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")


def rows(db: sqlite3.Connection, query: str, *values: Any) -> list[dict[str, Any]]:
    """The rows that a query finds, by column. Reads all of them at once: while rows are left, as when one is damaged,
    SQLite refuses this connection's writes as soon as another one has written."""
    with contextlib.closing(db.execute(query, values)) as found:
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]


def millis(time: datetime) -> int:
    """Milliseconds since 1970; a naive time is taken as UTC."""
    aware = time if time.tzinfo else time.replace(tzinfo=timezone.utc)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def instant(milliseconds: int) -> datetime:
    """The inverse of `millis`."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def numbers(time: Timestamp | None) -> tuple[int | None, int | None]:
    """A cluster time as two columns."""
    return (None, None) if time is None else (time.time, time.inc)


def timestamp(t: int | None, i: int | None) -> Timestamp | None:
    """The inverse of `numbers`."""
    return None if t is None or i is None else Timestamp(t, i)
