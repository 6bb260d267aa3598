"""A receiver in virtual time, which answers as scripts say; an `http` step and a `queue` step that speak to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from unittest.mock import patch

import aiohttp
from multidict import CIMultiDict

from mess.errors import DeliveryError, EndpointDown, Refused
from mess.steps.base import Context
from mess.steps.http.step import Http, HttpConfig
from mess.steps.queue.broker import Message
from mess.steps.queue.step import Queue, QueueConfig
from tests.fuzz.sinks import Recorded
from tests.fuzz.table import MAY_BE_THE_EVENTS, meaning

TIMEOUT = 30.0
HANGS_UP = 0
"""Stands for a status: the connection ends without one."""
_MOST = 2000  # requests


@dataclass(frozen=True)
class Answer:
    """A status after so many seconds; none at all where that is TIMEOUT."""

    status: int = 204
    after: float = 0.0
    retry_after: int | None = None

    @property
    def meaning(self) -> str:
        if self.after >= TIMEOUT:
            return "ambiguous"
        return "down" if self.status == HANGS_UP else meaning(self.status)

    @property
    def event_may_be_cause(self) -> bool:
        """Whether an answer that means `down` may be the fault of the event that got it."""
        if self.status == HANGS_UP:
            return self.after < TIMEOUT
        return self.status in MAY_BE_THE_EVENTS and self.retry_after is None

    @property
    def asks_for(self) -> float:
        """Seconds to be left alone."""
        return 0.0 if self.status == HANGS_UP or self.retry_after is None else self.retry_after


@dataclass(eq=False)
class Request:
    """What the receiver has seen of a request, and said to it; `ended` is infinite while it is under way."""

    ids: Sequence[str]
    answer: Answer
    began: float
    ended: float = float("inf")

    @property
    def meaning(self) -> str:
        return self.answer.meaning


@dataclass
class Script:
    """The answers that an event gets, one for each request with it; `for_ever` repeats the last one."""

    answers: list[Answer]
    for_ever: bool = False

    def next(self) -> Answer:
        if self.for_ever and len(self.answers) == 1:
            return self.answers[0]
        return self.answers.pop(0) if self.answers else Answer()


@dataclass
class Outage:
    """Between two times the receiver gives everything the same answer."""

    begins: float
    ends: float
    answer: Answer


@dataclass
class Receiver:
    """`requests` are those that it has got, in order. From `well_from` on it takes everything. `watch` is told of each
    request's events."""

    scripts: Mapping[str, Script]
    outages: Sequence[Outage]
    well_from: float
    watch: Callable[[Sequence[str]], None]
    requests: list[Request] = field(default_factory=list)

    async def take(self, ids: Sequence[str]) -> Answer:
        """A request with these events."""
        request = self._begin(ids)
        await self._end([request])
        return request.answer

    async def take_each(self, ids: Sequence[str]) -> list[Answer]:
        """Messages sent together, each with an outcome of its own; all are known when the last one is."""
        requests = [self._begin([id_]) for id_ in ids]
        await self._end(requests)
        return [request.answer for request in requests]

    def _begin(self, ids: Sequence[str]) -> Request:
        self.watch(ids)
        request = Request(ids, self._answer(ids), time.monotonic())
        self.requests.append(request)
        return request

    async def _end(self, requests: Sequence[Request]) -> None:
        if len(self.requests) > _MOST:
            await asyncio.Event().wait()  # which ends the test: so many are a storm
        await asyncio.sleep(min(TIMEOUT, max(request.answer.after for request in requests)))
        for request in requests:
            request.ended = time.monotonic()

    def _answer(self, ids: Sequence[str]) -> Answer:
        now = time.monotonic()
        if now >= self.well_from:
            return Answer()
        for outage in self.outages:
            if outage.begins <= now < outage.ends:
                return outage.answer
        answers = [self.scripts[id_].next() for id_ in ids if id_ in self.scripts]
        return next((answer for answer in answers if answer.meaning != "done"), answers[0] if answers else Answer())


@dataclass(frozen=True)
class _Response:
    """aiohttp's, of an answer without a body."""

    status: int
    headers: Mapping[str, str]
    content: aiohttp.StreamReader = aiohttp.streams.EMPTY_PAYLOAD


class _Session:
    """aiohttp's, as far as the `http` step uses it."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def request(
        self, method: str, url: Any, *, data: bytes, headers: Mapping[str, str], allow_redirects: bool
    ) -> _Response:
        body = json.loads(data)
        ids = [event["id"] for event in body["events"]] if "events" in body else [headers["webhook-id"]]
        answer = await self._receiver.take(ids)
        if answer.after >= TIMEOUT:
            raise TimeoutError
        if answer.status == HANGS_UP:
            raise aiohttp.ServerDisconnectedError
        more = {} if answer.retry_after is None else {"Retry-After": str(answer.retry_after)}
        return _Response(answer.status, CIMultiDict(more))


@cache
def _webhook(max_events: int | None, number: int) -> Http:
    batch = None if max_events is None else {"max_events": max_events}
    return HttpConfig.model_validate({"endpoint": "http://receiver/", "batch": batch}).build(Context())


async def webhook(receiver: Receiver, max_events: int | None, number: int) -> Http:
    """An `http` step whose requests go to a receiver, with so many events each; steps of one pipeline have a `number`
    each. To make one takes long, so what is closed is opened again."""
    step = _webhook(max_events, number)
    with patch.object(aiohttp, "ClientSession", lambda **_: _Session(receiver)):
        await step.open()
    return step


class _Published(Recorded):
    """A broker that hands its messages to a receiver: what is not refused there is down, or not confirmed in time."""

    def __init__(self, receiver: Receiver) -> None:
        super().__init__()
        self._receiver = receiver

    async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
        answers = await self._receiver.take_each([message.id for message in messages])
        failures: dict[int, DeliveryError] = {}
        for index, answer in enumerate(answers):
            if answer.meaning in ("down", "ambiguous"):
                failures[index] = EndpointDown(f"answered {answer.status}")
            elif answer.meaning == "refused":
                failures[index] = Refused(f"answered {answer.status}")
        return failures


async def published(receiver: Receiver, target: str = "all") -> Queue:
    """A `queue` step whose messages go to a receiver."""
    config = QueueConfig(url="redis://receiver", timeout=2 * TIMEOUT, target=target)
    return Queue(config, config.envelope("mess"), _Published(receiver))
