"""State in a file, for a relay that may not write to MongoDB."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import bson

from mess.errors import StateError
from mess.event import Position
from mess.state import sqlite_letters as letters_table
from mess.state.lease import Lease
from mess.state.letters import OPTIONS, pack
from mess.state.sqlite_file import OpenFiles
from mess.state.sqlite_lease import SqliteLease
from mess.state.sqlite_schema import connect, instant, millis, numbers, timestamp
from mess.state.store import EVERYTHING, MAX_GAPS, Checkpoint, DeadLetter, Gap, Pointer, StateStore, Wanted

T = TypeVar("T")


class SqliteStore(StateStore):
    """State in an SQLite file, with the promises of `MongoStore`: WAL, and each write on disk before it is reported.

    `path` is the file; its folder must be there. All work is done on one thread of the store's own. `patience` is for
    how many seconds a write waits for another process, such as the command line, that holds the file.
    """

    def __init__(self, path: str | Path, relay: str, *, patience: float = 60.0) -> None:
        super().__init__(relay)
        self._path = Path(path)
        self._patience = patience
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._files: OpenFiles | None = None
        self._lease = SqliteLease(self._path, relay, self._read, self._write)

    @property
    def lease(self) -> Lease:
        return self._lease

    async def verify(self) -> None:
        if self._files is not None:
            await self._run(self._files.check)

    async def open(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mess-state")
        try:
            self._connection = await self._run(self._connect)
        except BaseException:
            await self.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self._path, self._patience)
        self._files = OpenFiles(self._path)
        return connection

    async def take_over(self) -> int:
        def raise_epoch(db: sqlite3.Connection) -> int:
            row = db.execute(
                "INSERT INTO relays (relay, epoch) VALUES (?, 1) "
                "ON CONFLICT (relay) DO UPDATE SET epoch = epoch + 1 RETURNING epoch",
                (self.relay,),
            ).fetchone()
            return int(row[0])

        self._epoch = await self._write(raise_epoch)
        return self._epoch

    async def checkpoints(self) -> list[Checkpoint]:
        def read(db: sqlite3.Connection) -> list[Checkpoint]:
            query = "SELECT stream, plan, selection, token, time_t, time_i, updated FROM checkpoints WHERE relay = ?"
            return [
                Checkpoint(
                    stream,
                    plan,
                    json.loads(selection),
                    Position(None if token is None else bson.decode(token, OPTIONS), timestamp(t, i)),
                    instant(updated),
                )
                for stream, plan, selection, token, t, i, updated in db.execute(
                    f"{query} ORDER BY stream", (self.relay,)
                )
            ]

        return await self._read(read)

    async def save(self, checkpoints: Sequence[Checkpoint]) -> None:
        epoch = self.epoch
        rows = [
            (
                self.relay,
                each.stream,
                each.plan,
                json.dumps(each.selection),
                None if each.position.token is None else bson.encode(each.position.token),
                *numbers(each.position.time),
                millis(each.updated),
            )
            for each in checkpoints
        ]

        def write(db: sqlite3.Connection) -> None:
            self._check(db, epoch)
            db.executemany("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

        await self._write(write)

    async def _delete_checkpoint(self, stream: str) -> bool:
        epoch = self.epoch

        def delete(db: sqlite3.Connection) -> bool:
            self._check(db, epoch)
            query = "DELETE FROM checkpoints WHERE relay = ? AND stream = ?"
            return db.execute(query, (self.relay, stream)).rowcount > 0

        return await self._write(delete)

    def _check(self, db: sqlite3.Connection, epoch: int) -> None:
        row = db.execute("SELECT epoch FROM relays WHERE relay = ?", (self.relay,)).fetchone()
        if row is not None and row[0] > epoch:
            raise self._superseded(row[0])

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        await self._write(lambda db: letters_table.add(db, self.relay, [pack(letter) for letter in letters]))

    async def _page(self, wanted: Wanted, after: DeadLetter | None, size: int) -> list[DeadLetter]:
        return await self._read(lambda db: letters_table.page(db, self.relay, wanted, after, size))

    async def dead_letter(self, id: str) -> DeadLetter | None:  # noqa: A002
        return await self._read(lambda db: letters_table.get(db, self.relay, id))

    async def pointers(self, wanted: Wanted = EVERYTHING) -> list[Pointer]:
        return await self._read(lambda db: letters_table.pointers(db, self.relay, wanted))

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
        return await self._write(lambda db: letters_table.prune(db, self.relay, max_age, max_count))

    async def record_gap(self, gap: Gap) -> None:
        row = (self.relay, gap.stream, *numbers(gap.since), *numbers(gap.until), gap.reason, millis(gap.time))

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            newest = "SELECT rowid FROM gaps WHERE relay = ? ORDER BY rowid DESC LIMIT ?"
            db.execute(
                f"DELETE FROM gaps WHERE relay = ? AND rowid NOT IN ({newest})", (self.relay, self.relay, MAX_GAPS)
            )

        await self._write(write)

    async def gaps(self) -> list[Gap]:
        def read(db: sqlite3.Connection) -> list[Gap]:
            query = "SELECT stream, since_t, since_i, until_t, until_i, reason, time FROM gaps WHERE relay = ?"
            return [
                Gap(stream, timestamp(st, si), timestamp(ut, ui), reason, instant(time))
                for stream, st, si, ut, ui, reason, time in db.execute(f"{query} ORDER BY rowid", (self.relay,))
            ]

        return await self._read(read)

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
            if self._files is not None:
                self._files.check()  # what nobody will find again has not been stored
            return done

        return await self._read(transaction)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        if connection is None:
            raise StateError("the state has not been opened")
        try:
            return await self._run(lambda: work(connection))
        except sqlite3.Error as error:
            raise StateError(f"cannot keep state in {self._path}: {error}") from error

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
