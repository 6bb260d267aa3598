"""What every state store promises to whoever replays or discards dead letters, over each of them."""

from __future__ import annotations

import random
import sqlite3
import zlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import ObjectId, Timestamp
from pymongo import AsyncMongoClient

from mess.event import Namespace
from mess.state import Attempt, DeadLetter, StateStore, Wanted
from mess.state.keys import with_keys
from mess.state.mongo import MongoStore
from mess.state.sqlite import SqliteStore
from tests.integration.state.conftest import Opener
from tests.integration.state.samples import NOW, letter

LARGE = random.Random(1).randbytes(9 * 1024 * 1024)


def attempt(number: int, **changed: Any) -> Attempt:
    return replace(Attempt(NOW + timedelta(seconds=number), "Refused", f"answered 422: {number}", 422, "no"), **changed)


async def stored(store: StateStore, sent: DeadLetter) -> DeadLetter:
    """The letter as it is read back."""
    await store.add_dead_letters([sent])
    found = await store.dead_letter(sent.id)
    assert found is not None
    return found


async def test_the_last_ten_attempts_are_kept(store: StateStore) -> None:
    """With times, reasons and what the sink answered; an answer there may be none of."""
    history = (*map(attempt, range(12)), attempt(12, status=None, response=None))
    found = await stored(store, letter(history=history))
    assert found.history == history[-10:]
    assert [each.history async for each in store.dead_letters()] == [()]


async def test_attempts_are_bounded(store: StateStore) -> None:
    """A sink that answers with a novel costs a KiB, and its odd characters do no harm."""
    found = await stored(store, letter(history=(attempt(1, reason="\ud800" * 9999, response="x" * 9999),)))
    assert found.history[0].response == "x" * 1024
    assert found.history[0].reason.startswith("\\ud800")
    assert len(found.history[0].reason) < 30_000


async def filled(store: StateStore) -> None:
    await store.add_dead_letters(
        [
            letter("msg_a", 1, reason="answered 422: No such Customer"),
            letter("msg_b", 2, pipeline="crm", namespace=Namespace("shop", "items.old")),
            letter("msg_c", 3, step="http 2", namespace=Namespace("shop", "items")),
            letter("msg_d", 4, namespace=Namespace("shop")),
            letter("msg_e", 5, namespace=Namespace("shopping", "orders"), reason="Größe 100% [x] (y)"),
        ]
    )


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, "abcde"),
        ({"pipeline": "crm"}, "b"),
        ({"step": "http 2"}, "c"),
        ({"step": "http", "pipeline": "shop"}, "ade"),
        ({"namespace": "shop"}, "abcd"),
        ({"namespace": "shop.items"}, "c"),
        ({"namespace": "shop.items.old"}, "b"),
        ({"namespace": "shop.items*"}, "bc"),
        ({"namespace": "shop*"}, "abcde"),
        ({"namespace": "*.orders"}, "ae"),
        ({"namespace": "Shop"}, ""),
        ({"since": NOW + timedelta(minutes=3)}, "cde"),
        ({"until": NOW + timedelta(minutes=3)}, "abc"),
        ({"since": NOW + timedelta(minutes=2), "until": NOW + timedelta(minutes=2)}, "b"),
        ({"since": (NOW + timedelta(minutes=4)).replace(tzinfo=None)}, "de"),
        ({"reason": "no SUCH customer"}, "abcd"),
        ({"reason": "422"}, "a"),
        ({"reason": "gRÖße 100% [X] ("}, "e"),
        ({"reason": ".*"}, ""),
        ({"ids": ("msg_a", "msg_e", "msg_z")}, "ae"),
        ({"ids": ("msg_a", "msg_e"), "namespace": "shop"}, "a"),
        ({"ids": ()}, ""),
    ],
)
async def test_choosing(store: StateStore, wanted: dict[str, Any], expected: str) -> None:
    """The same letters are listed, counted, pointed to and deleted."""
    await filled(store)
    chosen = Wanted(**wanted)
    ids = [f"msg_{name}" for name in expected]
    assert [each.id async for each in store.dead_letters(chosen)] == ids[::-1]
    assert await store.count_dead_letters(chosen) == len(ids)
    assert sorted(each.id for each in await store.pointers(chosen)) == ids
    assert await store.delete_dead_letters(chosen) == len(ids)
    assert await store.count_dead_letters() == 5 - len(ids)


