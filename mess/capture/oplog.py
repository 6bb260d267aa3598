"""How far back MongoDB's oplog reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bson import Timestamp
from pymongo.errors import OperationFailure
from pymongo.topology_description import TOPOLOGY_TYPE

from mess.capture.client import LacksPrivilege
from mess.capture.clock import ServerClock
from mess.capture.start import explained

_WITHOUT_OPLOG = (TOPOLOGY_TYPE.Sharded, TOPOLOGY_TYPE.LoadBalanced)
_FULL = 0.8
"""How full an oplog is at least while its oldest entries are being removed; entries are removed in bulk."""


@dataclass(frozen=True, slots=True)
class Oplog:
    """The cluster times of its oldest and its newest entry.

    `whole` is whether its oldest entry is the initiation of the replica set, before which nothing happened. `filled` is
    the used share of its maximum size; None if the user may not read that.
    """

    oldest: Timestamp
    newest: Timestamp
    whole: bool
    filled: float | None = None

    @property
    def rolls(self) -> bool:
        """Whether its oldest entries are being removed, or soon will be: a young oplog still has room, and loses
        nothing yet."""
        # If the size is unknown, this is not certain: a member that was added later has an oplog without the
        # initiation, too.
        return not self.whole if self.filled is None else self.filled >= _FULL

    @property
    def seconds(self) -> int:
        """How far back it reaches, in seconds."""
        return int(self.newest.time - self.oldest.time)

    def holds(self, time: Timestamp) -> bool:
        """Whether it still contains everything after `time`."""
        return self.whole or time >= self.oldest


async def observe(client: Any, clock: ServerClock) -> Oplog | None:
    """Set `clock` from the server, and read its oplog; None on mongos, which has none. Raises the same errors as
    `read_oplog`."""
    hello = await explained(client.get_database("admin").command("hello"))
    clock.observe(hello)
    return None if hello.get("msg") == "isdbgrid" else await read_oplog(client)


async def read_oplog(client: Any) -> Oplog | None:
    """The oplog of the replica set member that the client reads from; None if there is none.

    Raises LacksPrivilege if the user may not read it, and another SourceError if MongoDB does not answer.
    """
    return await explained(_read(client))


async def oldest_kept(client: Any) -> Timestamp | None:
    """The time before which changes have been removed; None if none have been, or if it is unknown.

    Raises SourceUnavailable if MongoDB does not answer.
    """
    try:
        oplog = await read_oplog(client)
    except LacksPrivilege:
        return None
    return None if oplog is None or oplog.whole else oplog.oldest


async def _read(client: Any) -> Oplog | None:
    if client.topology_description.topology_type in _WITHOUT_OPLOG:
        return None
    local = client.get_database("local")
    entries = local.get_collection("oplog.rs")
    first = await entries.find_one({}, {"ts": 1, "op": 1, "o.msg": 1}, sort=[("$natural", 1)])
    last = await entries.find_one({}, {"ts": 1}, sort=[("$natural", -1)])
    if first is None or last is None:
        return None
    whole = first.get("op") == "n" and (first.get("o") or {}).get("msg") == "initiating set"
    return Oplog(oldest=first["ts"], newest=last["ts"], whole=whole, filled=await _filled(local))


async def _filled(local: Any) -> float | None:
    try:
        stats = await local.command({"collStats": "oplog.rs"})
        return float(stats["size"] / stats["maxSize"])
    except (OperationFailure, KeyError, ZeroDivisionError):
        return None
