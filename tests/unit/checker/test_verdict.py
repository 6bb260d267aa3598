"""The checker finds each kind of fault that it is there to find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bson
import pytest
from bson import Timestamp

from tests.checker.committed import Change, id_of
from tests.checker.runs import Expectation
from tests.checker.selection import OPERATIONS, Options
from tests.checker.verdict import Arrival, Verdict, check_order, judge, must_all_arrive


def change(number: int, document: Any = 1, operation: str = "update", coll: str = "orders") -> Change:
    token = f"82{number:016X}"
    key = None if document is None else bson.encode({"_id": document})
    time = Timestamp(1000, number)
    return Change(number, id_of(token), token, time, operation, "shop", coll, key, None, f"m{number}")


def arrival(of: Change, mark: str | None = None) -> Arrival:
    return Arrival(of.id, (of.token, of.operation, of.db, of.coll, mark or of.mark))


def verdict(changes: Sequence[Change], arrived: Sequence[Change], **options: Any) -> Verdict:
    return judge(changes, must_all_arrive(changes), {"": [arrival(each) for each in arrived]}, **options)


CHANGES = [change(0), change(1, 2), change(2), change(3, 2)]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 3, 0, 2), (0, 1, 0, 2, 1, 3, 0)])
def test_documents_may_overtake_each_other_and_repetitions_may_come_at_any_time(order: tuple[int, ...]) -> None:
    found = verdict(CHANGES, [CHANGES[number] for number in order])
    found.check()
    assert (found.required, found.arrived, found.duplicates) == (4, 4, len(order) - 4)


def test_a_change_that_did_not_arrive_is_missing() -> None:
    found = verdict(CHANGES, CHANGES[:3])
    assert list(found.problems) == ["missing"]
    assert found.missing == [CHANGES[3]]
    with pytest.raises(AssertionError, match="missing: 1"):
        found.check()


def test_first_arrivals_of_one_document_must_come_in_commit_order() -> None:
    found = verdict(CHANGES, [CHANGES[2], CHANGES[0], CHANGES[1], CHANGES[3]])
    assert list(found.problems) == ["out of order"]


def test_requests_that_failed_are_looked_at_for_order_too() -> None:
    found = verdict(CHANGES, CHANGES)
    read = [arrival(CHANGES[number]) for number in (3, 1, 0, 2)]
    check_order("as read", read, CHANGES, must_all_arrive(CHANGES), found)
    assert list(found.problems) == ["out of order"]


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1)])
def test_a_drop_comes_behind_all_before_it_and_before_all_behind_it(order: tuple[int, ...]) -> None:
    changes = [change(0), change(1, None, "drop"), change(2, 2)]
    found = verdict(changes, [changes[number] for number in order])
    assert list(found.problems) == ["out of order with a drop or rename"]
    verdict(changes, changes).check()


def test_an_id_that_no_change_has_is_unknown() -> None:
    found = judge(CHANGES[:3], must_all_arrive(CHANGES[:3]), {"": [arrival(each) for each in CHANGES]})
    assert list(found.problems) == ["unknown ids"]


@pytest.mark.parametrize(
    "wrong",
    [
        Arrival(CHANGES[0].id, (CHANGES[1].token, "update", "shop", "orders", "m0")),
        Arrival(CHANGES[0].id, (CHANGES[0].token, "insert", "shop", "orders", "m0")),
        Arrival(CHANGES[0].id, (CHANGES[0].token, "update", "shop", "others", "m0")),
        Arrival(CHANGES[0].id, (CHANGES[0].token, "update", "shop", "orders", "m2")),
    ],
    ids=["token", "operation", "namespace", "content"],
)
def test_a_body_must_be_that_of_the_id(wrong: Arrival) -> None:
    found = judge(CHANGES[:1], must_all_arrive(CHANGES[:1]), {"": [wrong]})
    assert list(found.problems) == ["bodies of other changes"]


def test_what_no_config_selects_must_not_arrive() -> None:
    expected = {**must_all_arrive(CHANGES), CHANGES[3].id: Expectation((), False, "nobody asked")}
    found = judge(CHANGES, expected, {"": [arrival(each) for each in CHANGES]})
    assert list(found.problems) == ["not to be delivered"]
    judge(CHANGES, expected, {"": [arrival(each) for each in CHANGES[:3]]}).check()


def test_a_change_must_arrive_at_every_destination_of_its_pipeline() -> None:
    two = Expectation((Options(OPERATIONS, None, ("a", "b"), "document"),), True, "")
    found = judge(CHANGES[:1], {CHANGES[0].id: two}, {"a": [arrival(CHANGES[0])]})
    assert list(found.problems) == ["missing"]
    judge(CHANGES[:1], {CHANGES[0].id: two}, {"a": [arrival(CHANGES[0])], "b": [arrival(CHANGES[0])]}).check()


def test_dead_letters_are_not_missing_but_must_have_been_refused() -> None:
    letters = [CHANGES[3].id]
    verdict(CHANGES, CHANGES[:3], dead_letters=letters, refused=set(letters)).check()
    found = verdict(CHANGES, CHANGES[:3], dead_letters=letters, refused=set())
    assert list(found.problems) == ["dead letters that nobody refused"]
    found = verdict(CHANGES, CHANGES, dead_letters=["msg_x"])
    assert list(found.problems) == ["dead letters with unknown ids"]


def test_a_body_as_the_relay_writes_it_is_read() -> None:
    body = {
        "_id": {"_data": "82"},
        "operationType": "update",
        "ns": {"db": "shop", "coll": "orders"},
        "updateDescription": {"updatedFields": {"w": "m1"}},
        "fullDocument": {"w": "m2"},
    }
    assert Arrival.of("msg_1", body).content == ("82", "update", "shop", "orders", "m1")
    body |= {"operationType": "insert", "updateDescription": {}}
    assert Arrival.of("msg_1", body).content == ("82", "insert", "shop", "orders", "m2")
    assert Arrival.of("msg_1", {"order": 7}).content is None
