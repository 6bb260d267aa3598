"""What a sink says it would send is what it sends."""

from __future__ import annotations

from typing import Any

import pytest

from mess.errors import Refused
from mess.event import Event
from mess.steps.base import Context
from mess.steps.http.step import HttpConfig
from mess.steps.queue.step import Queue, QueueConfig
from tests.receiver import Receiver
from tests.unit.fakes import make_event, make_read
from tests.unit.steps.queue.test_headers import Memory

EVENTS = [
    make_event(1),
    make_event(2, operation="delete"),
    make_read(3),
    make_event(4, operation="drop"),
    make_event(5, key="a b/é\n"),
]
FORMATS = [{}, {"json": "relaxed"}, {"json": "canonical"}, {"format": "cloudevents"}]
ALWAYS = {"host", "user-agent", "content-length", "accept", "webhook-id", "webhook-timestamp"}
"""Headers of every request that say nothing about the event, or only when it was sent."""


@pytest.mark.parametrize("event", EVENTS, ids=str)
@pytest.mark.parametrize("options", FORMATS, ids=str)
async def test_http(event: Event, options: dict[str, Any]) -> None:
    async with Receiver() as receiver:
        endpoint = receiver.url.replace("://", "://user:password@") + "/{collection}/{documentKey._id|none}"
        headers = {"X-One": "1", "X-Api-Key": "secret", "Cookie": "c=d"}
        config = HttpConfig.model_validate({"endpoint": endpoint, "headers": headers, **options})
        sink = config.build(Context())
        preview = sink.preview(event)
        await sink.open()
        await sink.deliver([event])
        await sink.close()
        [request] = receiver.requests
    assert preview.address == {"url": f"http://127.0.0.1:{receiver.port}{request.path}"}
    assert preview.body == request.body
    sent = {name: text for name, text in request.headers.items() if name not in ALWAYS}
    assert [sent.pop(name) for name in ("cookie", "x-api-key")] == ["c=d", "secret"]
    assert sent.pop("authorization").startswith("Basic ")
    assert {name.lower(): text for name, text in preview.headers.items()} == sent


@pytest.mark.parametrize("event", EVENTS, ids=str)
@pytest.mark.parametrize("options", FORMATS, ids=str)
async def test_queue(event: Event, options: dict[str, Any]) -> None:
    broker = Memory()
    headers = {"X-One": "{operation}", "X-Token": "secret"}
    config = QueueConfig.model_validate({"url": "redis://h", "headers": headers, **options})
    sink = Queue(config, config.envelope("test"), broker)
    preview = sink.preview(event)
    await sink.deliver([event])
    [message] = broker.published
    assert preview.body == message.body
    assert preview.address == {
        "target": message.target,
        **({} if message.key is None else {"key": message.key.decode()}),
    }
    sent = {name: text.decode() for name, text in message.headers}
    assert sent.pop("X-Token") == "secret"
    assert preview.headers == sent


@pytest.mark.parametrize("body", [{"n": object(), "documentKey": {"_id": 1}}, {}])
async def test_what_cannot_be_sent_is_refused_with_the_same_reason(body: dict[str, Any]) -> None:
    event = make_event(1)
    event.body = body
    http = HttpConfig(endpoint="http://127.0.0.1:9/{documentKey._id}").build(Context())
    config = QueueConfig(url="redis://h", target="{documentKey._id}")
    for sink in (http, Queue(config, config.envelope("test"), Memory())):
        with pytest.raises(Refused) as said:
            sink.preview(event)
        with pytest.raises(Refused) as raised:
            await sink.deliver([event])
        assert str(said.value) == str(raised.value)
