"""What an event's document is, said to whoever gets it; existing documents, up to their dead letters."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from bson import json_util
from pymongo.database import Database

from mess.config.load import load
from mess.event import Namespace
from mess.state.backfills import Backfill, new_id
from mess.stores import store_for
from tests.acceptance.commands import mess, running, write
from tests.receiver import Answer, Receiver, Request

Db = Database[dict[str, Any]]

mongodb_only = pytest.mark.parametrize("config", ["mongodb"], indirect=True)


def change(config: Path, **changed: Any) -> Path:
    """The config with other options."""
    return write(config.parent, {**yaml.safe_load(config.read_text()), **changed})


def found(request: Request) -> tuple[str, Any, str | None]:
    """A request's operation, its document's `n`, and what it says of the document."""
    document = request.json.get("fullDocument")
    return request.json["operationType"], document and document["n"], request.headers.get("mess-document")


@mongodb_only
async def test_every_event_says_what_its_document_is(config: Path, db: Db, receiver: Receiver) -> None:
    """While the relay is away, documents are updated twice: only a post-image is still what it was after the first."""
    receiver.answer = Answer()
    collections = {
        "imaged": {"full_document": "exact"},
        "plain": {"full_document": "exact"},
        "looked_up": {},
        "off": {"full_document": "off"},
    }
    config = change(config, databases={db.name: {"collections": collections}})
    db.create_collection("imaged", changeStreamPreAndPostImages={"enabled": True})
    async with running(config) as relay:
        await relay.connected()
        assert await relay.stop() == 0
    for name in collections:
        for id_ in ("kept", "gone"):
            db[name].insert_one({"_id": id_, "n": 0})
            db[name].update_one({"_id": id_}, {"$inc": {"n": 1}})
            db[name].update_one({"_id": id_}, {"$inc": {"n": 1}})
        db[name].replace_one({"_id": "kept"}, {"n": 2})
        db[name].delete_one({"_id": "gone"})
    async with running(config) as relay:
        await receiver.wait_for(len(collections) * 8)
        assert await relay.stop() == 0

    def of(name: str, id_: str) -> list[tuple[str, Any, str | None]]:
        return [
            found(each)
            for each in receiver.requests
            if (each.json["ns"]["coll"], each.json["documentKey"]["_id"]) == (name, id_)
        ]

    inserted, replaced, deleted = ("insert", 0, "exact"), ("replace", 2, "exact"), ("delete", None, None)
    missing, looked_up = ("update", None, "missing"), ("update", 2, "lookup")
    images = [("update", 1, "exact"), ("update", 2, "exact")]
    assert of("imaged", "kept") == [inserted, *images, replaced]
    assert of("imaged", "gone") == [inserted, *images, deleted]
    assert of("looked_up", "kept") == [inserted, looked_up, looked_up, replaced]
    assert of("looked_up", "gone") == [inserted, missing, missing, deleted]
    for name in ("plain", "off"):
        assert of(name, "kept") == [inserted, missing, missing, replaced]
        assert of(name, "gone") == [inserted, missing, missing, deleted]


@mongodb_only
async def test_check_says_how_to_get_exact_documents(config: Path, db: Db) -> None:
    """For each collection that keeps no post-images, also those that a glob selects; none once they are turned on."""
    db.create_collection("orders")
    db.create_collection("invoices", changeStreamPreAndPostImages={"enabled": True})
    collections: dict[str, Any] = {"ord*": {"full_document": "exact"}, "invoices": {"full_document": "exact"}}
    config = change(config, databases={db.name: {"collections": collections}})
    done = await mess("check", "--config", config, folder=config.parent)
    lines = done.stdout.splitlines()
    [at] = [index for index, line in enumerate(lines) if "keeps no pre- and post-images" in line]
    assert lines[at].startswith(f"!!  {db.name}.orders")
    command = json.loads(lines[at + 1].partition("runCommand(")[2].rstrip(")"))
    assert command == {"collMod": "orders", "changeStreamPreAndPostImages": {"enabled": True}}
    db.command(command)
    done = await mess("check", "--config", config, folder=config.parent)
    assert "post-images" not in done.stdout


async def test_an_existing_document_that_is_refused(config: Path, db: Db, receiver: Receiver) -> None:
    """Its letter is listed, shown, exported and replayed, although it has no resume token."""
    db.orders.insert_many([{"_id": number, "n": number} for number in range(3)])
    async with running(config) as relay:
        await relay.connected()
        async with store_for(load(config).config) as store:
            backfill = Backfill(new_id(), Namespace(db.name, "orders"), "operator", datetime.now(timezone.utc))
            await store.add_backfill(backfill)
        await relay.until(lambda: sum(line["count"] for line in relay.said("events given up")) == 3, "dead letters")
        first = {request.headers["webhook-id"]: request for request in receiver.requests}
        assert sorted(found(request) for request in first.values()) == [("read", n, "exact") for n in range(3)]
        assert {request.headers["mess-backfill"] for request in first.values()} == {backfill.id}

        async def letters(subcommand: str, *arguments: str) -> str:
            done = await mess("dead-letters", subcommand, *arguments, "--config", config, folder=config.parent)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        listed = json.loads(await letters("list", "--json"))["letters"]
        assert {each["operation"] for each in listed} == {"read"}
        assert {each["id"] for each in listed} == set(first)
        one = next(each["id"] for each in listed if each["key"] == {"_id": 1})
        shown = json.loads(await letters("show", one))
        assert (shown["backfill"], shown["document"]) == (backfill.id, "exact")
        exported = [json_util.loads(line) for line in (await letters("export")).splitlines()]
        assert {each["backfill"] for each in exported} == {backfill.id}
        assert sorted(each["event"]["fullDocument"]["n"] for each in exported) == [0, 1, 2]

        receiver.answer = Answer()
        before = len(receiver.requests)
        await letters("replay", one)
        await letters("replay", "--all", "--whole-pipeline")
        again = receiver.requests[before:]
        assert sorted(found(request) for request in again) == [("read", n, "exact") for n in range(3)]
        for request in again:
            assert request.body == first[request.headers["webhook-id"]].body
            assert request.headers["mess-backfill"] == backfill.id
            assert request.headers["mess-replay"] == "true"
        assert json.loads(await letters("list", "--json"))["total"] == 0
        assert await relay.stop() == 0
