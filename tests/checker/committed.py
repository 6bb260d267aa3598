"""What MongoDB committed, read from a change stream of the checker's own."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import bson
from bson import Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError

FENCES = "checker-fences"
"""The database that fences are written to. It is recorded like any other, since a relay may watch it."""

# The large parts of an event stay on the server; `n` and `w` tell the writes of one document apart.
_FIELDS = [
    "_id", "operationType", "clusterTime", "ns", "to", "documentKey", "fullDocument.n", "fullDocument.w",
    "updateDescription.updatedFields.n", "updateDescription.updatedFields.w",
]  # fmt: skip
_WAIT_MS = 200
_SECONDS = 60.0


def id_of(token: str) -> str:
    """The id that the change with this resume token (its `_data`) is promised to have."""
    return "msg_" + base64.b32encode(hashlib.sha256(token.encode()).digest()).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change. `number` counts them in commit order.

    `key` is the document's `_id` as BSON, None for events of a collection or database; `to` is a rename's new
    namespace; `mark` is the value of the field `w` (else `n`) that was written, None for other writes.
    """

    number: int
    id: str
    token: str
    time: Timestamp
    operation: str
    db: str
    coll: str
    key: bytes | None
    to: tuple[str, str] | None
    mark: Any

    @property
    def document_id(self) -> Any:
        """The document's `_id`; None for events of a collection or database."""
        return None if self.key is None else bson.decode(self.key)["_id"]

    def __str__(self) -> str:
        name = f"{self.db}.{self.coll}" if self.coll else self.db
        what = "" if self.key is None else f" _id={_short(self.document_id)}"
        mark = "" if self.mark is None else f" mark={self.mark}"
        return f"{self.operation} {name}{what}{mark} at {self.time.time}.{self.time.inc} ({self.id[:16]}…)"


class CommittedChanges:
    """Records every change that MongoDB commits while it is open, in commit order.

    Reads one change stream over the whole deployment in a thread, with plain PyMongo, from the moment of `open` on;
    whatever happens to the servers, it goes on behind the last change that it has. `databases` limits it to these (and
    the fences), where many tests share a deployment. Used as `with`.
    """

    def __init__(self, url: str, databases: Sequence[str] | None = None) -> None:
        self.changes: list[Change] = []
        self._databases = databases
        self._client = MongoClient[RawBSONDocument](
            url, document_class=RawBSONDocument, serverSelectionTimeoutMS=5_000, appname="checker"
        )
        self._seen: set[str] = set()
        self._token: Mapping[str, Any] | None = None
        self._since: Timestamp | None = None
        self._fences: set[str] = set()
        self._ending = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="checker")

    def open(self) -> None:
        """Begin to record: whatever is committed after this call."""
        now = self.time()
        self._since = Timestamp(now.time, now.inc + 1)
        self._thread.start()

    def close(self) -> None:
        """Record no longer. Raises what ended the recording before."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(_SECONDS)
        self._client.close()
        if self._failure is not None:
            raise self._failure

    def time(self) -> Timestamp:
        """MongoDB's cluster time: not before anything that has been acknowledged."""
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                found: Timestamp = self._client.admin.command("ping")["operationTime"]
            except PyMongoError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return found

    def catch_up(self) -> Timestamp:
        """Return when everything that is committed by now has been recorded; the cluster time of that moment.

        Raises AssertionError when that takes more than a minute.
        """
        mark = uuid.uuid4().hex
        fences = self._client[FENCES].get_collection("fences", write_concern=WriteConcern("majority"))
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                # Repeated until a majority has it, which changes nothing where it was carried out before.
                fences.update_one({"_id": mark}, {"$set": {"w": mark}}, upsert=True)
                break
            except PyMongoError:
                assert time.monotonic() < deadline, "the checker cannot write to MongoDB"
                time.sleep(0.05)
        while mark not in self._fences:
            if self._failure is not None:
                raise self._failure
            assert time.monotonic() < deadline, "the checker's own change stream does not get through"
            time.sleep(0.02)
        return next(change.time for change in reversed(self.changes) if change.mark == mark)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        failures = 0
        while not self._ending.is_set():
            try:
                self._read()
                failures = 0
            except PyMongoError as error:
                failures += 1
                if failures > 200:
                    self._failure = error
                    return
                time.sleep(0.1)
            except BaseException as error:
                self._failure = error
                return

    def _read(self) -> None:
        stages: list[dict[str, Any]] = [{"$project": dict.fromkeys(_FIELDS, 1)}]
        if self._databases is not None:
            stages.insert(0, {"$match": {"ns.db": {"$in": [*self._databases, FENCES]}}})
        start: dict[str, Any] = (
            {"start_at_operation_time": self._since} if self._token is None else {"start_after": self._token}
        )
        with self._client.watch(stages, max_await_time_ms=_WAIT_MS, **start) as stream:
            while not self._ending.is_set():
                event = stream.try_next()
                if event is not None:
                    self._record(event)
                if stream.resume_token is not None:
                    self._token = stream.resume_token

    def _record(self, event: Mapping[str, Any]) -> None:
        token = event["_id"]["_data"]
        # The driver may have resumed by time, which begins with changes that are recorded already.
        if token in self._seen:
            return
        self._seen.add(token)
        space, to, key = event.get("ns") or {}, event.get("to"), event.get("documentKey")
        self.changes.append(
            Change(
                number=len(self.changes),
                id=id_of(token),
                token=token,
                time=event["clusterTime"],
                operation=event["operationType"],
                db=space.get("db", ""),
                coll=space.get("coll", ""),
                key=None if key is None else bson.encode({"_id": key["_id"]}),
                to=None if to is None else (to["db"], to["coll"]),
                mark=_mark(event),
            )
        )
        if space.get("db") == FENCES:
            self._fences.add(self.changes[-1].mark)


def _mark(event: Mapping[str, Any]) -> Any:
    written = event.get("fullDocument") or (event.get("updateDescription") or {}).get("updatedFields") or {}
    return written.get("w", written.get("n"))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
