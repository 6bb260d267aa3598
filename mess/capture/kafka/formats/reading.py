"""What the formats have in common: what they find in a record, or why it cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Headers = Mapping[str, bytes | None]
"""A record's headers by name."""


class Reading(NamedTuple):
    """A change event that a record holds. `id` is None if the record does not give the event's id."""

    change: dict[str, Any]
    id: str | None = None
    looked_up: bool | None = None
    backfill: str = ""
    replay: bool = False


class NotReadable(Exception):
    """Why a record cannot be read, and what to do about it; without contents of documents. `change` is what is known
    of its change event."""

    def __init__(self, reason: str, change: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.change = change or {}
