"""The records of backfills: which existing documents are to be sent, and how far that is done."""

from __future__ import annotations

import json
import math
import secrets
import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument

from mess.event import Namespace
from mess.state.records import checked

ENDED = ("done", "cancelled", "failed")
"""The states of backfills that have ended."""
STATES = ("waiting", "running", "paused", *ENDED)
WISHES = ("running", "paused", "cancelled")
"""What operators can want of a backfill."""
_ALPHABET = string.ascii_lowercase + string.digits
_ANY: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)


@dataclass(frozen=True, slots=True)
class BackfillProgress:
    """How far a backfill is done. Only the relay writes it.

    `state` is waiting, running, paused, done, cancelled or failed. `reason` says why it waits, failed or was cancelled,
    and what resumes it. `last` is the BSON document `{"_id": …}` of the last document that is done, None before the
    first. `documents` counts those that are done, of `estimated`, which is None if unknown. The times are to the
    millisecond.
    """

    state: str = "waiting"
    reason: str | None = None
    last: bytes | None = None
    documents: int = 0
    estimated: int | None = None
    started: datetime | None = None
    updated: datetime | None = None
    ended: datetime | None = None

    def fields(self) -> dict[str, Any]:
        """What the stores keep of it, by name: text, numbers, bytes, times, or None."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of `fields`. Raises KeyError for a missing field, TypeError or ValueError for a wrong one."""
        last = checked(fields, "last", bytes, type(None))
        if last is not None and not _is_key(last):
            raise ValueError("the field last holds no BSON document with an _id alone")
        return cls(
            state=_one_of(fields, "state", STATES),
            reason=checked(fields, "reason", str, type(None)),
            last=last,
            documents=checked(fields, "documents", int),
            estimated=checked(fields, "estimated", int, type(None)),
            started=checked(fields, "started", datetime, type(None)),
            updated=checked(fields, "updated", datetime, type(None)),
            ended=checked(fields, "ended", datetime, type(None)),
        )


@dataclass(frozen=True, slots=True)
class Backfill:
    """A request to send the existing documents of one collection, and its progress.

    `origin` is "operator", "initial" (the config), or the id of the gap that it repairs. `created` is by MongoDB's
    clock. `match` is a further MongoDB query over the change event, in Extended JSON. With `step` or `pipeline`,
    documents go only there. `rate` limits the documents per second. `wanted` is the operator's wish: running, paused or
    cancelled.
    """

    id: str
    namespace: Namespace
    origin: str
    created: datetime
    match: str | None = None
    step: str | None = None
    pipeline: str | None = None
    rate: float | None = None
    wanted: str = "running"
    progress: BackfillProgress = field(default_factory=BackfillProgress)

    @property
    def ended(self) -> bool:
        """Whether it is done, cancelled or failed."""
        return self.progress.state in ENDED

    def wanting(self, wanted: str) -> Backfill:
        """The record after an operator's wish.

        One that has ended doesn't change, except for a failed one that is wanted to run: it waits again, and resumes
        after its last document.
        """
        if not self.ended:
            return replace(self, wanted=wanted)
        if self.progress.state == "failed" and wanted == "running":
            waiting = replace(self.progress, state="waiting", reason=None, ended=None)
            return replace(self, wanted=wanted, progress=waiting)
        return self

    def fields(self) -> dict[str, Any]:
        """What the stores keep of it, by name: text, numbers, bytes, times, or None."""
        return {
            "id": self.id,
            "db": self.namespace.db,
            "coll": self.namespace.coll,
            "origin": self.origin,
            "created": self.created,
            "match": self.match,
            "step": self.step,
            "pipeline": self.pipeline,
            "rate": self.rate,
            "wanted": self.wanted,
            **self.progress.fields(),
        }

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of `fields`. Raises KeyError for a missing field, TypeError or ValueError for a wrong one."""
        rate = checked(fields, "rate", float, int, type(None))
        if rate is not None and not 0 < rate < math.inf:
            raise ValueError(f"the field rate holds {rate}")
        return cls(
            id=checked(fields, "id", str),
            namespace=Namespace(checked(fields, "db", str), checked(fields, "coll", str)),
            origin=checked(fields, "origin", str),
            created=checked(fields, "created", datetime),
            match=_json(fields, "match"),
            step=checked(fields, "step", str, type(None)),
            pipeline=checked(fields, "pipeline", str, type(None)),
            rate=rate,
            wanted=_one_of(fields, "wanted", WISHES),
            progress=BackfillProgress.of_fields(fields),
        )


def _one_of(fields: Mapping[str, Any], name: str, values: Collection[str]) -> str:
    found: str = checked(fields, name, str)
    if found not in values:
        raise ValueError(f"the field {name} holds {found!r}")
    return found


def _is_key(data: bytes) -> bool:
    # Its value stays undecoded: an _id may be a date beyond Python's years, or text that is not UTF-8.
    try:
        return list(RawBSONDocument(data, _ANY)) == ["_id"]
    except Exception:  # bson raises many kinds
        return False


def _json(fields: Mapping[str, Any], name: str) -> str | None:
    found: str | None = checked(fields, name, str, type(None))
    try:
        if found is None or isinstance(json.loads(found), dict):
            return found
    except (ValueError, RecursionError):
        pass
    raise ValueError(f"the field {name} holds no JSON object")


def remedy(removal: str) -> str:
    """What to do about a record that cannot be decoded, given the statement that removes it."""
    return f"remove it and start the backfill again: {removal}"


def new_id() -> str:
    """A random id for a backfill."""
    return "bf_" + "".join(secrets.choice(_ALPHABET) for _ in range(12))
