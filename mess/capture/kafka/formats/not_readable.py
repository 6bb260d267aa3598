"""The error of a record without a change event."""

from __future__ import annotations

from typing import Any


class NotReadable(Exception):
    """Why a record cannot be read, and what to do about it; without contents of documents. `change` is what is known
    of its change event."""

    def __init__(self, reason: str, change: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.change = change or {}
