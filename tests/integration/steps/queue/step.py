"""The queue step, opened as the relay does."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mess.errors import EndpointDown
from mess.event import Event
from mess.leadership import ALWAYS, Leadership, now
from mess.steps.base import Context
from mess.steps.queue.step import Queue, QueueConfig
from tests.servers.certificates import Certificates
from tests.waiting import PATIENCE


@asynccontextmanager
async def opened(
    url: str, *, folder: Path = Path(), leadership: Leadership = ALWAYS, **options: Any
) -> AsyncIterator[Queue]:
    """A step that publishes to the broker at `url`, with its config in `folder`, and obeys `leadership`."""
    step = QueueConfig.model_validate({"url": url, "timeout": "5s", **options}).build(Context(directory=folder))
    step.leadership = leadership
    await step.open()
    try:
        yield step
    finally:
        await step.close()


async def trust_is_needed(url: str, files: Certificates, **options: Any) -> None:
    """A server that the relay does not trust is down, and so is one that does not trust the relay."""
    for trusted in ({"ca": files.ca}, {}):
        async with opened(url, **options, **trusted) as step:
            with pytest.raises(EndpointDown) as caught:
                await step.check()
    assert re.search("certificate.verify.failed", str(caught.value), re.IGNORECASE)


async def connected_too_late(step: Queue, events: Sequence[Event]) -> None:
    """Deliver while the lease of the step, which has not connected yet, lapses; afterwards it is renewed."""
    delivery = asyncio.ensure_future(step.process(events))
    await asyncio.sleep(0)
    step.leadership.extend(-math.inf)
    with pytest.raises(EndpointDown, match="lease"):
        await delivery
    step.leadership.extend(now() + 60)


async def insisted(step: Queue, events: Sequence[Event]) -> None:
    """Deliver to a broker that has just come back: as the pipeline does, again and again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await step.process(events)
            except EndpointDown:
                await asyncio.sleep(0.05)
            else:
                return


def number(body: bytes) -> int:
    """Which event of `make_events` a body is."""
    found: int = json.loads(body)["fullDocument"]["n"]
    return found
