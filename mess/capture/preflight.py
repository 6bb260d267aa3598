"""Checks whether MongoDB can serve this config, before any stream is opened."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError
from pymongo.topology_description import TOPOLOGY_TYPE

from mess.capture.client import LacksPrivilege, explain
from mess.capture.diagnosis import diagnose
from mess.capture.errors import stop_reason
from mess.capture.match import NEVER_WATCHED
from mess.capture.oplog import read_oplog
from mess.capture.plan import StreamPlan
from mess.capture.reach import answer
from mess.errors import ConfigError, NotAReplicaSet, NotPermitted, SourceError
from mess.event import Namespace
from mess.options.values import spoken

_IMAGES = frozenset({"when_available", "required"})
_IMAGES_SINCE = 6
"""The major version of MongoDB that introduced pre- and post-images."""
_MANY = 100_000
_EXISTING = "if the role already exists, use updateRole instead of createRole"


async def verify(client: Any) -> dict[str, Any]:
    """The server's `hello`, if the server has change streams.

    Raises SourceUnavailable if it does not answer, NotAReplicaSet, or NotPermitted.
    """
    try:
        hello = await answer(client)
    except SourceError as error:
        if _is_of_another_set(client) and (reason := await diagnose(client)) is not None:
            raise NotAReplicaSet(reason) from error
        cause = error.__cause__
        raise ((isinstance(cause, PyMongoError) and stop_reason(cause)) or error) from cause
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise NotAReplicaSet()
    return hello


def _is_of_another_set(client: Any) -> bool:
    """Whether every server has answered, and none belongs to the replica set in the url."""
    topology = client.topology_description
    # The driver forgets servers of another kind or set; one that does not answer, or waits for its set, stays known.
    return topology.topology_type == TOPOLOGY_TYPE.ReplicaSetNoPrimary and not topology.server_descriptions()


def role(plans: Sequence[StreamPlan], state_database: str | None) -> dict[str, Any]:
    """The `createRole` command with everything that the relay needs: to read its streams, and to write its state."""
    privileges: list[dict[str, Any]] = []
    for database in sorted({plan.database or "" for plan in plans}):
        resource = {"db": database, "collection": ""}
        privileges.append({"resource": resource, "actions": ["find", "changeStream", "listCollections"]})
    # For `start: oldest`, and to find out how far back the oplog reaches.
    privileges.append({"resource": {"db": "local", "collection": "oplog.rs"}, "actions": ["find", "collStats"]})
    roles = [{"role": "readWrite", "db": state_database}] if state_database else []
    return {"createRole": "mess", "privileges": privileges, "roles": roles}


def role_command(plans: Sequence[StreamPlan], state_database: str | None) -> str:
    """The same, as typed in mongosh."""
    return f"db.getSiblingDB('admin').runCommand({json.dumps(role(plans, state_database))})"


@contextmanager
def telling_the_role(plans: Sequence[StreamPlan], state_database: str | None) -> Iterator[None]:
    """Adds a role with all privileges to the error about a missing one. Raises NotPermitted with both."""
    try:
        yield
    except LacksPrivilege as error:
        raise NotPermitted(with_role(error, plans, state_database)) from error


def with_role(error: Exception, plans: Sequence[StreamPlan], state_database: str | None) -> str:
    """An error about a missing privilege, and a role with all privileges."""
    return f"{error}. A role with all that the relay needs ({_EXISTING}): {role_command(plans, state_database)}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `mess check`.

    `remedy` says how to fix it, on separate lines. `exit_code` is the command's if it is not `ok`. A `warning` is ok
    but worth a look.
    """

    ok: bool
    what: str
    remedy: str = ""
    exit_code: int = SourceError.exit_code
    warning: bool = False


async def examine(
    client: Any, hello: Mapping[str, Any], plans: Sequence[StreamPlan], state_database: str | None
) -> AsyncIterator[Finding]:
    """The findings of `mess check` for a MongoDB that has answered `hello` (see `verify`). Raises the driver's
    errors."""
    sharded = hello.get("msg") == "isdbgrid"
    kind = "a sharded cluster (supported by design, not tested)" if sharded else f"replica set {hello['setName']}"
    version = await _version(client)
    yield Finding(True, f"MongoDB {version}, {kind}")
    lacks_images = int(version.partition(".")[0]) < _IMAGES_SINCE
    for plan in plans:
        if lacks_images and _wants_images(plan):
            yield _no_images(plan, version)
        else:
            yield await _stream(client, plan, state_database, plans)
    if sharded:
        async for finding in _shard_keys(client, plans):
            yield finding
    else:
        yield await _oplog(client)
    for plan in plans:
        if _wants_images(plan) and not lacks_images:
            async for finding in _images(client, plan, state_database):
                yield finding


async def _version(client: Any) -> str:
    return str((await client.get_database("admin").command("buildInfo"))["version"])


