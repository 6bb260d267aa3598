"""The lease under `ha` for an SQLite file: for several processes on one host."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from mess.errors import StateError
from mess.state.file_lock import FileLock
from mess.state.ha_lease import HaLease, LeaseRecord, Wish, beats_of, fields_of, wish_of
from mess.state.instance import Instance
from mess.state.sqlite_lease import UNKNOWN, lock_of, packed, unpacked
from mess.state.sqlite_schema import instant, millis

T = TypeVar("T")

_READ = """
SELECT i.instance, i.since, l.count, l.lease, l.wish, l.locked FROM instances i
LEFT JOIN leases l ON l.relay = i.relay AND l.instance = i.instance WHERE i.relay = ?
"""
_RENEW = """
UPDATE leases SET count = count + 1, locked = ? WHERE relay = ? AND instance = ? AND count = ?
AND EXISTS (SELECT 1 FROM instances i WHERE i.relay = leases.relay AND i.instance = leases.instance)
"""
_WITHDRAW = "UPDATE leases SET wish = NULL WHERE relay = ? AND json_extract(wish, '$.id') = ?"


class SqliteHaLease(HaLease):
    """A row of the table `leases`, which counts as long as `instances` names the same process.

    The holder also takes the lock that a process without `ha` needs. A frozen process keeps that lock, so under `ha` it
    only proves that a process has ended. The file must have been opened before. It has a connection and a thread of
    its own, so that long work of the store does not delay a renewal. A call waits for a locked file for up to `timeout`
    seconds.
    """

    def __init__(self, path: Path, relay: str, timeout: float) -> None:
        super().__init__(relay)
        self._path = path
        self._timeout = timeout
        self._lock: FileLock = lock_of(path, relay)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mess-lease")
        self._connection: sqlite3.Connection | None = None

    async def read(self) -> LeaseRecord | None:
        return await self._ask("read who runs the relay", self._read, begin="BEGIN")

    async def claim(self, instance: Instance, seconds: float, replacing: LeaseRecord | None) -> bool:
        def claim(db: sqlite3.Connection) -> bool:
            before = self._read(db)
            if (before and before.stored) != (replacing and replacing.stored):
                return False
            locked = self._lock.acquire()
            if not locked and (replacing is None or replacing.ended):
                return False  # a process without `ha` has just started
            self._write(db, Wish(instance, seconds), locked=locked)
            return True

        return await self._ask("take the lease", claim, undo=self._lock.release)

    async def renew(self, instance: Instance, count: int) -> LeaseRecord | None:
        def renew(db: sqlite3.Connection) -> LeaseRecord | None:
            # Somebody may have deleted the lock file, or a frozen process may have had the lock until now.
            row = (self._lock.acquire(), self._relay, packed(instance), count)
            return self._read(db) if db.execute(_RENEW, row).rowcount else None

        return await self._ask("renew the lease", renew)

    async def ask_for_handover(self, wish: Wish, holder: LeaseRecord) -> None:
        row = (json.dumps(fields_of(wish)), self._relay, packed(holder.instance))
        update = "UPDATE leases SET wish = ? WHERE relay = ? AND instance = ?"
        await self._ask("ask for the lease", lambda db: db.execute(update, row).rowcount)

    async def release(self, instance: Instance, heir: Wish | None = None) -> None:
        def release(db: sqlite3.Connection) -> None:
            row = (self._relay, packed(instance))
            db.execute(_WITHDRAW, (self._relay, instance.id))
            db.execute("DELETE FROM leases WHERE relay = ? AND instance = ?", row)
            if db.execute("DELETE FROM instances WHERE relay = ? AND instance = ?", row).rowcount and heir is not None:
                self._write(db, heir, locked=False)

        try:
            await self._ask("release the lease", release)
        finally:
            self._lock.release()

    async def close(self) -> None:
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown(wait=False)

    def _write(self, db: sqlite3.Connection, holder: Wish, *, locked: bool) -> None:
        instance, now = packed(holder.instance), millis(datetime.now(timezone.utc))
        db.execute("INSERT OR REPLACE INTO instances VALUES (?, ?, ?)", (self._relay, instance, now))
        row = (self._relay, instance, holder.lease, locked)
        db.execute("INSERT OR REPLACE INTO leases (relay, instance, count, lease, locked) VALUES (?, ?, 0, ?, ?)", row)

    def _read(self, db: sqlite3.Connection) -> LeaseRecord | None:
        row = db.execute(_READ, (self._relay,)).fetchone()
        if row is None:
            return LeaseRecord(UNKNOWN, None, ended=False) if self._lock.is_held() else None
        text, since, count, lease, wish, locked = row
        if count is None:
            # A process without `ha` has the lock as long as it runs.
            return LeaseRecord(unpacked(text), (text, None), _instant(since), ended=not self._lock.is_held())
        stored = (text, count)
        count, lease = beats_of(count, lease)
        return LeaseRecord(
            unpacked(text),
            stored,
            _instant(since),
            count=count,
            lease=lease,
            wish=_unpacked_wish(wish),
            ended=True if locked and not self._lock.is_held() else None,
        )

    async def _ask(
        self,
        what: str,
        work: Callable[[sqlite3.Connection], T],
        *,
        begin: str = "BEGIN IMMEDIATE",
        undo: Callable[[], None] = lambda: None,
    ) -> T:
        def transaction() -> T:
            db = self._connection
            if db is None:
                db = self._connection = sqlite3.connect(
                    self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
                )
            try:
                with db:
                    db.execute(begin)
                    return work(db)
            except BaseException:
                undo()
                raise

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"cannot {what}: {os.fspath(self._path)}: {error}") from error


def _instant(since: int) -> datetime | None:
    try:
        return instant(since)
    except (OverflowError, TypeError):
        return None


def _unpacked_wish(text: str | None) -> Wish | None:
    try:
        return None if text is None else wish_of(json.loads(text))
    except ValueError:
        return None
