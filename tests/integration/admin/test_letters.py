"""Dead letters over the API: list, show, replay and discard them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.admin.conftest import Api, eventually
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer, Request


def refuse_odd(request: Request) -> Answer:
    return Answer(422, body=b"odd") if request.json["documentKey"]["_id"] % 2 else Answer()


async def with_letters(lab: Lab, api: Api, count: int = 10) -> list[dict[str, Any]]:
    """Half of these become dead letters; they are returned, newest first."""
    lab.receiver.respond = refuse_odd
    lab.db.orders.insert_many([{"_id": number, "name": "secret document"} for number in range(count)])
    letters: list[dict[str, Any]] = []

    async def all_there() -> bool:
        letters[:] = (await api.ok("/dead-letters"))["letters"]
        return len(letters) == count // 2

    await eventually(all_there, "the dead letters")
    return letters


async def test_letters_are_listed_in_pages_and_shown_whole(lab: Lab, running: Callable[..., Any]) -> None:
    async with running() as (_, api):
        letters = await with_letters(lab, api)
        assert {letter["key"]["_id"] for letter in letters} == {1, 3, 5, 7, 9}
        first = await api.ok("/dead-letters?limit=3")
        assert (len(first["letters"]), first["total"]) == (3, 5)
        second = await api.ok(f"/dead-letters?limit=3&after={first['next']}")
        assert second["next"] is None
        assert first["letters"] + second["letters"] == letters
        whole = await api.ok(f"/dead-letters/{letters[0]['id']}")
        assert whole["event"]["fullDocument"]["name"] == "secret document"
        assert whole["history"][0]["status"] == 422
        assert whole["history"][0]["response"] == "odd"
        assert (await api.ok("/dead-letters?reason=nothing+like+this"))["letters"] == []
        assert (await api.get("/dead-letters/msg_unknown"))[0] == 404


async def test_a_replay_delivers_what_was_counted_and_deletes_it(lab: Lab, running: Callable[..., Any]) -> None:
    async with running() as (_, api):
        letters = await with_letters(lab, api)
        dry = await api.ok("/dead-letters/replay", {"filter": {"step": "http"}, "dry_run": True})
        assert (dry["matching"], dry["by_pipeline"], dry["replay"]) == (5, {"top level": 5}, None)
        status, answer = await api.post("/dead-letters/replay", {"filter": {"step": "http"}, "expected": 4})
        assert status == 409, answer
        lab.receiver.respond = None
        begun = await api.ok("/dead-letters/replay", {"filter": {"step": "http"}, "expected": 5})

        async def ended() -> Any:
            [job] = [job for job in (await api.ok("/replays"))["replays"] if job["id"] == begun["replay"]]
            return job if job["state"] != "running" else None

        job = await eventually(ended, "the replay's end")
        assert (job["state"], job["delivered"], job["kept"]) == ("done", 5, 0)
        assert (await api.ok("/dead-letters"))["total"] == 0
        replayed = [each for each in lab.receiver.requests if each.headers.get("mess-replay") == "true"]
        assert {each.headers["webhook-id"] for each in replayed} == {letter["id"] for letter in letters}
        assert {each.headers["mess-epoch"] for each in replayed} == {"1"}, "that of the relay which replays them"


async def test_discarding_takes_a_filter_or_all_never_nothing(lab: Lab, running: Callable[..., Any]) -> None:
    async with running() as (_, api):
        letters = await with_letters(lab, api)
        assert (await api.post("/dead-letters/discard", {}))[0] == 400
        one = {"filter": {"ids": [letters[0]["id"]]}}
        assert (await api.ok("/dead-letters/discard", {**one, "dry_run": True}))["done"] == 0
        assert (await api.ok("/dead-letters/discard", one))["done"] == 1
        assert (await api.ok("/dead-letters/discard", {"all": True}))["done"] == 4
        assert (await api.ok("/dead-letters"))["total"] == 0


async def test_documents_can_be_hidden_from_everyone(lab: Lab, running: Callable[..., Any]) -> None:
    async with running(admin={"port": 0, "payloads": "off"}) as (_, api):
        letters = await with_letters(lab, api)
        whole = await api.ok(f"/dead-letters/{letters[0]['id']}")
        assert "secret document" not in str(whole)
        assert (whole["event"], whole["key"], whole["history"][0]["response"]) == (None, None, None)
        assert (await api.post("/try", {"event": {"operationType": "insert"}}))[0] == 403


@pytest.mark.parametrize(
    ("event", "pipeline", "status"),
    [
        ({"namespace": "{db}.orders", "document": {"_id": 1, "total": 5}}, None, 200),
        ({"operationType": "nonsense"}, None, 400),
        ({"namespace": "other.orders", "document": {"_id": 1}}, None, 400),
        ({"namespace": "other.orders", "document": {"_id": 1}}, "top level", 200),
        ({"namespace": "other.orders", "document": {"_id": 1}}, "none such", 400),
    ],
)
async def test_an_event_can_be_tried_without_sending_it(
    lab: Lab, running: Callable[..., Any], event: dict[str, Any], pipeline: str | None, status: int
) -> None:
    fields = {"name": "field-map", "config": {"fields": {"id": "documentKey._id"}}}
    async with running(pipeline=[fields, lab.http]) as (_, api):
        if "namespace" in event:
            event = {**event, "namespace": event["namespace"].format(db=lab.db.name)}
        got, found = await api.post("/try", {"event": event, "pipeline": pipeline})
        assert got == status, found
        if status == 200:
            first, last = found["steps"]
            assert (first["step"], first["result"], first["body"]) == ("field-map", "passed", {"id": 1})
            assert (last["result"], last["body"], last["destination"]) == ("would_send", {"id": 1}, lab.receiver.url)
        assert lab.receiver.requests == []
