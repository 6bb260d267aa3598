"""Chunks of existing documents take their exact places in a stream, whatever the server's replies look like."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from bson import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from mess.capture.existing_documents import ReadEvent
from mess.capture.merged_source import MergedSource, Placed
from mess.capture.source import Batch, Unreadable
from mess.capture.tokens import position_after
from mess.event import Event, Namespace, Position

NAMESPACE = Namespace("shop", "orders")
END = 10_000


Reply = tuple[list[Event], int, bool, bool]
"""Events, the time of the token behind them, whether they wait to be read already, and whether one more cannot be
read."""


def change(time: int, number: int) -> Event:
    body = {
        "_id": {"_data": f"82{0:08X}{time:08X}{number + 1:04X}"},
        "operationType": "update",
        "clusterTime": Timestamp(0, time),
        "ns": NAMESPACE._asdict(),
        "documentKey": {"_id": number},
    }
    return Event(body, NAMESPACE)


@dataclass
class Stream:
    """Plays back replies."""

    replies: Sequence[Reply]
    position: Position = field(default_factory=lambda: Position(None, Timestamp(0, 1)))
    name: str = "shop"
    problem: str | None = None
    connected: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.left = list(self.replies)

    @property
    def ready(self) -> bool:
        return bool(self.left) and self.left[0][2]

    def interrupt(self) -> None:
        pass

    async def read(self) -> Batch | None:
        await asyncio.sleep(0)
        if not self.left:
            return None
        events, token, _, damaged = self.left.pop(0)
        # A token that is not a change's sorts before the changes of its time.
        own = events and events[-1].change["clusterTime"].inc == token
        data = events[-1].change["_id"]["_data"] if own else f"82{0:08X}{token:08X}0000"
        if data > (self.position.token or {"_data": ""})["_data"]:
            self.position = Position({"_data": data}, Timestamp(0, token))
        lost = (Unreadable(self.position, "too large", id="x", change={}),) if damaged else ()
        return Batch(events, self.position, lost)

    def position_after(self, event: Event) -> Position:
        return position_after(event)

    async def close(self) -> None:
        pass


@dataclass
class Chunks:
    """Wants a chunk as the script says, and reads it in so many turns of the loop. Sometimes it cannot be read, or is
    not wanted any more. At most three are wanted for each reply."""

    stream: Stream
    script: Sequence[bool]
    slowness: int = 0
    reads: int = 0
    active: bool = True
    seen: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._asked = 0
        self._at: list[int] = []

    @property
    def wanted(self) -> bool:
        self._asked += 1
        here = len(self.stream.left)
        return self.script[self._asked % len(self.script)] and self._at.count(here) < 3

    async def read(self, at: Timestamp) -> Placed | None:
        self._at.append(len(self.stream.left))
        for _ in range(self.slowness):
            await asyncio.sleep(0)
        self.reads += 1
        event = ReadEvent(
            {"operationType": "read", "clusterTime": at, "documentKey": {"_id": self.reads}},
            NAMESPACE,
            0,
            id=f"read {self.reads}",
        )
        return None if self.reads % 5 == 4 else partial(self._placed, event)

    def _placed(self, event: ReadEvent, place: Position) -> Batch | None:
        event.place = place
        return None if self.reads % 7 == 6 else Batch([event], place)

    def passed(self, events: Sequence[Event]) -> None:
        self.seen += events


@st.composite
def replies(draw: st.DrawFn) -> list[Reply]:
    """Changes, several of which may share a time, cut anywhere. A token may have the time of what follows it, or of
    what is before it: that is how MongoDB's are."""
    times = sorted(draw(st.lists(st.integers(2, 40), max_size=30)))
    events = [change(time, number) for number, time in enumerate(times)]
    found: list[Reply] = []
    start, token = 0, 1
    damaged = st.sampled_from([False, False, False, True])
    cuts = draw(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9), st.booleans(), damaged), max_size=20))
    for size, ahead, ready, cannot_be_read in [*cuts, (len(events), 0, True, False)]:
        end = min(len(events), start + size)
        last = times[end - 1] if end else 1
        token = max(token, min(last + ahead, times[end] if end < len(events) else END))
        found.append((events[start:end], token, ready, cannot_be_read))
        start = end
    return found


@given(replies=replies(), script=st.lists(st.booleans(), min_size=1, max_size=8), slowness=st.integers(0, 5))
def test_every_chunk_is_behind_the_changes_it_contains_and_before_all_others(
    replies: list[Reply], script: list[bool], slowness: int
) -> None:
    stream = Stream(replies)
    chunks = Chunks(stream, script, slowness)
    source = MergedSource(stream, chunks)
    batches = asyncio.run(_read(source))
    events = [event for batch in batches for event in batch.events]
    sent = [event for part, *_ in replies for event in part]
    live = [event for event in events if event.operation != "read"]
    assert live == sent
    assert chunks.seen == live
    assert sum(len(batch.unreadable) for batch in batches) == sum(damaged for *_, damaged in replies)
    for index, event in enumerate(events):
        if event.operation == "read":
            at = event.change["clusterTime"]
            others = [other for other in events if other.operation != "read"]
            before = [other for other in events[:index] if other.operation != "read"]
            assert before == [other for other in others if other.change["clusterTime"] <= at]
            # To resume there repeats nothing before it, and skips nothing behind it.
            place = source.position_after(event)
            assert place.token is None or all(other.change["_id"]["_data"] <= place.token["_data"] for other in before)
            behind = others[len(before) :]
            assert place.token is None or all(other.change["_id"]["_data"] > place.token["_data"] for other in behind)


@given(replies=replies())
def test_without_chunks_it_is_the_stream_itself(replies: list[Reply]) -> None:
    stream = Stream(replies)
    batches = asyncio.run(_read(MergedSource(stream, Chunks(stream, [False], active=False))))
    assert [list(batch.events) for batch in batches] == [events for events, *_ in replies]


async def _read(source: MergedSource) -> list[Batch]:
    found: list[Batch] = []
    while (batch := await source.read()) is not None:
        found.append(batch)
        assert source.position == batch.position
    await source.close()
    return found
