"""An endpoint that writes down which process sent what, when, and in which epoch."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

from tests.checker.processes import Delivery
from tests.checker.verdict import Arrival
from tests.receiver import Answer, Receiver, Request

PROCESS = "x-process"
"""The header by which a process is known here."""
POISON = "poison"
"""What the mark of a document begins with whose events are refused for good."""


class Recorder:
    """Accepts everything but poison, after `delay` seconds.

    `deliveries` are the events of all requests that it read, in order, and `arrivals` those of the requests that it
    accepted; `ids` are those of all events that it read, and `refused` those of poison.
    `epoch` is the newest one, `process` the one that sent it; `last` is when the last request began.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.delay = 0.0
        self.deliveries: list[Delivery] = []
        self.arrivals: list[Arrival] = []
        self.refused: set[str] = set()
        self.ids: set[str] = set()
        self.epoch = 0
        self.process = ""
        self.last = 0.0
        self.first: dict[int, float] = {}
        self.receiver = Receiver(respond=self._respond, host=host)

    def longest_pause(self, since: float) -> float:
        """How many seconds passed at most between two requests, from a time on."""
        times = [since, *sorted(each.began for each in self.deliveries if each.began > since)]
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    def _respond(self, request: Request) -> Answer:
        self.receiver.requests.clear()  # they are read here
        epoch, process = int(request.headers.get("mess-epoch", "0")), request.headers.get(PROCESS, "")
        if epoch >= self.epoch:
            self.epoch, self.process, self.last = epoch, process, request.began
            self.first.setdefault(epoch, request.began)
        replay = request.headers.get("mess-replay") == "true"
        answered = time.time() + self.delay
        arrivals = [Arrival.of(event.id, event.body, replay=replay) for event in request.events]
        poison = set() if replay else {each.id for each in arrivals if _is_poison(each)}
        self.refused |= poison
        self.ids.update(each.id for each in arrivals)
        if not poison:
            self.arrivals += arrivals
        self.deliveries += [
            Delivery(
                arrival=arrival,
                document=_document(event.body),
                process=process,
                epoch=epoch,
                began=request.began,
                time=request.time,
                answered=answered,
            )
            for arrival, event in zip(arrivals, request.events, strict=True)
        ]
        return Answer(422 if poison else 200, delay=self.delay)


def _is_poison(arrival: Arrival) -> bool:
    return arrival.content is not None and str(arrival.content[-1]).startswith(POISON)


def _document(body: Any) -> str:
    return json.dumps([body.get("ns"), body.get("documentKey")], sort_keys=True)
