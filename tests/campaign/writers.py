"""Applications that write: several at a time, with every kind of change."""

from __future__ import annotations

import datetime
import random
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from bson import Binary, Decimal128, Int64, ObjectId, Timestamp
from pymongo import MongoClient, ReplaceOne, UpdateOne, WriteConcern
from pymongo.database import Database
from pymongo.errors import PyMongoError

Documents = dict[str, Any]

HUGE = "huge-"
"""What the mark of a document begins with whose change event is too large for MongoDB to hand out."""

_ODD_IDS: tuple[Any, ...] = (
    "text", "", "nul \0 and ünïcode", 1.5, float("nan"), float("-inf"), True, None, Int64(2**53 + 1),
    Decimal128("1.10"), Binary(b"\0\xff"),
    Binary.from_uuid(uuid.UUID(int=7)), Timestamp(1, 1), {"b": 1, "a": [1, {"c": None}]}, {},
    datetime.datetime(2020, 2, 29, tzinfo=datetime.timezone.utc), ObjectId("0123456789abcdef01234567"), "msg_x", "$x.y",
)  # fmt: skip


class Writer:
    """A thread that changes random documents until it is told to stop; what fails is let go.

    `spaces` are the databases and collections that it writes to; with `drops`, it drops and renames them at times.
    `acknowledged` are the marks of writes that a majority has for certain.
    """

    def __init__(
        self,
        url: str,
        spaces: list[tuple[str, str]],
        seed: str,
        *,
        pause: float,
        drops: bool = False,
        large: bool = False,
        keys: int = 30,
    ) -> None:
        self.acknowledged: set[str] = set()
        self.running = threading.Event()
        self.running.set()
        self._url = url
        self._spaces = spaces
        self._chance = random.Random(seed)
        self._name = f"w{seed}"
        self._pause = pause
        self._keys = keys
        self._count = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=self._name)
        choices: list[tuple[Callable[[MongoClient[Documents]], None], float]] = [
            (self._insert, 20),
            (self._update, 40),
            (self._replace, 10),
            (self._delete, 12),
            (self._bulk, 4),
            (self._transaction, 5),
            (self._odd, 8),
        ]
        if large:
            choices += [(self._large, 1), (self._huge, 0.1)]
        if drops:
            choices += [(self._drop, 0.5), (self._rename, 0.5), (self._drop_database, 0.12)]
        self._actions = [action for action, _ in choices]
        self._weights = [weight for _, weight in choices]

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self) -> None:
        """Write no more; returns when the last write has ended."""
        self._ending.set()
        self.running.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "a writer hangs"

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                with MongoClient[Documents](
                    self._url, serverSelectionTimeoutMS=2_000, socketTimeoutMS=10_000, w="majority", wTimeoutMS=10_000
                ) as client:
                    while not self._ending.is_set():
                        self.running.wait()
                        [action] = self._chance.choices(self._actions, self._weights)
                        try:
                            action(client)
                        except PyMongoError:
                            time.sleep(0.05)
                        self._ending.wait(self._pause * self._chance.uniform(0.2, 1.8))
            except PyMongoError:
                time.sleep(0.1)

    def _collection(self, client: MongoClient[Documents]) -> Any:
        db, coll = self._chance.choice(self._spaces)
        return client[db][coll]

    def _mark(self) -> str:
        self._count += 1
        return f"{self._name}-{self._count}"

    def _key(self) -> int:
        return self._chance.randrange(self._keys)

    def _done(self, mark: str, count: int | None = 1) -> None:
        if count:
            self.acknowledged.add(mark)

    def _insert(self, client: MongoClient[Documents]) -> None:
        mark = self._mark()
        self._collection(client).insert_one({"_id": self._key(), "w": mark, "n": 0})
        self._done(mark)

    def _update(self, client: MongoClient[Documents]) -> None:
        mark = self._mark()
        change: Documents = {"$set": {"w": mark}, "$inc": {"n": 1}}
        if self._chance.random() < 0.1:
            change["$unset"] = {"gone": 1}
        upsert = self._chance.random() < 0.5
        result = self._collection(client).update_one({"_id": self._key()}, change, upsert=upsert)
        self._done(mark, result.modified_count or result.upserted_id is not None)

    def _replace(self, client: MongoClient[Documents]) -> None:
        mark = self._mark()
        result = self._collection(client).replace_one({"_id": self._key()}, {"w": mark, "list": [1, {"x": None}]})
        self._done(mark, result.modified_count)

    def _delete(self, client: MongoClient[Documents]) -> None:
        self._collection(client).delete_one({"_id": self._key()})

    def _bulk(self, client: MongoClient[Documents]) -> None:
        writes: list[Any] = []
        for _ in range(self._chance.randrange(5, 60)):
            update = {"$set": {"w": self._mark()}}
            writes.append(UpdateOne({"_id": self._key()}, update, upsert=True))
            if self._chance.random() < 0.2:
                writes.append(ReplaceOne({"_id": self._key()}, {"w": self._mark()}))
        self._collection(client).bulk_write(writes, ordered=self._chance.random() < 0.5)

    def _transaction(self, client: MongoClient[Documents]) -> None:
        marks = []
        with client.start_session() as session:
            session.start_transaction(write_concern=WriteConcern("majority", wtimeout=10_000))
            for _ in range(self._chance.randrange(2, 12)):
                mark = self._mark()
                result = self._collection(client).update_one(
                    {"_id": self._key()}, {"$set": {"w": mark}}, upsert=True, session=session
                )
                assert result.acknowledged
                marks.append(mark)
            if self._chance.random() < 0.15:
                session.abort_transaction()
                return
            session.commit_transaction()
        self.acknowledged.update(marks)

    def _odd(self, client: MongoClient[Documents]) -> None:
        key, collection, mark = self._chance.choice(_ODD_IDS), self._collection(client), self._mark()
        if self._chance.random() < 0.3:
            collection.delete_one({"_id": key})
        elif self._chance.random() < 0.5:
            collection.replace_one({"_id": key}, {"w": mark, "odd": key}, upsert=True)
            self._done(mark)
        else:
            collection.update_one({"_id": key}, {"$set": {"w": mark}}, upsert=True)
            self._done(mark)

    def _large(self, client: MongoClient[Documents]) -> None:
        mark = self._mark()
        text = "x" * self._chance.choice((50_000, 300_000, 2_000_000))
        self._collection(client).replace_one({"_id": f"large-{self._key() % 3}"}, {"w": mark, "t": text}, upsert=True)
        self._done(mark)

    def _huge(self, client: MongoClient[Documents]) -> None:
        """As large as a document may be, and its change event larger."""
        mark = f"{HUGE}{self._mark()}"
        self._collection(client).insert_one({"_id": mark, "w": mark, "t": "x" * (16 * 1024 * 1024 - 200)})
        self._done(mark)

    def _drop(self, client: MongoClient[Documents]) -> None:
        self._collection(client).drop()

    def _rename(self, client: MongoClient[Documents]) -> None:
        database: Database[Documents] = self._collection(client).database
        names = [coll for db, coll in self._spaces if db == database.name]
        if len(names) > 1:
            old, new = self._chance.sample(names, 2)
            database[old].rename(new, dropTarget=self._chance.random() < 0.7)

    def _drop_database(self, client: MongoClient[Documents]) -> None:
        client.drop_database(self._collection(client).database.name)
