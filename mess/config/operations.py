"""The kinds of change in MongoDB, by their `operationType`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from mess.similar import closest_name

READ = "read"
"""The operation of existing documents, which MESS reads for a backfill."""
_CHANGES = ("insert", "update", "replace", "delete")
OF_DOCUMENTS = (*_CHANGES, READ)
OF_A_DATABASE = "dropDatabase"
OPERATIONS = (*_CHANGES, "drop", "rename", OF_A_DATABASE)
"""The operations that every server sends."""
READ = "read"
"""The operation of a document that existed before, which a backfill sends; MongoDB itself never does."""
EXPANDED = (
    "create",
    "createIndexes",
    "dropIndexes",
    "modify",
    "shardCollection",
    "refineCollectionShardKey",
    "reshardCollection",
)
"""The operations that servers from 6.0 on send with `showExpandedEvents`; they always belong to a collection."""
KNOWN = (*OPERATIONS, READ, *EXPANDED)
"""All operations that MESS knows."""


KNOWN = (*OPERATIONS, READ, *EXPANDED)
"""All operations that MESS knows."""


def _checked(value: str) -> str:
    if value in KNOWN:
        return value
    if value == "invalidate":
        raise ValueError("invalidate concerns the change stream, not data, and is never delivered; leave it out")
    if meant := closest_name(value, KNOWN):
        raise ValueError(f'is not an operation; did you mean "{meant}"?')
    if not re.fullmatch(r"[A-Za-z]{1,64}", value):
        raise ValueError(f"is not an operation; write one such as {', '.join(OPERATIONS)}")
    return value


_SCHEMA = {"anyOf": [{"enum": [*KNOWN]}, {"pattern": "^[A-Za-z]{1,64}$"}]}
Operation = Annotated[str, AfterValidator(_checked), Field(json_schema_extra=_SCHEMA)]
"""An operation, possibly one that only a newer MongoDB has."""
