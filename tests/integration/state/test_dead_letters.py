"""What every state store promises of dead letters, over each of them: PyMongo, Motor, SQLite."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from mess.event import Namespace
from mess.state import DeadLetter, StateStore, Wanted
from tests.integration.state.conftest import Opener
from tests.integration.state.samples import EVERY_TYPE, NOW, letter

MIB = 1024 * 1024


async def listed(store: StateStore, *, limit: int | None = None, **wanted: Any) -> list[str]:
    return [each.id async for each in store.dead_letters(Wanted(**wanted), limit=limit)]


async def test_every_bson_type_comes_back(store: StateStore) -> None:
    """In the event, the body and the key, by value and by type."""
    key = {"_id": {name: value for name, value in EVERY_TYPE.items() if name != "ref"}}
    event = {"_id": {"_data": "82"}, "documentKey": key, "fullDocument": EVERY_TYPE}
    sent = letter(event=event, body={"all": EVERY_TYPE}, key=key)
    await store.add_dead_letters([sent])
    found = await store.dead_letter("msg_1")
    assert found == sent
    assert found.event["documentKey"] == key
    types = {name: type(value) for name, value in EVERY_TYPE.items()}
    assert {name: type(value) for name, value in found.body["all"].items()} == types
    assert list(found.event["fullDocument"]) == list(EVERY_TYPE)


async def test_nan_comes_back(store: StateStore) -> None:
    """A NaN is not equal to itself, so it has a test of its own."""
    await store.add_dead_letters([letter(body={"value": float("nan")})])
    found = await store.dead_letter("msg_1")
    assert found is not None
    assert str(found.body["value"]) == "nan"


async def test_a_body_that_is_the_event_is_kept_once(store: StateStore) -> None:
    """No step had replaced it yet."""
    event = letter().event
    await store.add_dead_letters([letter(event=event, body=event)])
    found = await store.dead_letter("msg_1")
    assert found is not None
    assert found.body is found.event
    assert found.event == event


class Odd:
    def __repr__(self) -> str:
        return "<odd \ud800>"


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


_cyclic: dict[str, Any] = {}
_cyclic["self"] = _cyclic


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (None, None),
        ("text", "text"),
        ([1, {"a": b"x"}], [1, {"a": b"x"}]),
        ((1, 2), [1, 2]),
        ({1: "number", "b": b"x"}, {"1": "number", "b": "eA=="}),
        ({"big": 2**63}, {"big": 2**63}),
        ({"nul\0": 1}, {"nul\0": 1}),
        ({"set": {1}}, "{'set': {1}}"),
        ({"surrogate": "\ud800"}, "{'surrogate': '\\ud800'}"),
        ({"huge": 2**200}, repr({"huge": 2**200})),
        (Odd(), "<odd \\ud800>"),
        (Broken(), "<a Broken that cannot be shown: RuntimeError>"),
        (_cyclic, "{'self': {...}}"),
    ],
)
async def test_weird_bodies(store: StateStore, body: Any, kept: Any) -> None:
    """Users' functions return anything; a dead letter is kept all the same, as BSON, else as JSON, else as shown."""
    await store.add_dead_letters([letter(body=body)])
    found = await store.dead_letter("msg_1")
    assert found == letter(body=kept)


async def test_weird_texts(store: StateStore) -> None:
    """What a sink answered is not always text."""
    await store.add_dead_letters([letter(reason="\ud800\0" + "x" * 100_000)])
    found = await store.dead_letter("msg_1")
    assert found is not None
    assert found.reason.startswith("\\ud800\\0xxx")
    assert len(found.reason) < 20_000


def large(megabytes: float, seed: int = 1) -> dict[str, Any]:
    return {"_id": 1, "data": random.Random(seed).randbytes(int(megabytes * MIB))}


@pytest.mark.parametrize(("event", "body"), [(15, None), (15.9, 15.9), (7.9, None), (20, 0)])
async def test_large_documents(store: StateStore, event: float, body: float | None) -> None:
    """Of MongoDB's largest size, which do not compress, and event and body different; split events are larger yet."""
    change = {"_id": {"_data": "82"}, "fullDocument": large(event)}
    sent = letter(event=change, body=change if body is None else large(body, 2))
    await store.add_dead_letters([sent])
    assert await store.dead_letter("msg_1") == sent


async def test_a_large_key(store: StateStore) -> None:
    """It is not listed, but it is kept."""
    sent = letter(key={"_id": os.urandom(9 * MIB)})
    await store.add_dead_letters([sent])
    assert await store.dead_letter("msg_1") == sent
    assert [each.key async for each in store.dead_letters()] == [None]


async def test_replacing_large_with_small_and_back(store: StateStore) -> None:
    """Chunks of another version never mix, and none are left behind."""
    for body in (large(17, 3), {"small": 1}, large(17, 4), large(25, 5)):
        sent = letter(body=body)
        await store.add_dead_letters([sent])
        assert await store.dead_letter("msg_1") == sent
    assert await store.delete_dead_letters(Wanted(ids=("msg_1",))) == 1
    assert await store.dead_letter("msg_1") is None