async def test_pointers_come_in_the_order_of_commits(another: Opener) -> None:
    """Whenever they were given up on, and whatever their ids are; without another relay's."""
    store, neighbour = await another(), await another("neighbour")
    await neighbour.add_dead_letters([letter("msg_0")])

    def committed(id: str, second: int, minutes: int, rest: str = "") -> DeadLetter:  # noqa: A002
        token = {"_data": f"82{second:08X}00000001{rest}"}
        return letter(id, minutes, event={"_id": token, "clusterTime": Timestamp(second, 1)})

    await store.add_dead_letters(
        [committed("msg_x", 3, 1), committed("msg_z", 2, 9, "2B"), committed("msg_y", 2, 9, "2C"), letter("msg_old", 7)]
    )
    pointers = await store.pointers()
    assert [pointer.id for pointer in pointers] == ["msg_old", "msg_z", "msg_y", "msg_x"]
    assert pointers[0] == ("msg_old", "shop", "http", Namespace("shop", "orders"), "insert")


async def test_places_are_counted(another: Opener) -> None:
    """By pipeline and step; another relay's are not."""
    store, neighbour = await another(), await another("neighbour")
    await neighbour.add_dead_letters([letter("msg_0")])
    assert await store.dead_letter_places() == {}
    await store.add_dead_letters([letter("msg_1"), letter("msg_2"), letter("msg_3", step="http 2")])
    await store.add_dead_letters([letter("msg_4", pipeline="", step="capture")])
    assert await store.dead_letter_places() == {("shop", "http"): 2, ("shop", "http 2"): 1, ("", "capture"): 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("65f0c0ffee65f0c0ffee65f0", "a"),
        ('"65f0c0ffee65f0c0ffee65f0"', ""),
        ('{"$oid": "65f0c0ffee65f0c0ffee65f0"}', "a"),
        ("42", "bc"),
        ('"42"', "c"),
        ("42.0", "b"),
        ('{"$numberLong": "42"}', "b"),
        ('{"_id": 42}', "b"),
        ('{"region": "eu", "_id": 42}', "b"),
        ('{"region": "us", "_id": 42}', ""),
        ('{"x": 1, "y": [2]}', "d"),
        ('{"y": [2], "x": 1}', ""),
        ("true", "e"),
        ("1", ""),
        ('{"$date": "2026-07-01T12:00:00.123Z"}', "f"),
        ("2026-07-01T12:00:00.123Z", "f"),
        ("", ""),
        ("{", ""),
        ("nothing", ""),
    ],
)
async def test_letters_are_chosen_by_their_documents_id(store: StateStore, text: str, expected: str) -> None:
    """As it is shown, or in JSON or Extended JSON, which tell types apart; together with all other filters."""
    keys: dict[str, Any] = {
        "a": {"_id": ObjectId("65f0c0ffee65f0c0ffee65f0")},
        "b": {"region": "eu", "_id": 42},
        "c": {"_id": "42"},
        "d": {"_id": {"x": 1, "y": [2]}},
        "e": {"_id": True},
        "f": {"_id": NOW},
        "g": None,
        "h": {},
    }
    await store.add_dead_letters([letter(f"msg_{name}", key=key) for name, key in keys.items()])
    for wanted in (Wanted(), Wanted(namespace="shop.orders")):
        chosen = await with_keys(store, wanted, [text])
        assert sorted(each.id for each in await store.pointers(chosen)) == [f"msg_{name}" for name in expected]
    assert (await with_keys(store, Wanted(pipeline="crm"), [text])).ids == ()


