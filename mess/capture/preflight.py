"""Checks whether MongoDB can serve this config, before any stream is opened."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pymongo.errors import PyMongoError
from pymongo.topology_description import TOPOLOGY_TYPE

from mess.capture.client import LacksPrivilege, explain
from mess.capture.diagnosis import diagnose
from mess.capture.errors import stop_reason
from mess.capture.oplog import read_oplog
from mess.capture.plan import StreamPlan
from mess.capture.reach import answer
from mess.errors import NotAReplicaSet, NotPermitted, SourceError
from mess.options.values import spoken

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
    yield Finding(True, f"MongoDB {await _version(client)}, {kind}")
    for plan in plans:
        yield await _stream(client, plan, state_database, plans)
    if not sharded:
        yield await _oplog(client)
    for plan in plans:
        async for finding in _images(client, plan):
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


async def _images(client: Any, plan: StreamPlan) -> AsyncIterator[Finding]:
    wanted = {plan.full_document, plan.full_document_before_change} & {"when_available", "required"}
    if not wanted or plan.database is None:
        return
    database = client.get_database(plan.database)
    cursor = await database.command({"listCollections": 1, "filter": {"type": "collection"}})
    for info in cursor["cursor"]["firstBatch"]:
        name = info["name"]
        enabled = info.get("options", {}).get("changeStreamPreAndPostImages", {}).get("enabled", False)
        if enabled or not any(entry.coll in (name, "*") for entry in plan.selection.entries):
            continue
        command = {"collMod": name, "changeStreamPreAndPostImages": {"enabled": True}}
        yield Finding(
            "required" not in wanted,
            f"{plan.database}.{name} keeps no pre- and post-images, which the config asks for",
            f"db.getSiblingDB({plan.database!r}).runCommand({json.dumps(command)})",
        )
