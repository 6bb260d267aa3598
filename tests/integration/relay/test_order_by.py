"""Order by a value, on changes from a real MongoDB to a receiver that fails now and then."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

from tests.integration.relay.conftest import Lab
from tests.receiver import Answer

ACCOUNTS = 5
WRITES = 120


async def test_the_changes_of_one_account_arrive_in_order_across_documents_and_collections(lab: Lab) -> None:
    """A collection may have its own path to the account. A delete, which has none, comes between all before it and all
    after it."""
    dice = random.Random(7)
    lab.receiver.respond = lambda request: Answer(dice.choice([200] * 4 + [500]), delay=dice.random() / 100)
    by_id = {"order": {"by": "documentKey._id"}}
    databases = {
        lab.db.name: {
            "order": {"by": "fullDocument.account"},
            "collections": {"transfers": {}, "accounts": by_id},
        }
    }
    sent: dict[Any, list[int]] = defaultdict(list)
    async with lab.running(databases=databases, concurrency=8):
        lab.db.accounts.insert_many([{"_id": account} for account in range(ACCOUNTS)])
        for number in range(WRITES):
            account = dice.randrange(ACCOUNTS)
            sent[account].append(number)
            if number % 3:
                lab.db.transfers.insert_one({"_id": number, "account": float(account), "n": number})
            else:
                lab.db.accounts.update_one({"_id": account}, {"$set": {"n": number}})
            if number == WRITES // 2:
                lab.db.transfers.delete_one({"_id": 1})
        await lab.receiver.wait_for_events(ACCOUNTS + WRITES + 1, timeout=30)
    found: dict[Any, list[int]] = defaultdict(list)
    numbers: list[int] = []
    for _, body, *_ in lab.receiver.accepted:
        if body["operationType"] == "delete":
            assert sorted(numbers) == [*range(WRITES // 2 + 1)]
        elif body["ns"]["coll"] == "transfers":
            found[body["fullDocument"]["account"]].append(body["fullDocument"]["n"])
            numbers.append(body["fullDocument"]["n"])
        elif body["operationType"] == "update":
            changed = body["updateDescription"]["updatedFields"]["n"]
            found[body["documentKey"]["_id"]].append(changed)
            numbers.append(changed)
    assert found == sent
    assert numbers != sorted(numbers), "different accounts do not wait for each other"
    assert await lab.dead_letters() == []
