"""The lease for an SQLite file: a lock on a file beside it, and a record of its holder."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol, TypeVar

from mess.errors import StateError
from mess.state.file_lock import FileLock
from mess.state.ha_lease import instance_of
from mess.state.instance import Instance
from mess.state.lease import OBSERVED_SECONDS, Lease, Presence
from mess.state.sqlite_schema import instant, millis

T = TypeVar("T")

UNKNOWN = Instance(id="unknown", host="unknown", pid=0)
"""Somebody whose record is missing or damaged."""
_TRIES, _PAUSE = 3, 0.05


class Access(Protocol):
    """Runs work on the database."""

    async def __call__(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return the work's result. Raises StateError."""


class SqliteLease(Lease):
    """The lock is on `<the database>.<relay>.lock`, so that relays can share a database. Only the lock counts; the
    record in the table `instances` is only for display."""

    def __init__(self, path: Path, relay: str, read: Access, write: Access) -> None:
        super().__init__(relay)
        self._lock = lock_of(path, relay)
        self._read = read
        self._write = write

    async def alive(self) -> Presence | None:
        return await self._recorded() if await self._locked(self._lock.is_held) else None

    async def acquire(
        self, instance: Instance, *, force: bool = False, observe: float = OBSERVED_SECONDS
    ) -> Presence | None:
        for attempt in range(_TRIES):
            if await self._locked(self._lock.acquire) or force:
                await self._record(instance)
                return None
            # `mess check` and others briefly hold the lock when they look.
            if attempt < _TRIES - 1:
                await asyncio.sleep(_PAUSE)
        return await self._recorded()

    async def renew(self, instance: Instance) -> None:
        recorded = await self._recorded()
        if recorded.instance is UNKNOWN:
            await self._record(instance)
        elif recorded.instance.id != instance.id:
            raise self._superseded(recorded)
        # A process that was forced out releases it eventually; and somebody may have deleted the lock file.
        await self._locked(self._lock.acquire)

    async def release(self, instance: Instance) -> None:
        row = (self._relay, packed(instance))
        try:
            await self._write(
                lambda db: db.execute("DELETE FROM instances WHERE relay = ? AND instance = ?", row).rowcount
            )
        finally:
            self._lock.release()

    async def _record(self, instance: Instance) -> None:
        row = (self._relay, packed(instance), millis(datetime.now(timezone.utc)))
        await self._write(lambda db: db.execute("INSERT OR REPLACE INTO instances VALUES (?, ?, ?)", row).rowcount)

    async def _recorded(self) -> Presence:
        query = "SELECT instance, since FROM instances WHERE relay = ?"
        row = await self._read(lambda db: db.execute(query, (self._relay,)).fetchone())
        return Presence(UNKNOWN) if row is None else Presence(unpacked(row[0]), instant(row[1]))

    async def _locked(self, ask: Callable[[], bool]) -> bool:
        try:
            return await self._read(lambda _: ask())
        except PermissionError as error:
            raise StateError(
                f"state.url: {error.filename} may not be written; give the relay's user the right to"
            ) from error
        except OSError as error:
            raise StateError(
                f"state.url: the file system cannot lock {error.filename or 'the state'}: {error.strerror}. "
                "Keep the state on a local disk"
            ) from error


def lock_of(path: Path, relay: str) -> FileLock:
    """The lock of the process that runs a relay."""
    return FileLock(Path(f"{os.path.realpath(path)}.{relay}.lock"))


def packed(instance: Instance) -> str:
    """An instance as text; the same one always gives the same text."""
    return json.dumps(asdict(instance))


def unpacked(text: str) -> Instance:
    """The inverse of `packed`; UNKNOWN for what a newer MESS wrote, or somebody by hand."""
    try:
        return instance_of(asdict(Instance(**json.loads(text))))
    except (TypeError, ValueError):
        return UNKNOWN
