"""Reads changes by itself, apart from any relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from bson import Timestamp

from mess.cancellation import cancel
from mess.capture import client as mongodb
from mess.capture import preflight
from mess.capture.arrangement import StreamStart
from mess.capture.coverage import lookup
from mess.capture.merged_source import LiveSource
from mess.capture.plan import StreamPlan, assignments
from mess.capture.reach import Connect
from mess.capture.source import Batch
from mess.capture.start import explained, time_latest, time_now
from mess.config.model import Config
from mess.config.scope import resolve
from mess.errors import HistoryLost
from mess.event import Event, Namespace, Position
from mess.options.values import written_time
from mess.relay.sources import Share, change_stream

Streams = list[tuple[StreamPlan, LiveSource]]


class _Watch:
    """The streams of a config, which are read to `last`, or without end."""

    def __init__(self, config: Config, streams: Streams, last: Timestamp | None) -> None:
        self._config = config
        self._assigned = assignments(config)
        self._streams = streams
        self._last = last

    async def events(self) -> AsyncGenerator[Event]:
        reading = {asyncio.ensure_future(source.read()): (plan, source) for plan, source in self._streams}
        try:
            while reading:
                done, _ = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    plan, source = reading.pop(task)
                    batch = task.result()
                    if batch is None:
                        continue
                    if not self._is_last(batch):
                        reading[asyncio.ensure_future(source.read())] = (plan, source)
                    for event in batch.events:
                        if self._delivers(plan, event):
                            yield event
        finally:
            await cancel(*reading)

    def _is_last(self, batch: Batch) -> bool:
        time = batch.position.time
        if self._last is None or time is None:
            return False
        # Several events may share a cluster time: only an empty batch shows that there are no more.
        return time > self._last or (time == self._last and not batch.events)

    def _delivers(self, plan: StreamPlan, event: Event) -> bool:
        """Whether an event is for a pipeline, and from this stream rather than another."""
        namespace = event.namespace
        options = resolve(self._config, *namespace)
        target = event.change.get("to")
        if options is None and event.operation == "rename" and isinstance(target, dict):
            namespace = Namespace(str(target.get("db", "")), str(target.get("coll", "")))
            options = resolve(self._config, *namespace)
        if options is None or (options.operations is not None and event.operation not in options.operations):
            return False
        return lookup(self._assigned, namespace) == plan.name and plan.selection.within.selects(namespace)


@asynccontextmanager
async def watching(
    config: Config, plans: Sequence[StreamPlan], *, connect: Connect, since: datetime | None, ends: bool
) -> AsyncIterator[AsyncGenerator[Event]]:
    """The events that a relay with this config delivers of these streams, from a time on that the oplog still holds, or
    from now on; if it `ends`, up to now. Each stream's are in their order.

    It keeps no position, and takes nothing from a relay that runs meanwhile. Raises HistoryLost if the oplog begins
    later, and another SourceError if MongoDB cannot be read.
    """
    config = config.model_copy(update={"on_history_lost": "stop"})
    client = mongodb.connect(config.mongodb.url, config.mongodb.driver, sticky=True)
    streams: Streams = []
    try:
        with preflight.telling_the_role(plans, None):
            await connect(client, preflight.verify)
            last = await explained(time_latest(client)) if ends else None
            time = await explained(time_now(client)) if since is None else Timestamp(max(1, int(since.timestamp())), 0)
            share = Share.of(config.window, max(1, len(plans)))
            for plan in plans:
                start = StreamStart(plan, Position(None, time))
                streams.append((plan, change_stream(client, config, start, share, ends=ends)))
            yield _Watch(config, streams, last).events()
    except HistoryLost as error:
        when = "now" if since is None else written_time(since)
        raise HistoryLost(f"MongoDB's oplog no longer holds all changes since {when}; begin later") from error
    finally:
        for _, source in streams:
            await source.close()
        await mongodb.close(client)
