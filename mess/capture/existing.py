"""Facts about collections that exist: what of them can be sent, and how much that is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from mess.capture.client import explain
from mess.capture.match import NEVER_WATCHED
from mess.config.model import Config
from mess.config.scope import is_glob, resolve
from mess.event import Namespace

_SNAPSHOT_READS = 13
"""The wire version of MongoDB 5.0, the first that can read a collection as it was at a time."""
_UNAUTHORIZED = 13
_SYSTEM = "system."


@dataclass(frozen=True, slots=True)
class Facts:
    """What MongoDB says about an existing collection.

    `kind` is collection, view or timeseries. `documents` is their estimated number and `average` their average size in
    bytes; both are None if unknown, as for a view, or without the privilege. `wire_version` is the server's, and `time`
    its clock when it was asked.
    """

    namespace: Namespace
    kind: str
    capped: bool
    clustered: bool
    documents: int | None
    average: int | None
    wire_version: int
    time: datetime


def why_not(facts: Facts) -> str | None:
    """Why the documents of a collection cannot be sent, and what to do instead; None if they can."""
    name = facts.namespace
    if facts.wire_version < _SNAPSHOT_READS:
        return f"{name} cannot be sent: this MongoDB is older than 5.0, the first with snapshot reads. Upgrade it"
    if name.coll.startswith(_SYSTEM):
        return f"{name} is a collection of MongoDB's own, which cannot be watched. Name one of yours"
    if facts.kind == "view":
        return f"{name} is a view, which cannot be watched. Name the collection that it reads"
    if facts.kind == "timeseries":
        return f"{name} is a time series collection, which cannot be watched. {_copied(name)}"
    if facts.capped:
        return f"{name} is capped: snapshot reads are refused by MongoDB. {_copied(name)}"
    return None


def _copied(name: Namespace) -> str:
    return f"Copy its documents with $out into a plain collection that the config watches, such as {name}_copy"


def _any(namespace: Namespace) -> bool:
    return True


async def matching(client: Any, config: Config, pattern: str, only: Callable[[Namespace], bool] = _any) -> list[Facts]:
    """The existing collections that the config watches and that match `database.collection`, names or globs. `only`
    selects some of them: the facts of each take two requests.

    Sorted by name. A `system.` collection has to be named. Raises SourceError; LacksPrivilege if they may not be
    listed.
    """
    db, _, coll = pattern.partition(".")
    try:
        hello = await client.get_database("admin").command("hello")
        found = [
            await _facts(client, Namespace(name, info["name"]), info, hello)
            for name in await _databases(client, config, db)
            async for info in _collections(client, name, coll)
            if resolve(config, name, info["name"]) is not None and only(Namespace(name, info["name"]))
        ]
    except PyMongoError as error:
        raise explain(error) from error
    return sorted(found, key=lambda facts: facts.namespace)


async def _databases(client: Any, config: Config, pattern: str) -> list[str]:
    # As in a stream over globs, the relay's own state is never watched.
    unwatched = {*NEVER_WATCHED, config.state.database} - config.databases.keys()
    names = [pattern]
    if is_glob(pattern):
        reply = await client.get_database("admin").command({"listDatabases": 1, "nameOnly": True})
        names = [each["name"] for each in reply["databases"] if fnmatchcase(each["name"], pattern)]
    return [name for name in names if name not in unwatched]


async def _collections(client: Any, db: str, pattern: str) -> AsyncIterator[Mapping[str, Any]]:
    query = {} if is_glob(pattern) else {"name": pattern}
    async for info in await client.get_database(db).list_collections(filter=query):
        if info["name"] == pattern or (fnmatchcase(info["name"], pattern) and not info["name"].startswith(_SYSTEM)):
            yield info


async def _facts(client: Any, namespace: Namespace, info: Mapping[str, Any], hello: Mapping[str, Any]) -> Facts:
    options = info.get("options", {})
    kind = info.get("type", "collection")
    database = client.get_database(namespace.db)
    documents = average = None
    if kind == "collection":
        documents = await _permitted(database, {"count": namespace.coll}, "n")
        stats: list[dict[str, Any]] = [{"$collStats": {"storageStats": {}}}]
        reply = await _permitted(database, {"aggregate": namespace.coll, "pipeline": stats, "cursor": {}}, "cursor")
        average = _average([] if reply is None else reply["firstBatch"])
    return Facts(
        namespace=namespace,
        kind=kind,
        capped=bool(options.get("capped")),
        clustered="clusteredIndex" in options,
        documents=documents,
        average=average,
        wire_version=int(hello["maxWireVersion"]),
        time=hello["localTime"].replace(tzinfo=timezone.utc),
    )


async def _permitted(database: Any, command: dict[str, Any], field: str) -> Any:
    """A field of the reply to a command; None without the privilege."""
    try:
        return (await database.command(command))[field]
    except OperationFailure as error:
        if error.code != _UNAUTHORIZED:
            raise
        return None


def _average(shards: list[Mapping[str, Any]]) -> int | None:
    stats = [shard["storageStats"] for shard in shards]
    count = sum(each.get("count", 0) for each in stats)
    return round(sum(each.get("size", 0) for each in stats) / count) if count else None