async def test_an_event_has_one_letter(store: StateStore) -> None:
    """A redelivered event that is refused again: the latest reason and attempts, the first time."""
    await store.add_dead_letters([letter(minutes=0)])
    again = letter(minutes=5, reason="HTTP 422", attempts=4, body={"other": 1}, step="queue", error="Ambiguous")
    await store.add_dead_letters([again])
    assert await store.count_dead_letters() == 1
    assert await store.dead_letter("msg_1") == replace(again, time=NOW)


async def test_one_event_twice_in_one_call(store: StateStore) -> None:
    """The latter counts."""
    await store.add_dead_letters([letter(attempts=1), letter(attempts=2)])
    found = await store.dead_letter("msg_1")
    assert found is not None
    assert found.attempts == 2


async def test_none_at_all(store: StateStore) -> None:
    """Nothing to do is done."""
    await store.add_dead_letters([])
    assert await store.delete_dead_letters(Wanted(ids=())) == 0
    assert await store.dead_letter("msg_1") is None
    assert await listed(store) == []
    assert await store.count_dead_letters() == 0


async def test_listing(another: Opener) -> None:
    """Newest first, by the filters given, without events and bodies, without another relay's."""
    store, neighbour = await another(), await another("neighbour")
    await neighbour.add_dead_letters([letter("msg_0")])
    await store.add_dead_letters(
        [
            letter("msg_a", 1),
            letter("msg_b", 3, pipeline="crm"),
            letter("msg_c", 2, step="queue"),
            letter("msg_d", 2, namespace=Namespace("shop", "items")),
            letter("msg_e", 0, namespace=Namespace("shop")),
        ]
    )
    assert await listed(store) == ["msg_b", "msg_d", "msg_c", "msg_a", "msg_e"]
    assert await listed(store, pipeline="crm") == ["msg_b"]
    assert await listed(store, step="queue", pipeline="shop") == ["msg_c"]
    assert await listed(store, since=NOW + timedelta(minutes=2)) == ["msg_b", "msg_d", "msg_c"]
    assert await listed(store, limit=2) == ["msg_b", "msg_d"]
    assert await listed(store, limit=0) == []
    assert [each async for each in store.dead_letters(Wanted(pipeline="crm"))] == [
        letter("msg_b", 3, pipeline="crm", event={}, body=None)
    ]
    assert await neighbour.dead_letter("msg_a") is None


async def test_listing_by_pages(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing twice and nothing missing, with many of one time and pages of any size, while some are deleted."""
    monkeypatch.setattr("mess.state.store.PAGE", 3)
    letters = [letter(f"msg_{number:02}", number // 5) for number in range(20)]
    await store.add_dead_letters(letters)
    newest_first = sorted((each.id for each in letters), reverse=True)
    assert await listed(store) == newest_first
    assert await listed(store, limit=7) == newest_first[:7]
    seen = []
    async for each in store.dead_letters():
        seen.append(each.id)
        await store.delete_dead_letters(Wanted(ids=(each.id,)))
    assert seen == newest_first
    assert await store.count_dead_letters() == 0


async def test_deleting(another: Opener) -> None:
    """Those that were there are counted; another relay's stay."""
    store, neighbour = await another(), await another("neighbour")
    for each in (store, neighbour):
        await each.add_dead_letters([letter("msg_1"), letter("msg_2")])
    assert await store.delete_dead_letters(Wanted(ids=("msg_1", "msg_1", "msg_9"))) == 1
    assert await listed(store) == ["msg_2"]
    assert await neighbour.count_dead_letters() == 2


def _ago(id: str, seconds: float, **changed: Any) -> DeadLetter:  # noqa: A002
    return letter(id, time=datetime.now(timezone.utc) - timedelta(seconds=seconds), **changed)


async def test_retention(another: Opener) -> None:
    """By age, by number, by both, by none; never another relay's."""
    store, neighbour = await another(), await another("neighbour")
    await neighbour.add_dead_letters([_ago("msg_0", 1e6)])
    await store.add_dead_letters(
        [_ago(f"msg_{number}", number * 100 + 50, body=large(17 * (number > 2))) for number in range(6)]
    )
    assert await store.prune(None, None) == 0
    assert await store.prune(500, 100) == 1
    assert await listed(store) == ["msg_0", "msg_1", "msg_2", "msg_3", "msg_4"]
    assert await store.prune(None, 3) == 2
    assert await store.prune(100, 3) == 2
    assert await listed(store) == ["msg_0"]
    assert await store.prune(None, 0) == 1
    assert await neighbour.count_dead_letters() == 1


async def test_many_at_a_time_do_not_hold_up_the_loop(store: StateStore) -> None:
    """Compressing is done elsewhere: a health check is answered meanwhile."""
    worst = 0.0

    async def heartbeat() -> None:
        nonlocal worst
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            await asyncio.sleep(0.005)
            worst = max(worst, clock() - began)

    beating = asyncio.create_task(heartbeat())
    began = asyncio.get_running_loop().time()
    await store.add_dead_letters([letter(f"msg_{number}", event=large(2, number)) for number in range(20)])
    took = asyncio.get_running_loop().time() - began
    beating.cancel()
    assert await store.count_dead_letters() == 20
    # On a busy machine nothing is answered at once; but not a large part of the whole time.
    assert worst < max(0.5, took / 4)