@pytest.mark.parametrize("body", [{"small": 1}, {"large": LARGE}])
async def test_a_letter_gets_a_later_word(another: Opener, body: Any) -> None:
    """All but its time changes, chunks included; and then it is deleted as it was read."""
    store, reader = await another(), await another()
    first = await stored(store, letter(body=body))
    again = replace(first, step="http 2", reason="answered 400", attempts=2, body={"b": 1}, history=(attempt(1),))
    assert await store.replace_unchanged([again]) == 1
    found = await reader.dead_letter("msg_1")
    assert found == again
    assert found.time == NOW
    assert await store.delete_unchanged([first]) == 0
    assert await store.delete_unchanged([found]) == 1
    assert await store.count_dead_letters() == 0


@pytest.mark.parametrize("body", [{"small": 1}, {"large": LARGE}])
@pytest.mark.parametrize(
    "change", [{"step": "queue"}, {"pipeline": "crm"}, {"body": {"other": 1}}, {"body": LARGE[1:]}]
)
async def test_a_relays_newer_letter_is_left_alone(another: Opener, body: Any, change: dict[str, Any]) -> None:
    """A relay that was rearranged and began again gives up on the event elsewhere while it is being replayed."""
    store, relay = await another(), await another()
    first = await stored(store, letter(body=body))
    await relay.add_dead_letters([newer := letter(body=body, reason="newer")])
    await relay.add_dead_letters([newer := replace(newer, **change)])
    assert await store.replace_unchanged([replace(first, reason="older")]) == 0
    assert await store.delete_unchanged([first]) == 0
    assert await store.dead_letter("msg_1") == newer


@pytest.mark.parametrize("body", [{"small": 1}, {"large": LARGE}])
async def test_a_letter_that_was_discarded_does_not_come_back(store: StateStore, body: Any) -> None:
    """A replay that failed has no later word on what is gone."""
    first = await stored(store, letter(body=body))
    await store.delete_dead_letters(Wanted(ids=("msg_1",)))
    assert await store.replace_unchanged([replace(first, reason="again")]) == 0
    assert await store.count_dead_letters() == 0


def _without_history(data: bytes) -> bytes:
    content = bson.decode(zlib.decompress(data))
    del content["history"]
    return zlib.compress(bson.encode(content))


async def test_letters_of_an_earlier_version_in_mongodb(replica_set: Any, database_name: str) -> None:
    """They knew neither history nor the order of commits."""
    async with AsyncMongoClient[dict[str, Any]](replica_set.url) as client:
        store = MongoStore(client[database_name], "mess")
        await store.open()
        sent = letter()
        await store.add_dead_letters([sent])
        letters = client[database_name]["dead_letters"]
        data = (await letters.find_one())["data"]  # type: ignore[index]
        await letters.update_one({}, {"$set": {"data": _without_history(data)}, "$unset": {"place": 1}})
        await _is_usable(store, sent)


async def test_letters_of_an_earlier_version_in_sqlite(tmp_path: Path) -> None:
    """The file is carried over, and an earlier version goes on with it."""
    path = tmp_path / "state.db"
    store = SqliteStore(path, "mess")
    await store.open()
    sent = letter()
    await store.add_dead_letters([sent])
    await store.close()
    with sqlite3.connect(path) as db:
        data = db.execute("SELECT data FROM dead_letters").fetchone()[0]
        db.execute("UPDATE dead_letters SET data = ?", (_without_history(data),))
        db.execute("ALTER TABLE dead_letters DROP COLUMN place")
    db.close()
    await store.open()
    await _is_usable(store, sent)
    await store.close()


async def _is_usable(store: StateStore, sent: DeadLetter) -> None:
    found = await store.dead_letter(sent.id)
    assert found == sent
    assert found.history == ()
    assert [pointer.id for pointer in await store.pointers()] == [sent.id]
    assert await store.replace_unchanged([replace(found, history=(attempt(1),))]) == 1
    again = await store.dead_letter(sent.id)
    assert again is not None
    assert again.history == (attempt(1),)
    assert await store.delete_unchanged([again]) == 1
