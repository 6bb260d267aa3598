"""`MongoStore` without a server: over mongomock-motor, and over a database that refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from bson import Timestamp
from mongomock.collection import BulkOperationBuilder
from mongomock_motor import AsyncMongoMockClient
from pymongo.errors import OperationFailure

from mess.errors import NotPermitted, StateError, Superseded
from mess.event import Namespace, Position
from mess.state import Backfill, BackfillProgress, Checkpoint, Gap
from mess.state.mongo import MongoStore
from tests.unit.state.test_letters import LETTER

NOW = datetime(2026, 7, 1, tzinfo=timezone.utc)
CHECKPOINT = Checkpoint("shop", "abc", Position({"_data": "82"}, Timestamp(1, 2)), NOW)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A database in memory."""
    add_update: Callable[..., None] = BulkOperationBuilder.add_update

    def without_sort(self: Any, *arguments: Any, sort: Any = None, **options: Any) -> None:
        # mongomock 4.3 does not know the argument that PyMongo passes since 4.11.
        add_update(self, *arguments, **options)

    monkeypatch.setattr(BulkOperationBuilder, "add_update", without_sort)
    return AsyncMongoMockClient(tz_aware=True)["state"]


async def test_checkpoints(database: Any) -> None:
    """They are read as saved, by the process that took over last."""
    old, new = MongoStore(database, "mess"), MongoStore(database, "mess")
    await old.open()
    await old.take_over()
    await old.arrange([], [])
    await old.save([CHECKPOINT])
    assert await old.checkpoints() == [CHECKPOINT]
    assert await new.take_over() == 2
    with pytest.raises(Superseded, match="epoch 2, this one had 1"):
        await old.save([CHECKPOINT])


async def test_documents_are_named_after_the_relay(database: Any) -> None:
    """One database serves many relays, and people who look into it."""
    store = MongoStore(database, "mess")
    await store.open()
    await store.take_over()
    await store.arrange([], [])
    await store.save([CHECKPOINT])
    await store.add_dead_letters([LETTER])
    names = {
        name: [each["_id"] async for each in database[name].find()]
        for name in ("checkpoints", "dead_letters", "relays")
    }
    assert names == {"checkpoints": ["mess", "mess/shop"], "dead_letters": ["mess/msg_1"], "relays": ["mess"]}


async def test_dead_letters_and_gaps(database: Any) -> None:
    """They come back too."""
    store = MongoStore(database, "mess")
    gap = Gap("shop", Timestamp(1, 1), None, "history lost", NOW)
    await store.add_dead_letters([LETTER])
    await store.record_gap(gap)
    assert await store.dead_letter("msg_1") == LETTER
    assert await store.gaps() == [gap]


async def test_backfills(database: Any) -> None:
    """They come back with their progress, which only the process that took over last may write."""
    old, new = MongoStore(database, "mess"), MongoStore(database, "mess")
    asked = Backfill("bf_1", Namespace("shop", "orders"), "operator", NOW)
    running = BackfillProgress("running", documents=7)
    await old.take_over()
    await old.arrange([], [])
    assert await old.add_backfill(asked)
    await old.save([], {"bf_1": running})
    assert await old.backfills() == [replace(asked, progress=running)]
    await new.take_over()
    with pytest.raises(Superseded, match="epoch 2, this one had 1"):
        await old.save([CHECKPOINT], {"bf_1": BackfillProgress()})
    assert await new.backfills() == [replace(asked, progress=running)]


async def test_progress_is_fenced_by_itself(database: Any) -> None:
    """An older process that passed the check of its checkpoints just before another took over writes no progress."""
    store = MongoStore(database, "mess")
    await store.add_backfill(Backfill("bf_1", Namespace("shop", "orders"), "operator", NOW))
    await store.take_over()
    await MongoStore(database, "mess").take_over()
    with pytest.raises(Superseded, match="epoch 2, this one had 1"):
        await store._backfills.save(1, {"bf_1": BackfillProgress("running")})
    assert [each.progress.state for each in await store.backfills()] == ["waiting"]


class Refusing:
    """A database, and its collections, in which these commands are not permitted."""

    def __init__(self, database: Any, *commands: str) -> None:
        self.name = "state"
        self._wrapped = database
        self._commands = commands

    def get_collection(self, name: str, **options: Any) -> Refusing:
        return Refusing(self._wrapped.get_collection(name, **options), *self._commands)

    def __getattr__(self, name: str) -> Any:
        async def refuse(*arguments: Any, **options: Any) -> None:
            raise OperationFailure("not authorized on state to execute command", 13)

        return refuse if name in self._commands else getattr(self._wrapped, name)


async def test_no_right_to_write(database: Any) -> None:
    """Told at the start, with the role to grant and the other way."""
    store = MongoStore(Refusing(database, "update_one"), "mess")
    words = r"^cannot write state in the database state: .*readWrite.*sqlite:///mess\.db$"
    with pytest.raises(NotPermitted, match=words):
        await store.open()


async def test_no_right_to_make_indexes(database: Any) -> None:
    """Listings are slower; that is all."""
    await MongoStore(Refusing(database, "create_index"), "mess").open()


async def test_a_right_that_is_taken_away(database: Any) -> None:
    """A relay that cannot record its progress must stop, with the remedy."""
    store = MongoStore(Refusing(database, "bulk_write"), "mess")
    await store.open()
    await store.take_over()
    with pytest.raises(StateError, match=r"cannot store the coverage map: .*readWrite"):
        await store.arrange([], [CHECKPOINT])
