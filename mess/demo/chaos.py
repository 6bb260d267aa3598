"""`mess demo --chaos`: a receiver that fails in every way that matters, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

from mess.demo.bin import Answer, Received

_MOST_REFUSED = 8
"""How many events an act refuses: a few, however much the shop sells."""


@dataclass(frozen=True)
class Act:
    """What the receiver does for some `seconds`, and in `text`, what there is to see; `{replay}` stands for the command
    that replays dead letters. It answers with `status` after `delay` seconds, but refuses orders of `refused` goods."""

    seconds: float
    text: str
    status: int = 200
    delay: float = 0.0
    refused: str | None = None


ACTS = (
    Act(15, "The receiver is healthy. Watch the webhooks arrive in the request bin."),
    Act(
        20,
        "The receiver answers 503. The circuit breaker opens: one event at a time probes, the others wait in MongoDB. "
        "The console says what waits and why.",
        status=503,
    ),
    Act(
        10,
        "The receiver is back. The next probe closes the breaker: what has waited arrives, in order for each document.",
    ),
    Act(
        15,
        "Each answer takes 2.5 seconds. Deliveries run side by side, and only those of one document wait for each "
        "other. Watch the lag in the console.",
        delay=2.5,
    ),
    Act(
        15,
        "The receiver refuses orders of teapots (422). They become dead letters, and all others go on. Filter the bin "
        "by 422.",
        refused="teapot",
    ),
    Act(15, "The receiver is healthy again. To send the dead letters again: {replay}"),
)
"""A minute and a half, then again from the start."""


class Chaos:
    """Answers webhooks by a script of `acts`, and says at the beginning of each which it is, and its text."""

    def __init__(self, acts: Sequence[Act], say: Callable[[str, str], None]) -> None:
        self._acts = acts
        self._say = say
        self._act: Act | None = None
        self._refused: set[str] = set()

    async def run(self) -> None:
        """Play the acts, again and again, until cancelled. From then on, every webhook is accepted."""
        try:
            for number, act in cycle(enumerate(self._acts, start=1)):
                self._act = act
                self._refused.clear()
                self._say(f"act {number}/{len(self._acts)}", act.text)
                await asyncio.sleep(act.seconds)
        finally:
            self._act = None

    async def answer(self, event: Received) -> Answer:
        """What the receiver answers to a webhook at present."""
        act = self._act
        if act is None:
            return Answer()
        if act.delay:
            await asyncio.sleep(act.delay)
        if act.refused is not None and self._refuses(event, act.refused):
            return Answer(422, f"we have run out of every {act.refused}")
        return Answer(act.status, "" if act.status == 200 else "down for maintenance")

    def _refuses(self, event: Received, goods: str) -> bool:
        if event.id not in self._refused and len(self._refused) < _MOST_REFUSED and goods in event.goods:
            self._refused.add(event.id)
        return event.id in self._refused
