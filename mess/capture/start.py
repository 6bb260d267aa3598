"""Cluster times from MongoDB: now, and the oldest one."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any, Literal, TypeVar

from bson import Timestamp
from pymongo.errors import PyMongoError

from mess.capture.client import explain
from mess.errors import SourceError

T = TypeVar("T")


async def time_latest(client: Any) -> Timestamp:
    """The cluster time of the latest change so far."""
    reply = await client.get_database("admin").command("ping")
    time = reply.get("operationTime")
    if not isinstance(time, Timestamp):
        raise SourceError("MongoDB does not report its cluster time; a change stream cannot begin at `now`")
    return time


async def time_now(client: Any) -> Timestamp:
    """A tick after everything that has been committed so far."""
    latest = await time_latest(client)
    return Timestamp(latest.time, latest.inc + 1)


async def time_oldest(client: Any) -> Timestamp:
    """The cluster time of the oldest change in the oplog. Needs read access to the `local` database; not available from
    a mongos."""
    first = (
        await client.get_database("local").get_collection("oplog.rs").find_one({}, {"ts": 1}, sort=[("$natural", 1)])
    )
    if first is None:
        raise SourceError("`start: oldest` needs a replica set's oplog, and there is none here; set a time instead")
    oldest: Timestamp = first["ts"]
    return oldest


def describe_start(config: Any) -> str:
    """Where streams without a position begin, in words."""
    return config.start if isinstance(config.start, str) else config.start.isoformat()


async def fresh_time(client: Any, start: Literal["now", "oldest"] | datetime) -> Timestamp:
    """Where a stream without a checkpoint begins, according to the config's `start`.

    Raises SourceUnavailable if MongoDB does not answer, NotPermitted if the user may not read it.
    """
    if isinstance(start, datetime):
        return Timestamp(int(start.timestamp()), 1)
    return await explained(time_now(client) if start == "now" else time_oldest(client))


async def explained(answer: Awaitable[T]) -> T:
    """MongoDB's answer. Raises a SourceError for the driver's errors."""
    try:
        return await answer
    except PyMongoError as error:
        raise explain(error) from error
