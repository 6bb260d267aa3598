"""State in a file, for relays that may not write to MongoDB."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from mess.errors import StateError
from mess.state import sqlite_backfills as backfills_table
from mess.state import sqlite_gaps as gaps_table
from mess.state import sqlite_letters as letters_table
from mess.state import sqlite_pauses as pauses_table
from mess.state import sqlite_positions as progress
from mess.state.backfills import Backfill, BackfillProgress
from mess.state.ha_lease import HaLease
from mess.state.lease import Lease
from mess.state.letters import pack
from mess.state.pauses import Pause, Target
from mess.state.sqlite_file import OpenFiles
from mess.state.sqlite_ha_lease import SqliteHaLease
from mess.state.sqlite_lease import SqliteLease
from mess.state.sqlite_schema import connect, remedy
from mess.state.store import EVERYTHING, Checkpoint, DeadLetter, Gap, Listed, Pointer, Positions, StateStore, Wanted

T = TypeVar("T")

_log = logging.getLogger("mess.state")


class SqliteStore(StateStore):
    """State in an SQLite file, with the same guarantees as `MongoStore`: WAL mode, and each write is on disk before it
    is reported.

    `path` is the file; its folder must exist. All work runs on one thread of the store. `retry_for` is how many seconds
    a write waits for another process, such as the command line, that locks the file.
    """

    def __init__(self, path: str | Path, relay: str, *, retry_for: float = 60.0) -> None:
        super().__init__(relay)
        self._path = Path(path)
        self._retry_for = retry_for
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._files: OpenFiles | None = None
        self._lease = SqliteLease(self._path, relay, self._read, self._write)

    @property
    def lease(self) -> Lease:
        return self._lease

    def ha_lease(self, timeout: float, database: Any = None) -> HaLease:
        return SqliteHaLease(self._path, self.relay, timeout)

    async def verify(self) -> None:
        await self._run(self._check_files)

    async def open(self, *, lasting: bool = True) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mess-state")
        created = not self._path.exists()
        try:
            self._connection = await self._run(self._connect if lasting else self._look)
        except BaseException:
            await self.close()
            raise
        if created and lasting:
            _log.warning("created a new state file %s; it contains no positions", self._path)

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self._path, self._retry_for)
        self._files = OpenFiles(self._path)
        return connection

    def _look(self) -> sqlite3.Connection:
        return connect(self._path, self._retry_for, lasting=False)

    async def take_over(self) -> int:
        self._epoch = await self._write(lambda db: progress.take_over(db, self.relay))
        return self._epoch

    async def epochs(self) -> tuple[int, int]:
        return await self._read(lambda db: progress.epochs(db, self.relay))

    async def positions(self) -> Positions:
        return await self._read(lambda db: progress.read(db, self.relay))

    async def remove_position(self, stream: str) -> bool:
        epoch = self.epoch
        return await self._write(lambda db: progress.remove(db, self.relay, epoch, stream))

    async def _arrange(self, arrangement: str, coverage: list[Any], checkpoints: Sequence[Checkpoint]) -> None:
        epoch = self.epoch
        await self._write(lambda db: progress.arrange(db, self.relay, epoch, arrangement, coverage, checkpoints))

    async def _save(
        self, arrangement: str, checkpoints: Sequence[Checkpoint], backfills: Mapping[str, BackfillProgress]
    ) -> bool:
        epoch = self.epoch

        def save(db: sqlite3.Connection) -> bool:
            saved = progress.save(db, self.relay, epoch, arrangement, checkpoints)
            if saved:
                backfills_table.save(db, self.relay, backfills)
            return saved

        return await self._write(save)

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        await self._write(lambda db: letters_table.add(db, self.relay, [pack(letter) for letter in letters]))

    async def page(self, wanted: Wanted, after: Listed | None, size: int) -> list[DeadLetter]:
        return await self._read(lambda db: letters_table.page(db, self.relay, wanted, after, size))

    async def dead_letter(self, id: str) -> DeadLetter | None:  # noqa: A002
        return await self._read(lambda db: letters_table.get(db, self.relay, id))

    async def pointers(self, wanted: Wanted = EVERYTHING) -> list[Pointer]:
        return await self._read(lambda db: letters_table.pointers(db, self.relay, wanted))

    async def dead_letter_places(self) -> dict[tuple[str, str], int]:
        return await self._read(lambda db: letters_table.places(db, self.relay))

    @classmethod
    def places_at_rest(cls, place: str, relay: str) -> dict[tuple[str, str], int]:
        return letters_table.places_in_file(Path(place), relay)

    async def replace_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        return await self._write(
            lambda db: letters_table.replace(db, self.relay, [(letter, pack(letter)) for letter in letters])
        )

    async def delete_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        return await self._write(lambda db: letters_table.delete_unchanged(db, self.relay, letters))

    async def delete_dead_letters(self, wanted: Wanted) -> int:
        return await self._write(lambda db: letters_table.delete(db, self.relay, wanted))

    async def count_dead_letters(self, wanted: Wanted = EVERYTHING) -> int:
        return await self._read(lambda db: letters_table.count(db, self.relay, wanted))

    async def prune(self, max_age: float | None, max_count: int | None) -> int:
        def prune(db: sqlite3.Connection) -> int:
            if max_age is not None:
                backfills_table.prune(db, self.relay, max_age)
            return letters_table.prune(db, self.relay, max_age, max_count)

        return await self._write(prune)

    async def _record_gaps(self, gaps: Sequence[Gap]) -> None:
        await self._write(lambda db: gaps_table.record(db, self.relay, gaps))

    async def _remove_gap(self, gap: Gap) -> None:
        await self._write(lambda db: gaps_table.remove(db, self.relay, gap))

    async def _read_gaps(self) -> list[Gap]:
        return await self._read(lambda db: gaps_table.read(db, self.relay))

    async def add_backfill(self, backfill: Backfill) -> bool:
        return await self._write(lambda db: backfills_table.add(db, self.relay, backfill))

    async def backfills(self, *, active: bool = False) -> list[Backfill]:
        return await self._read(lambda db: backfills_table.read(db, self.relay, active=active))

    async def want_backfill(self, id: str, wanted: str) -> Backfill | None:  # noqa: A002
        return await self._write(lambda db: backfills_table.want(db, self.relay, id, wanted))

    async def pauses(self) -> list[Pause]:
        return await self._read(lambda db: pauses_table.read(db, self.relay))

    async def pause(self, pause: Pause) -> None:
        await self._write(lambda db: pauses_table.add(db, self.relay, pause))

    async def resume(self, target: Target) -> bool:
        return await self._write(lambda db: pauses_table.remove(db, self.relay, target))

    async def close(self) -> None:
        if self._thread is None:
            return
        if self._connection is not None:
            await self._run(self._connection.close)
            self._connection = None
        self._thread.shutdown(wait=False)
        self._thread = None

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction(db: sqlite3.Connection) -> T:
            with db:
                db.execute(
                    "BEGIN IMMEDIATE"
                )  # waits for another writer here, rather than failing between two statements
                done = work(db)
            self._check_files()  # a write to a file that nobody will find is not stored
            return done

        return await self._read(transaction)

    def _check_files(self) -> None:
        if self._files is None or self._connection is None:
            return
        try:
            self._files.check()
        except StateError:
            # The write-ahead log belongs to the deleted file. If it stayed, it would be applied to the backup that
            # replaces that file, and destroy it (https://sqlite.org/howtocorrupt.html, 1.4).
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raise

    async def free_bytes(self) -> int | None:
        return shutil.disk_usage(self._path.parent).free

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        if connection is None:
            raise StateError("the state has not been opened")
        try:
            return await self._run(lambda: work(connection))
        except sqlite3.Error as error:
            raise StateError(f"cannot keep state in {self._path}: {error}{remedy(error, self._path)}") from error

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
