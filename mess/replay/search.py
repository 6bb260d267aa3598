"""Finds an event in MongoDB's oplog by its id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bson import Timestamp

from mess.capture import preflight
from mess.capture.arrangement import StreamStart
from mess.capture.plan import StreamPlan, plan
from mess.capture.reach import Connect, reach
from mess.capture.start import explained, time_latest, time_oldest
from mess.config.load import Loaded
from mess.config.scope import pipeline_of
from mess.event import Event, Position
from mess.options.values import written_time
from mess.relay.sources import Share, change_stream
from mess.replay.bounded_source import BoundedSource
from mess.state.store import DeadLetter, StateStore, Wanted

_NEEDED = ("operationType", "ns", "to", "clusterTime")


@dataclass(frozen=True, slots=True)
class Found:
    """A change in the oplog: the stream that delivers it, where it belongs, and when it was committed."""

    stream: str
    pipeline: str | None
    namespace: str
    operation: str
    time: Timestamp


@dataclass(frozen=True, slots=True)
class Searched:
    """The result of a search from `since` to `until`; `found` is None if no stream of the config delivers such an
    event."""

    since: Timestamp
    until: Timestamp
    found: Found | None


class OplogSearch:
    """Reads the streams of a config from `since` on (None: from the oldest change that MongoDB keeps), only the ids.

    `progress` is called with the share that has been read so far, and the number of events.
    """

    def __init__(self, loaded: Loaded, client: Any, *, progress: Callable[[float, int], None]) -> None:
        # Lost history is an error here, and never skipped.
        self._config = loaded.config.model_copy(update={"on_history_lost": "stop"})
        self._client = client
        self._progress = progress
        self._read = 0

    async def find(self, event_id: str, since: datetime | None, connect: Connect = reach) -> Searched:
        """Look for an event. Raises HistoryLost if the oplog begins later than `since`, another SourceError if MongoDB
        cannot be read."""
        plans = plan(self._config)
        with preflight.telling_the_role(plans, self._config.state.database):
            await connect(self._client, preflight.verify)
            if since is None:
                first = await explained(time_oldest(self._client))
            else:
                first = Timestamp(max(1, int(since.timestamp())), 0)
            last = await explained(time_latest(self._client))
            for number, each in enumerate(plans):
                event = await self._in_stream(event_id, each, first, last=last, done=number / len(plans))
                if event is not None:
                    return Searched(first, last, self._described(event, each.name))
        return Searched(first, last, None)

    async def _in_stream(
        self, event_id: str, stream: StreamPlan, first: Timestamp, *, last: Timestamp, done: float
    ) -> Event | None:
        start = StreamStart(replace(stream, fields=_NEEDED), Position(None, first))
        share = Share.of(self._config.window, 1)
        source = BoundedSource(change_stream(self._client, self._config, start, share, ends=True), last)
        streams = max(1, len(plan(self._config)))
        span = max(1, last.time - first.time)
        try:
            while (batch := await source.read()) is not None:
                for event in batch.events:
                    if event.id == event_id:
                        return event
                self._read += len(batch.events)
                reached = batch.position.time
                if reached is not None:
                    share_read = min(1.0, max(0.0, (reached.time - first.time) / span))
                    self._progress(done + share_read / streams, self._read)
        finally:
            await source.close()
        return None

    def _described(self, event: Event, stream: str) -> Found:
        time = event.change["clusterTime"]
        pipeline = pipeline_of(self._config, event.namespace)
        return Found(stream, pipeline, namespace=str(event.namespace), operation=event.operation, time=time)


async def conclusion(event_id: str, found: Found, store: StateStore) -> tuple[str, str]:
    """What must have become of a change that was found: a state, and a sentence. Raises StateError."""
    when = written_time(found.time.as_datetime())
    what = f"{found.operation} of {found.namespace}, committed at {when}"
    letters: Sequence[DeadLetter] = [each async for each in store.dead_letters(Wanted(ids=(event_id,)), limit=1)]
    if letters:
        return "dead_letter", f"{what}: a dead letter of step {letters[0].step}: {letters[0].reason}"
    checkpoint = next((each for each in await store.checkpoints() if each.stream == found.stream), None)
    done = None if checkpoint is None else checkpoint.position.time
    if done is None:
        return "waiting", f"{what}: the relay has no position of stream {found.stream} yet, so it may not be delivered"
    upto = f"the checkpoint of stream {found.stream} is at {written_time(done.as_datetime())}"
    if done > found.time:
        return "done", (
            f"{what}: {upto}, which is past it. So it was delivered, or a step dropped or skipped it, or it was a dead "
            "letter that was replayed or discarded since, or it lies in a gap (`mess gaps list`)"
        )
    return "waiting", f"{what}: {upto}, which is not past it. So it is waiting, or was delivered just now"
