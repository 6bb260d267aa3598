"""Events, steps and stores for the tests of narrow parts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from bson import ObjectId, Timestamp

from mess.capture.existing_documents import ReadEvent
from mess.event import Event, Namespace
from mess.ids import hashed_id
from mess.relay.dispatch import ordering_key
from mess.state.store import DeadLetter, Gap
from mess.steps.base import Sink

ORDERS = Namespace("shop", "orders")


def make_event(
    number: int = 0,
    *,
    key: Any = None,
    namespace: Namespace = ORDERS,
    operation: str = "insert",
    size: int = 100,
    **more: Any,
) -> Event:
    """A change event as MongoDB would send it, the `number`-th of its stream."""
    document_key = {"_id": ObjectId(f"{number:024x}") if key is None else key}
    change: dict[str, Any] = {
        "_id": {"_data": f"82{1_700_000_000 + number:08X}{1:08X}AA"},
        "operationType": operation,
        "clusterTime": Timestamp(1_700_000_000 + number, 1),
        "ns": {"db": namespace.db, "coll": namespace.coll},
        **more,
    }
    if operation in ("insert", "update", "replace", "delete"):
        change["documentKey"] = document_key
        change["fullDocument"] = {**document_key, "n": number}
    event = Event(change, namespace, size)
    event.ordering_key = ordering_key(event, "document")
    return event


def make_read(
    number: int = 0, *, backfill: str = "bf_1", only: str | None = None, namespace: Namespace = ORDERS
) -> ReadEvent:
    """An existing document, as a backfill reads it at the time of the `number`-th change."""
    document = {"_id": ObjectId(f"{number:024x}"), "n": number}
    time = 1_700_000_000 + number
    change = {
        "operationType": "read",
        "clusterTime": Timestamp(time, 7),
        "wallTime": datetime.fromtimestamp(time, timezone.utc).replace(tzinfo=None),
        "fullDocument": document,
        "ns": {"db": namespace.db, "coll": namespace.coll},
        "documentKey": {"_id": document["_id"]},
    }
    event = ReadEvent(change, namespace, 100, id=hashed_id(f"{backfill} {number}"))
    event.backfill, event.only = backfill, only
    event.ordering_key = ordering_key(event, "document")
    return event


def make_events(count: int, *, first: int = 0, **more: Any) -> list[Event]:
    """Events in stream order, each of a document of its own."""
    return [make_event(number, **more) for number in range(first, first + count)]


class Recorder(Sink):
    """A sink that keeps what it is given, and fails as `failures` say: each is raised once, in order."""

    def __init__(self, *failures: Exception, max_events: int = 500) -> None:
        self.max_events = max_events
        self.failures = list(failures)
        self.calls: list[list[Event]] = []
        self.delivered: list[Event] = []

    async def deliver(self, events: Sequence[Event]) -> None:
        self.calls.append(list(events))
        if self.failures:
            raise self.failures.pop(0)
        self.delivered.extend(events)


class Letters:
    """Stands in for the store: a `Keeper`."""

    def __init__(self) -> None:
        self.kept: list[DeadLetter] = []
        self.gaps: list[Gap] = []
        self.closed_gaps: set[str] = set()

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        self.kept.extend(letters)

    @property
    def known_gaps(self) -> list[Gap]:
        return self.gaps

    def defer_gap(self, gap: Gap) -> None:
        self.gaps.append(gap)

    async def record_gap(self, gap: Gap) -> None:
        self.gaps.append(gap)
