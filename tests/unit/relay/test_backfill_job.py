"""What ends a backfill, and what its user is told."""

from datetime import datetime, timezone
from typing import Any, cast

from bson import Timestamp

from mess.event import Event, Namespace
from mess.relay.backfill_job import BackfillJob
from mess.state.backfills import Backfill

ORDERS = Namespace("shop", "orders")
CREATED = datetime(2026, 11, 23, tzinfo=timezone.utc)


def after(operation: str, **fields: Any) -> str:
    """The reason for which a change of the collection has ended its backfill."""
    record = Backfill("bf_1", ORDERS, "operator", CREATED)
    job = BackfillJob(record, cast(Any, None), since=lambda: None, changed=lambda: None, count=lambda number: None)
    time = Timestamp(int(CREATED.timestamp()) + 1, 1)
    job.passed(Event({"operationType": operation, "clusterTime": time, **fields}, ORDERS, id="msg_1"))
    assert job.progress.state == "cancelled"
    return job.progress.reason or ""


def test_a_renamed_collections_documents_are_still_to_be_sent_under_its_new_name() -> None:
    """They are not in the stream."""
    reason = after("rename", to={"db": "shop", "coll": "archive"})
    assert "renamed to shop.archive" in reason
    assert "`mess backfill start shop.archive" in reason


def test_a_dropped_collection_has_none() -> None:
    reason = after("drop")
    assert "dropped" in reason
    assert "mess backfill" not in reason