async def _stream(client: Any, plan: StreamPlan, state_database: str | None, plans: Sequence[StreamPlan]) -> Finding:
    database = client.get_database(plan.database or "admin")
    try:
        reply = await database.command({"aggregate": 1, "pipeline": plan.stages(), "cursor": {"batchSize": 0}})
        collection = reply["cursor"]["ns"].partition(".")[2]
        await database.command({"killCursors": collection, "cursors": [reply["cursor"]["id"]]})
    except PyMongoError as error:
        reason = stop_reason(error, plan) or explain(error)
        lacks = isinstance(reason, LacksPrivilege)
        remedy = f"{role_command(plans, state_database)}\n({_EXISTING})" if lacks else ""
        return Finding(False, str(reason), remedy)
    return Finding(True, f"change stream {plan.name} opens")


async def _oplog(client: Any) -> Finding:
    try:
        oplog = await read_oplog(client)
    except SourceError as error:
        return Finding(True, f"it is unknown how far back the oplog reaches: {error}")
    if oplog is None:
        return Finding(True, "it is unknown how far back the oplog reaches")
    reach = spoken(oplog.seconds)
    if oplog.rolls:
        return Finding(True, f"the oplog reaches {reach} back: the relay may be away for as long")
    filled = "" if oplog.filled is None else f", and is {oplog.filled:.0%} full"
    beginning = "to the founding of the replica set" if oplog.whole else "as far as it was ever written"
    return Finding(
        True,
        f"the oplog is young: it reaches back {beginning}, {reach} ago{filled}. How long the relay may be away shows "
        "once it has been full",
    )


async def _shard_keys(client: Any, plans: Sequence[StreamPlan]) -> AsyncIterator[Finding]:
    """The excluded fields that belong to a shard key, and which events therefore contain all the same."""
    excluding = [plan for plan in plans if plan.exclude]
    if not excluding:
        return
    try:
        sharded = await client.get_database("config").get_collection("collections").find({}, {"key": 1}).to_list(None)
    except OperationFailure as error:
        unknown = "it is unknown whether exclude names fields of shard keys, which every event's documentKey contains"
        yield Finding(True, f"{unknown}: {explain(error)}", warning=True)
        return
    for collection in sharded:
        db, _, coll = collection["_id"].partition(".")
        for plan in excluding:
            if not plan.selection.selects(Namespace(db, coll)):
                continue
            for field in collection.get("key", {}):
                if any(_overlap(field, path) for path in plan.exclude):
                    yield Finding(
                        False,
                        f"exclude cannot remove {field} from events of {db}.{coll}: it belongs to the shard key, which "
                        "every event's documentKey and resume token contain",
                        f"Leave {field} out of exclude, or shard {db}.{coll} by another key (reshardCollection)",
                        exit_code=ConfigError.exit_code,
                    )


def _overlap(one: str, other: str) -> bool:
    """Whether two paths name the same field, or one a field that contains the other's."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _wants_images(plan: StreamPlan) -> bool:
    return not _IMAGES.isdisjoint((plan.full_document, plan.full_document_before_change))


def _no_images(plan: StreamPlan, version: str) -> Finding:
    return Finding(
        False,
        f"change stream {plan.name} asks for pre- or post-images, which MongoDB has from {_IMAGES_SINCE}.0 on; this is "
        f"{version}",
        "choose full_document: update_lookup or off, and leave full_document_before_change out; or upgrade MongoDB",
    )


async def _images(client: Any, plan: StreamPlan, state_database: str | None) -> AsyncIterator[Finding]:
    """The collections of a stream that keep no images although it asks for them."""
    required = "required" in (plan.full_document, plan.full_document_before_change)
    effect = "; until they are turned on, its updates arrive without the document"
    for db in [plan.database] if plan.database is not None else await _databases(client, state_database):
        command = {"listCollections": 1, "filter": {"type": "collection"}, "cursor": {"batchSize": _MANY}}
        found = await client.get_database(db).command(command)
        for info in found["cursor"]["firstBatch"]:
            name = info["name"]
            enabled = info.get("options", {}).get("changeStreamPreAndPostImages", {}).get("enabled", False)
            if enabled or not plan.selection.selects(Namespace(db, name)):
                continue
            remedy = {"collMod": name, "changeStreamPreAndPostImages": {"enabled": True}}
            yield Finding(
                not required,
                f"{db}.{name} keeps no pre- and post-images, which the config asks for"
                f"{effect if plan.full_document == 'when_available' else ''}",
                f"db.getSiblingDB({db!r}).runCommand({json.dumps(remedy)})",
                warning=True,
            )


async def _databases(client: Any, state_database: str | None) -> list[str]:
    found = await client.get_database("admin").command({"listDatabases": 1, "nameOnly": True})
    return [each["name"] for each in found["databases"] if each["name"] not in (*NEVER_WATCHED, state_database)]
