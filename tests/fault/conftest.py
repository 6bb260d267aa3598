"""What the fault tests share."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo import MongoClient

from mess.demo.replica_set import ReplicaSet
from mess.state.sqlite_schema import instant
from tests.checker.committed import CommittedChanges
from tests.fault.relay import RelayProcess


class Setting:
    """A database to watch and a relay's state, which only one test uses."""

    def __init__(self, url: str, database: str, folder: Path) -> None:
        self.url = url
        self.database = database
        self.state = f"{database}-state"
        self._folder = folder
        self._relays = 0

    def relay(
        self,
        endpoint: str,
        http: Mapping[str, Any] | None = None,
        *,
        steps: tuple[Mapping[str, Any], ...] = (),
        files: Mapping[str, str] | None = None,
        retry: Mapping[str, Any] | None = None,
        descriptors: int | tuple[int, int] | None = None,
        **options: Any,
    ) -> RelayProcess:
        """A relay, not yet started, that sends the database's events through `steps` to `endpoint`; with a `pipeline`
        among the options, through that. `descriptors` limits the files that it may
        open: both limits, or (soft, hard)."""
        sink = {
            "name": "http",
            "config": {"endpoint": endpoint, **(http or {})},
            "retry": {"cap": "500ms", **(retry or {})},
        }
        config = {
            "name": self.database,
            "mongodb": {"url": self.url},
            "state": {"database": self.state},
            "databases": {self.database: {}},
            "pipeline": [*steps, sink],
            **options,
        }
        folder = self._folder / f"relay-{self._relays}"
        folder.mkdir()
        self._relays += 1
        if isinstance(descriptors, int):
            descriptors = (descriptors, descriptors)
        return RelayProcess(folder, config, files, descriptors)

    @property
    def sqlite(self) -> Path:
        """A file for the state of relays that do not keep it in MongoDB."""
        return self._folder / "state.db"

    def committed(self) -> CommittedChanges:
        """The checker's own record of the database's changes, to be opened before they are written."""
        return CommittedChanges(self.url, [self.database])

    def checkpoints(self) -> list[dict[str, Any]]:
        """What the relay has recorded of its streams."""
        if not self.sqlite.exists():
            return [each for each in self._find("checkpoints") if "token" in each]
        with contextlib.closing(sqlite3.connect(self.sqlite)) as db:
            rows = db.execute("SELECT token, updated FROM positions").fetchall()
        return [{"token": token and bson.decode(token), "updated": instant(updated)} for token, updated in rows]

    def dead_letters(self) -> list[dict[str, Any]]:
        """What it has given up on."""
        return [{**each, "key": _key(each["key"])} for each in self._find("dead_letters")]

    def _find(self, collection: str) -> list[dict[str, Any]]:
        with MongoClient[dict[str, Any]](self.url, tz_aware=True) as client:
            return list(client[self.state][collection].find())


def _key(stored: bytes) -> Any:
    """A dead letter's document key, from the way it is stored."""
    return bson.decode(bson.decode(stored)[""][1])[""]


@pytest.fixture
def setting(
    replica_set: ReplicaSet, mongo: MongoClient[dict[str, Any]], database: str, tmp_path: Path
) -> Iterator[Setting]:
    """A setting in the shared replica set."""
    found = Setting(replica_set.url, database, tmp_path)
    yield found
    mongo.drop_database(found.state)
