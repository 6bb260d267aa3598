"""Writes that can be checked for order, and the record of what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient, UpdateOne, WriteConcern
from pymongo.errors import ConnectionFailure, OperationFailure

from tests.checker.committed import CommittedChanges
from tests.checker.verdict import Arrival, judge, must_all_arrive
from tests.receiver import Answer, Request


class Load:
    """A thread that counts `documents` documents up from 0, all by one in each round, until it is told to finish.

    A write counts when a majority has it. A round that fails is written again, which changes nothing where it had been
    carried out: so each document has exactly one change for each count. `pause` is waited after each round.
    """

    def __init__(self, url: str, database: str, *, documents: int, pause: float) -> None:
        self.documents = documents
        self.rounds = 0
        self.failures = 0
        self._error: BaseException | None = None
        self._database = database
        self._pause = pause
        self._url = url
        self._committed = CommittedChanges(url, [database])
        self._finish = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def total(self) -> int:
        """How many changes have been written so far."""
        return self.documents * self.rounds

    @property
    def running(self) -> bool:
        """Whether it still writes. Raises what it failed on."""
        if self._error is not None:
            raise self._error
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to write."""
        self._committed.open()
        self._thread.start()

    def finish(self) -> None:
        """Write this round to its end, and no more."""
        self._finish.set()

    def check(self, arrivals: Sequence[Arrival], dead_letters: Collection[str] = ()) -> None:
        """Of a load that has ended: every change arrived or is among the dead letters (ids), under the id that its
        resume token gives it, and each document's changes arrived in order.

        Raises AssertionError.
        """
        assert not self.running
        changes = [change for change in self._committed.changes if change.db == self._database]
        written = [(key, count) for count in range(self.rounds) for key in range(self.documents)]
        assert sorted((change.mark, change.document_id) for change in changes) == sorted(
            (count, key) for key, count in written
        ), "the checker and the load disagree about what was committed"
        judge(changes, must_all_arrive(changes), {"": arrivals}, dead_letters=dead_letters).check()

    def _run(self) -> None:
        try:
            try:
                with MongoClient[dict[str, Any]](self._url, serverSelectionTimeoutMS=30_000) as client:
                    self._write(client)
                self._committed.catch_up()
            finally:
                self._committed.close()
        except BaseException as error:
            self._error = error

    def _write(self, client: MongoClient[dict[str, Any]]) -> None:
        collection = client[self._database].get_collection("counters", write_concern=WriteConcern("majority"))
        while not self._finish.is_set():
            update = {"$set": {"n": self.rounds}}
            writes = [UpdateOne({"_id": key}, update, upsert=True) for key in range(self.documents)]
            while True:
                try:
                    collection.bulk_write(writes)
                except (ConnectionFailure, OperationFailure):
                    self.failures += 1
                    time.sleep(0.05)
                else:
                    break
            self.rounds += 1
            self._finish.wait(self._pause)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of one accepted request. `token` sorts as the stream does."""

    key: Any
    count: int
    id: str
    token: str
    time: float


class Ledger:
    """A receiver's `respond` that accepts everything and writes it down."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer or Answer()
        self.entries: list[Entry] = []
        self.arrivals: list[Arrival] = []
        self.changes: set[tuple[Any, int]] = set()

    def __call__(self, request: Request) -> Answer:
        answer = self.decide(request)
        if 200 <= answer.status < 300 and not answer.hang and answer.close in (None, "after"):
            self.note(request)
        return answer

    def decide(self, request: Request) -> Answer:
        """What a request gets."""
        return self.answer

    def note(self, request: Request) -> None:
        """Write a request's events down."""
        for event in request.events:
            body = event.body
            update = body["operationType"] == "update"
            count = body["updateDescription"]["updatedFields"]["n"] if update else body["fullDocument"]["n"]
            key = body["documentKey"]["_id"]
            self.entries.append(Entry(key, count, event.id, body["_id"]["_data"], request.time))
            self.arrivals.append(Arrival.of(event.id, body))
            self.changes.add((key, count))

    def complete(self, load: Load) -> bool:
        """Whether the load has ended and every change of it is here."""
        return not load.running and len(self.changes) >= load.total

    def check(self, load: Load, dead_letters: Collection[str] = ()) -> None:
        """See `Load.check`."""
        load.check(self.arrivals, dead_letters)

    @property
    def duplicates(self) -> int:
        """How many deliveries were not the first of their event."""
        return len(self.entries) - len(self.changes)


def in_order(entries: list[Entry]) -> bool:
    """Whether each document's deliveries, duplicates included, came strictly in order."""
    last: dict[Any, int] = {}
    for entry in entries:
        if last.get(entry.key, -1) >= entry.count:
            return False
        last[entry.key] = entry.count
    return True
