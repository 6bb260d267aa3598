"""Change events as MongoDB never sends them, but a server that only speaks its protocol might: each is delivered, or
told of as unreadable, or the stream ends with a SourceError that says why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from mess.capture.decode import Decoder
from mess.capture.tokens import position_after
from mess.errors import SourceError
from mess.event import Event
from mess.steps.base import Context
from mess.steps.log import LogConfig
from mess.steps.queue.step import Queue, QueueConfig
from tests.fuzz.profiles import examples
from tests.fuzz.sinks import Recorded
from tests.fuzz.strategies import changes, reply, scalars
from tests.fuzz.stream import Stream
from tests.unit.fakes import make_event

odd = st.one_of(
    scalars, st.just([]), st.just({}), st.dictionaries(st.sampled_from(["db", "coll", "_id", "_data"]), scalars)
)
PLACES = [
    *("_id", "operationType", "clusterTime", "ns", "documentKey", "fullDocument", "updateDescription"),
    *("wallTime", "to"),
    *("_id._data", "ns.db", "ns.coll", "documentKey._id", "to.db", "to.coll", "splitEvent", "splitEvent.fragment"),
]


@st.composite
def odd_changes(draw: st.DrawFn) -> dict[str, Any]:
    """A change event with a field or more left out, or of another type."""
    change = draw(changes())
    for place in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3, unique=True)):
        *parents, last = place.split(".")
        holder = change
        for parent in parents:
            if not isinstance(holder.get(parent), dict):
                holder[parent] = {}
            holder = holder[parent]
        if draw(st.booleans()):
            holder.pop(last, None)
        else:
            holder[last] = draw(odd)
    return change


async def deliver(events: Sequence[Event]) -> None:
    """By a pipeline of `log` and `queue`; what ends the stream is raised."""
    config = QueueConfig(url="redis://h", headers={"x": "{documentKey._id}"})
    queue = Queue(config, config.envelope("odd"), Recorded())
    await Stream((LogConfig().build(Context()), {}), (queue, {})).take([(0, events)], timeout=5)


@examples(200)
@given(st.lists(odd_changes() | changes(), min_size=1, max_size=4))
async def test_an_odd_change_event_ends_no_stream_in_an_odd_way(given: list[dict[str, Any]]) -> None:
    """Only one without a resume token does, since nothing would tell where to go on behind it."""
    try:
        events, unreadable, _ = Decoder().events(reply(*given))
    except SourceError:
        assert not all(isinstance(change.get("_id"), dict) for change in given)
        return
    positions = [position_after(event) for event in events] + [one.position for one in unreadable]
    assert all(isinstance(position.token, dict) for position in positions)
    assert all(position.time is None or isinstance(position.time, Timestamp) for position in positions)
    await deliver(events)
    whole = [change for change in given if "splitEvent" not in change and change.get("operationType") != "invalidate"]
    assert len(events) + len(unreadable) >= len(whole)


@examples(100)
@given(odd_changes())
async def test_an_odd_change_event_costs_the_others_of_its_reply_nothing(change: dict[str, Any]) -> None:
    change["_id"] = {"_data": "odd"}
    before, behind = make_event(1), make_event(2)
    events, _, _ = Decoder().events(reply(before.change, change, behind.change))
    ids = [event.id for event in events]
    assert (ids[0], ids[-1]) == (before.id, behind.id)
