"""An endpoint with moods, which writes down what it read and what it accepted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from tests.checker.verdict import Arrival
from tests.receiver import Answer, Receiver, Request

Mood = Callable[[random.Random, Request], Answer]
"""What an endpoint answers."""

REFUSED = frozenset({400, 405, 409, 413, 415, 422})
"""Answers after which an event may be given up on."""
TIMEOUT = "1s"
"""How long a relay is to wait for an answer here."""

_RETRY_AFTER = ("0", "1", "-5", "Thu, 99 Foo 2026", "1e400", "Mon, 01 Jan 2020 00:00:99999999999999999999 GMT", "")


def healthy(chance: random.Random, request: Request) -> Answer:
    """Accepts everything."""
    return Answer()


def always(answer: Answer) -> Mood:
    """Gives one answer."""
    return lambda chance, request: answer


def flaky(chance: random.Random, request: Request) -> Answer:
    """Fails half of all requests, in every way that is no fault of an event."""
    if chance.random() < 0.5:
        return Answer()
    return chance.choice(
        (
            Answer(500), Answer(503), Answer(429), Answer(408), Answer(502), Answer(302), Answer(404), Answer(403),
            Answer(hang=True), Answer(delay=0.4), Answer(delay=1.3), Answer(close="instead"), Answer(close="after"),
            Answer(503, {"Retry-After": chance.choice(_RETRY_AFTER)}), Answer(500, body=b"x" * 100_000),
        )
    )  # fmt: skip


def limited(chance: random.Random, request: Request) -> Answer:
    """A rate limiter that lets one request of five through."""
    return Answer() if chance.random() < 0.2 else Answer(429, {"Retry-After": "0"} if chance.random() < 0.5 else {})


def forbidding(chance: random.Random, request: Request) -> Answer:
    """Forbids some documents, by a firewall say, and takes all others."""
    return Answer(403) if any(event.id[4] in "ABC" for event in request.events) else Answer()


def refusing(chance: random.Random, request: Request) -> Answer:
    """Refuses some events for good."""
    return Answer(422) if any(event.id[4:6] in ("AA", "BB", "CC") for event in request.events) else Answer()


MOODS: dict[str, Mood] = {
    "500": always(Answer(500)),
    "503": always(Answer(503)),
    "404": always(Answer(404)),
    "429": always(Answer(429, {"Retry-After": "1"})),
    "hang": always(Answer(hang=True)),
    "reset": always(Answer(close="instead")),
    "close": always(Answer(close="after")),
    "slow": always(Answer(delay=0.05)),
    "flaky": flaky,
    "limited": limited,
    "forbidding": forbidding,
    "refusing": refusing,
}
"""By what a scenario calls them; besides, an endpoint may not listen at all."""


class Endpoint:
    """An HTTP endpoint called `name`; its `mood` may change at any time.

    `read` and `accepted` are the events of all requests and of those that it answered with 2xx, in order. `refused`
    are the ids of those that it gave an answer after which they may be dead letters.
    """

    def __init__(self, name: str, seed: str) -> None:
        self.name = name
        self.mood: Mood = healthy
        self.read: list[Arrival] = []
        self.accepted: list[Arrival] = []
        self.refused: set[str] = set()
        self.answers: Counter[str] = Counter()
        self.receiver = Receiver(respond=self._respond)
        self._chance = random.Random(seed)

    @property
    def url(self) -> str:
        """Where to send webhooks."""
        return f"http://127.0.0.1:{self.receiver.port}/{self.name}"

    def _respond(self, request: Request) -> Answer:
        self.receiver.requests.clear()  # bodies may be large, and are read here
        answer = self.mood(self._chance, request)
        replay = request.headers.get("mess-replay") == "true"
        arrivals = [Arrival.of(event.id, event.body, replay=replay) for event in request.events]
        self.read += arrivals
        if 200 <= answer.status < 300 and not answer.hang and answer.close != "instead":
            self.accepted += arrivals
        if answer.status in REFUSED and len(arrivals) == 1:
            self.refused.add(arrivals[0].id)
        self.answers["hang" if answer.hang else answer.close or str(answer.status)] += 1
        return answer
