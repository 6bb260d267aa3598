"""What a relay gave up on, read from its state by plain queries."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from pymongo import MongoClient


def in_mongodb(url: str, database: str, relay: str) -> dict[str, str]:
    """The reasons by the ids of the events, from a state database."""
    with MongoClient[dict[str, Any]](url) as client:
        found = client[database].dead_letters.find({"relay": relay}, {"id": 1, "reason": 1})
        return {each["id"]: each["reason"] for each in found}


def in_sqlite(file: Path, relay: str) -> dict[str, str]:
    """The reasons by the ids of the events, from a state file."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        return dict(db.execute("SELECT id, reason FROM dead_letters WHERE relay = ?", (relay,)))
