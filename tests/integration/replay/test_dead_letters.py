"""Dead letters replayed between a real MongoDB and a real HTTP receiver."""

from __future__ import annotations

from typing import Any

from mess.config.load import load
from mess.replay.dead_letters import Report
from mess.replay.letters import replayer_for
from mess.stores import store_for
from tests.integration.relay.conftest import Lab
from tests.integration.state.samples import EVERY_TYPE
from tests.receiver import Answer, Request

REFUSED = Answer(422, body=b"no")


async def replay(lab: Lab, *, whole: bool = False, **options: Any) -> Report:
    """Replay all dead letters with the config as `options` make it."""
    loaded = load(lab.relay(**options).loaded.path, environ={})
    async with store_for(loaded.config) as store:
        return await replayer_for(loaded, store, whole=whole).run(await store.pointers())


async def test_a_replayed_body_is_the_same_to_the_byte(lab: Lab) -> None:
    """With every BSON type, from the change as it came and from a body that a step had made."""
    for pipeline in ([lab.http], [{"name": "field-map", "config": {"fields": {"all": "fullDocument"}}}, lab.http]):
        lab.receiver.answer = REFUSED
        del lab.receiver.requests[:]
        async with lab.running(pipeline=pipeline):
            lab.db.things.insert_one({**EVERY_TYPE})
            await lab.receiver.wait_for(1)
        lab.receiver.answer = Answer()
        assert (await replay(lab, pipeline=pipeline)).complete
        first, again = lab.receiver.requests
        assert again.body == first.body
        assert again.headers["webhook-id"] == first.headers["webhook-id"]
        assert again.headers["mess-replay"] == "true"
        assert "mess-epoch" not in again.headers, "a command has none, and must not pass for the relay"


async def test_a_batch_with_one_bad_event(lab: Lab) -> None:
    """The others are delivered; the letter of the bad one says what the receiver answered."""
    http = {**lab.http, "config": {**lab.http["config"], "batch": {"max_events": 100}}}
    lab.receiver.answer = REFUSED
    async with lab.running(pipeline=[http]):
        lab.db.orders.insert_many({"_id": number} for number in range(20))
        await lab.receiver.wait_for(20)
    assert len(await lab.dead_letters()) == 20

    def respond(request: Request) -> Answer:
        return REFUSED if any(event.body["documentKey"]["_id"] == 7 for event in request.events) else Answer()

    lab.receiver.respond = respond
    report = await replay(lab, pipeline=[http])
    assert (report.delivered, report.failed) == (19, 1)
    assert len({event.id for event in lab.receiver.accepted}) == 19
    [letter] = await lab.dead_letters()
    assert letter.key == {"_id": 7}
    assert letter.history[-1].status == 422
    assert letter.history[-1].response == "no"


async def test_after_a_function_was_fixed(lab: Lab) -> None:
    """The event goes through it again, and on to the receiver."""
    options: dict[str, Any] = {"plugins": {"enrich": "mine:enrich"}, "pipeline": ["enrich", lab.http]}
    lab.write("def enrich(event, config, context):\n    raise KeyError('total')\n", "mine.py")
    async with lab.running(**options) as relay:
        lab.db.orders.insert_one({"_id": 1})
        while not (letters := await lab.dead_letters(**options)):
            assert relay.starting is None
    assert letters[0].step == "enrich"
    # In a file of another name, as this process has the first one loaded.
    lab.write("def enrich(event, config, context):\n    return {'key': event['documentKey']['_id']}\n", "fixed.py")
    options["plugins"] = {"enrich": "fixed:enrich"}
    assert (await replay(lab, **options)).complete
    [request] = lab.receiver.requests
    assert request.json == {"key": 1}
    assert await lab.dead_letters(**options) == []
